"""Runs many programs inside the sandbox, each in a process of its own. Standard library only.

usage: python -I -X int_max_str_digits=0 _ledex_batch.py job.json DESCRIPTOR

Job: {"judge": path of _ledex_judge.py, "programs": [{"program", "asserts": [text], "sides": [[left, right] or null], "calls": [expression],
"seconds", "timeouts"}]}. ``sides`` are the two sides of an assert that compares with ==. Report: one JSON object a line, in the order of
the programs: {"program": outcome, "asserts": [outcome], "calls": [outcome], "seen": [list or null]}, with outcomes as
the judge's, and for each assert that does not hold what ``seen`` says. An empty object: the process died.
"""

import contextlib
import importlib.util
import io
import json
import os
import resource
import select
import signal
import sys
import time
from functools import partial
from typing import Any, Dict, List, Optional

WALL_SECONDS = 30.0
CPU_SECONDS = 5
ASSERT_SECONDS = 0.2  # of the processor: far less than the judge has, since of thousands of wrong programs many hang for good
MEMORY = 512 << 20
MOST_REPORT = 4 << 20
MOST_SEEN = 400


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("_ledex_judge", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(value: Any) -> str:
    try:
        return repr(value)[:MOST_SEEN]
    except BaseException:  # a program's own __repr__
        return "<%s>" % type(value).__name__


def seen(judge: Any, sides: Optional[List[str]], space: Dict[str, Any]) -> Optional[List[Any]]:
    """["sides", got, wanted] of an assert, ["raised", text, line of the program] by evaluating them, or ["timeout"]."""
    if sides is None:
        return None
    found: List[Any] = ["sides"]
    raised: List[Any] = []

    def look() -> None:
        try:
            for side in sides:
                found.append(shown(eval(side, space)))
        except judge.OutOfTime:
            raise
        except BaseException as error:  # told to the reader
            line, trace = 0, error.__traceback__
            while trace is not None:
                line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == "solution.py" else line
                trace = trace.tb_next
            raised.extend(["raised", "%s: %s" % (type(error).__name__, str(error)[:MOST_SEEN]), line])

    if judge.attempt(look, ASSERT_SECONDS) == ["timeout"]:
        return ["timeout"]
    return raised or found


def examine(judge: Any, job: Dict[str, Any]) -> Dict[str, Any]:
    """As the judge's own main, for one program."""
    space: Dict[str, Any] = {"__name__": "solution"}
    with contextlib.redirect_stdout(io.StringIO()):
        program = judge.attempt(lambda: exec(compile(job["program"], "solution.py", "exec"), space), ASSERT_SECONDS)
        asserts: List[Any] = []
        for text in job["asserts"]:
            # A program that hangs once is not asked again.
            hangs = ["timeout"] in asserts
            asserts.append(["timeout"] if hangs else judge.attempt(partial(exec, text, space), ASSERT_SECONDS))
        told = [None if one[0] in ("value", "timeout") else seen(judge, sides, space) for one, sides in zip(asserts, job["sides"])]
        calls: List[Any] = []
        left = 0 if ["timeout"] in asserts else job["timeouts"]
        for text in job["calls"]:
            outcome = judge.attempt(partial(eval, text, space), job["seconds"]) if left > 0 else ["timeout"]
            left -= outcome == ["timeout"]
            calls.append(outcome)
    return {"program": program, "asserts": asserts, "calls": calls, "seen": told}


def child(judge: Any, job: Dict[str, Any], descriptor: int) -> None:
    # Nobody reads what programs print, and a failure here is an empty report.
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        signal.signal(signal.SIGPROF, judge.ring)
        sys.setrecursionlimit(1500)
        text = json.dumps(examine(judge, job)).encode()
        with os.fdopen(descriptor, "wb") as report:
            report.write(text if len(text) <= MOST_REPORT else b"{}")
    finally:
        os._exit(0)


def run(judge: Any, job: Dict[str, Any], report: int) -> bytes:
    """The report of a process, killed after WALL_SECONDS. It cannot reach the descriptor of the whole report."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(ours)
        os.close(report)
        child(judge, job, theirs)
    os.close(theirs)
    parts: List[bytes] = []
    end = time.monotonic() + WALL_SECONDS
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([ours], [], [], left)[0]:
            parts = []
            break
        part = os.read(ours, 1 << 16)
        if not part:
            break
        parts.append(part)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ours)
    return b"".join(parts).replace(b"\n", b" ") or b"{}"


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        jobs = json.load(file)
    judge = load(jobs["judge"])
    with os.fdopen(int(sys.argv[2]), "wb") as report:
        for job in jobs["programs"]:
            report.write(run(judge, job, report.fileno()) + b"\n")
            report.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
