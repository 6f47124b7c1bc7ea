"""How often agreement across origins is noticed: ``python -m tests.inference.measure_agreement RESULTS`` beside the suite of these results
(``ledex-train bench mbpp --ids 601-974 --out FOLDER``) repairs again what the templates were not sure of, with a scripted model that
answers with the true function, printed anew from its syntax tree. Whose patch acts like a template's is then known from the judge: the
model's is right, so the two agree exactly where a right one is among those of the templates that pass the shown tests.
"""

from __future__ import annotations

import argparse
import ast
import json
import threading
from collections import Counter
from pathlib import Path

from inference.choice import is_doubtful
from inference.confidence import estimate
from inference.proposer import Proposal
from tests.inference.model.scripted import ScriptedServer
from training.benchmark import mbpp
from training.benchmark.attempt import ledex_repair
from training.benchmark.isolation import default_runner
from training.benchmark.run import Result, read_results, run_mbpp


def answer(bug: mbpp.Bug) -> str:
    """The functions that the bug changed, as they are in the reference, in the form that a model answers in."""
    planted = {ast.dump(node) for node in ast.parse(bug.mutant.text).body}
    true = [ast.unparse(node) for node in ast.parse(bug.task.program).body if ast.dump(node) not in planted]
    return "It is not what the task asks for.\n\nsolution.py\n```python\n" + "\n\n\n".join(true) + "\n```\n"


def suites(folder: Path) -> dict[str, mbpp.Bug]:
    """The bugs of every suite of a folder of results, by their ids."""
    found = {}
    for path in folder.glob("suite-*.jsonl"):
        header = json.loads(path.read_text(encoding="utf-8").partition("\n")[0])
        suite = mbpp.load(path, {name: value for name, value in header.items() if name != "skipped"})
        found.update({bug.id: bug for bug in suite.bugs} if suite is not None else {})
    return found


def unsure(result: Result) -> bool:
    """Whether the model would have been asked."""
    if result.first_right is None:
        return True
    signals = {name: float(value) for name, value in result.signals.items() if isinstance(value, (int, float))}
    return is_doubtful(Proposal(b"", "", "templates", 0.0, score=estimate("templates", signals)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--budget", type=float, default=40.0, help="seconds of each repair; the templates have 0.4 of it")
    parser.add_argument("--most", type=int, default=40, help="bugs that are repaired again")
    given = parser.parse_args()
    bugs, runner = suites(given.results.parent), default_runner()
    counts: Counter[str] = Counter()
    again = [r for r in read_results(given.results) if int(r.id.split("/")[1]) in mbpp.STATISTICS and unsure(r)][: given.most]
    for result in again:
        bug = bugs[result.id]
        with ScriptedServer(lambda chat, bug=bug: answer(bug)) as server:
            settings = {"endpoints": (server.url,), "samples": 1, "rounds": 0}
            found = run_mbpp(bug, runner, ledex_repair, given.budget, "auto", threading.Event(), inference=settings)
            asked = bool(server.chats)
        ranked = [behaviour["right"] for one in found.ranked for behaviour in one]
        among = "no patch of the templates" if not ranked else "a right one among them" if any(ranked) else "only wrong ones"
        alike = any("act alike" in str(note) for note in found.candidates.get("notes", ()))
        first = f", the first one {'right' if ranked[0] else 'wrong'}" if ranked else ""
        told = "agreed" if alike else "not agreed" if asked else "not asked"
        line = f"{among}{first}: {told}, chosen: {found.signals.get('origin')}, {'right' if found.right else 'wrong or none'}"
        counts[line] += 1
        print(f"{result.id}: {line}", flush=True)
    print(f"{len(again)} bugs")
    for line, count in sorted(counts.items()):
        print(f"{count:4} {line}")


if __name__ == "__main__":
    main()
