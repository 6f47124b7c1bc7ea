"""Production's verification of the table's repairs: every text that the quick look finds right is verified cold, once, whoever wrote it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.patch import unified_diff
from inference.proposer import Proposal
from sandbox.runner import Runner
from sandbox.testing import Bench
from training.benchmark.mbpp import Bug
from training.corpus_dialogue import PATH
from training.problems import Opened, from_bug, open_planted

Verdicts = dict[str, dict[str, Any]]


def key_of(bug: str, text: str) -> str:
    """Names a repaired text of a bug."""
    return f"{bug}/{hashlib.sha256(text.encode()).hexdigest()[:20]}"


def repairs(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """By bug: the texts that the quick look found right, by key; bugs that were repaired most often first."""
    found: dict[str, dict[str, str]] = {}
    often: Counter[str] = Counter()
    for row in rows:
        for chain in row["chains"]:
            for one in chain:
                if one["quick"]:
                    found.setdefault(row["id"], {})[key_of(row["id"], one["text"])] = one["text"]
                    often[row["id"]] += 1
    return {name: found[name] for name, _ in often.most_common()}


def read_verdicts(file: Path) -> Verdicts:
    """{key: {"accepted", "level", "refused_by"}}; a last line that was cut is left out."""
    found: Verdicts = {}
    for line in file.read_text(encoding="utf-8").split("\n") if file.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row.pop("key")] = row
    return found


def verify_repairs(
    bugs: Mapping[str, Bug], wanted: Mapping[str, Mapping[str, str]], runner: Runner, file: Path,
    report: Callable[[int, int], None] = lambda done, total: None, seconds: float = float("inf"), clock: Callable[[], float] = lambda: 0.0,
) -> Verdicts:  # fmt: skip
    """Verdicts of all wanted texts, those in ``file`` not made again; each is written when it is there. Stops after ``seconds``."""
    verdicts = read_verdicts(file)
    total = sum(map(len, wanted.values()))
    bench: Bench | None = None
    began = clock()
    for name, texts in wanted.items():
        missing = {key: text for key, text in texts.items() if key not in verdicts}
        if not missing or clock() - began > seconds:
            continue
        with tempfile.TemporaryDirectory(prefix="ledex-table-") as folder:
            opened = open_planted(from_bug(runner, bugs[name]), runner, Path(folder) / "bug", bench=bench)
            bench = opened.bench if isinstance(opened, Opened) else bench
            for key, text in missing.items():
                verdicts[key] = _verdict(opened, text)
                _append(file, {"key": key, **verdicts[key]})
        report(sum(key in verdicts for texts in wanted.values() for key in texts), total)
    return verdicts


def _verdict(opened: Opened | str, text: str) -> dict[str, Any]:
    if isinstance(opened, str):
        return {"accepted": False, "level": None, "refused_by": opened}
    assert opened.problem.check is not None
    patch = unified_diff({PATH: (opened.head.read(PATH), text.encode("utf-8", "replace"))})
    verdict = opened.problem.check(Proposal(patch, "", "model", 0.0)).verdict
    if verdict is None:
        return {"accepted": False, "level": None, "refused_by": "no verdict"}
    told = verdict.to_json()
    return {"accepted": verdict.accepted, "level": told["level"], "refused_by": told["refused_by"]}


def _append(file: Path, row: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")
        lines.flush()
        os.fsync(lines.fileno())


def judged(rows: Sequence[Mapping[str, Any]], verdicts: Verdicts) -> list[list[list[bool]]]:
    """(bugs, chains, answers): right by the quick look, and not refused by the verification where that was made."""

    def right(name: str, one: Mapping[str, Any]) -> bool:
        return bool(one["quick"]) and verdicts.get(key_of(name, one["text"]), {}).get("accepted", True) is True

    return [[[right(row["id"], one) for one in chain] for chain in row["chains"]] for row in rows]
