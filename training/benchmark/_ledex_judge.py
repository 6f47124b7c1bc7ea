"""Runs inside the sandbox: executes a program, its asserts and calls of it, and writes what came of each to the report descriptor.

usage: python _ledex_judge.py JOB.json DESCRIPTOR        (standard library only, Python 3.8+)
Job: {"program": str, "asserts": [str], "calls": [str], "seconds": float, "timeouts": int}. Past that many calls out of
time the others are not tried. Report: {"program": outcome, "asserts": [outcome], "calls": [outcome]}, where an outcome is
["value", encoded], ["exception", type name] or ["timeout"].
"""

import contextlib
import io
import json
import os
import signal
import sys
from functools import partial
from typing import Any, Callable, Dict, List

ASSERT_SECONDS = 2.0


class OutOfTime(BaseException):
    """Not an Exception, so that the program's own handlers let it through."""


def ring(number: int, frame: object) -> None:
    raise OutOfTime


def encode(value: Any, depth: int = 0) -> Any:
    """A value as JSON that keeps what == sees: numbers, text, containers; objects by class name and attributes."""
    if depth > 40:
        return ["deep"]
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        value = int(value)
        return ["int", hex(value)] if abs(value) > 2**60 else value
    if isinstance(value, float):
        return ["float", repr(value)]
    if isinstance(value, complex):
        return ["complex", repr(value.real), repr(value.imag)]
    if isinstance(value, (bytes, bytearray)):
        return ["bytes", value.hex()]
    if isinstance(value, (list, tuple)):
        return ["list" if isinstance(value, list) else "tuple", [encode(v, depth + 1) for v in value]]
    if isinstance(value, (set, frozenset)):
        return ["set", sorted((encode(v, depth + 1) for v in value), key=json.dumps)]
    if isinstance(value, dict):
        return ["dict", sorted(([encode(k, depth + 1), encode(v, depth + 1)] for k, v in value.items()), key=json.dumps)]
    if hasattr(value, "__next__"):
        taken = []
        for item in value:
            taken.append(encode(item, depth + 1))
            if len(taken) >= 10000:
                break
        return ["iterator", taken]
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict) and not callable(value):
        return ["object", type(value).__name__, encode(attributes, depth + 1)]
    if callable(value) or repr(value).startswith("<"):
        return ["opaque", type(value).__name__]
    return ["repr", type(value).__name__, repr(value)]


def attempt(action: Callable[[], Any], seconds: float) -> List[Any]:
    # Processor time, so that what runs out of it does not depend on the machine's load; the sandbox ends what sleeps.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        result = encode(action())
        json.dumps(result)
        return ["value", result]
    except OutOfTime:
        return ["timeout"]
    except BaseException as error:  # whatever the program raises is its outcome
        return ["exception", type(error).__name__]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    report = os.fdopen(int(sys.argv[2]), "w", encoding="utf-8")
    signal.signal(signal.SIGPROF, ring)
    sys.setrecursionlimit(1500)
    seconds = job["seconds"]
    space: Dict[str, Any] = {"__name__": "solution"}
    with contextlib.redirect_stdout(io.StringIO()):
        outcomes = {"program": attempt(lambda: exec(compile(job["program"], "solution.py", "exec"), space), ASSERT_SECONDS)}
        outcomes["asserts"] = [attempt(partial(exec, text, space), ASSERT_SECONDS) for text in job["asserts"]]
        outcomes["calls"] = []
        # A program that hangs on an assert is not asked further.
        left = 0 if ["timeout"] in outcomes["asserts"] else job["timeouts"]
        for text in job["calls"]:
            outcome = attempt(partial(eval, text, space), seconds) if left > 0 else ["timeout"]
            left -= outcome == ["timeout"]
            outcomes["calls"].append(outcome)
    json.dump(outcomes, report)
    report.close()
    os._exit(0)


if __name__ == "__main__":
    main()
