"""The data of the small model, from three sources that hold no third-party repository: programs that the project generates, functions of
the running interpreter's standard library, and MBPP 601-974. Whatever stands in the evaluation's or the tuning problems is left out.

``build_corpus`` writes documents (to pretrain on), bugs with explanations (to fine-tune on), other bugs (to sample and reward on) and a
card with every source's origin, licence, count and hash.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import sysconfig
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.runner import Runner
from training.benchmark.mbpp import REPORTED, STATISTICS, TUNING, read_tasks
from training.benchmark.mutation import Kind
from training.contamination import Guarded, guard
from training.corpus_bugs import SHOWN, Checked, Refused, from_json, plant_many, to_json, with_attempts
from training.corpus_dialogue import Planted
from training.corpus_execution import Job, execute_many
from training.corpus_programs import Program, generate

DOCUMENTS, LEARNED, REWARDED, CARD = "documents.jsonl", "bugs_sft.jsonl", "bugs_rl.jsonl", "card.json"
_NOT_LIBRARY = {"test", "tests", "idlelib", "site-packages", "dist-packages", "turtledemo", "ensurepip", "__pycache__", "lib2to3"}
_MOST_EXPECTED = 60


@dataclass(frozen=True)
class CorpusOptions:
    """``programs``: generated ones, the last ``rewarded_programs`` of them only for rewards; so are MBPP's ids from ``rewarded_from``.
    ``each`` and ``mbpp_each``: bugs of a kind in a generated program and in one of MBPP. ``tried``: share of the bugs that are shown
    after a wrong answer too. ``shortest``, ``longest``: characters of a program."""

    programs: int = 6000
    rewarded_programs: int = 400
    rewarded_from: int = 851
    library: int = 5000
    kinds: tuple[Kind, ...] = ("token", "expression")
    each: int = 1
    mbpp_each: int = 5
    tried: float = 0.2
    shortest: int = 30
    longest: int = 420
    seed: int = 1


@dataclass(frozen=True)
class Source:
    """Programs of one origin."""

    name: str
    origin: str
    licence: str
    programs: tuple[str, ...]

    def card(self) -> dict[str, Any]:
        digest = hashlib.sha256("\0".join(self.programs).encode("utf-8", "surrogatepass")).hexdigest()
        return {"origin": self.origin, "licence": self.licence, "programs": len(self.programs),
                "characters": sum(map(len, self.programs)), "sha256": digest}  # fmt: skip


def library_functions(options: CorpusOptions, guarded: Guarded) -> Source:
    """Functions of the running interpreter's standard library, without their docstrings, each text once, drawn by their hashes."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, None] = {}
    files = [file.relative_to(root) for file in root.rglob("*.py")]
    files = [file for file in files if not _NOT_LIBRARY & set(file.parts)]
    # Drawn by the hashes of their paths, and no more of them than are needed.
    for file in sorted(files, key=lambda file: hashlib.sha256(file.as_posix().encode()).digest()):
        if len(found) >= 2 * options.library:
            break
        for text in _functions(root / file):
            if options.shortest <= len(text) <= options.longest:
                found.setdefault(text)
    kept: list[str] = []
    for text in sorted(found, key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest()):
        if len(kept) == options.library:
            break
        if guarded.found_in(text) is None:
            kept.append(text)
    version = f"{platform.python_implementation()} {platform.python_version()}"
    return Source("library", f"standard library of {version}, functions without docstrings", "PSF-2.0", tuple(kept))


def _functions(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return
    lines = text.splitlines(keepends=True)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or node.end_lineno is None:
            continue
        own = lines[node.lineno - 1 : node.end_lineno]
        first = node.body[0]
        if ast.get_docstring(node, clean=False) is not None and first.end_lineno is not None:
            if len(node.body) == 1:
                continue
            del own[first.lineno - node.lineno : first.end_lineno - node.lineno + 1]
        yield textwrap.dedent("".join(own)).rstrip() + "\n"


def generated(runner: Runner, options: CorpusOptions, guarded: Guarded, refused: Refused) -> list[Checked]:
    """What the project wrote, with what it returned when it ran."""
    programs = [(f"generated/{n}", generate(options.seed * 1_000_003 + n)) for n in range(options.programs)]
    seen: set[str] = set()
    kept: list[tuple[str, Program]] = []
    for name, program in programs:
        found = guarded.found_in(program.text)
        if found is not None:
            refused.add(f"stands in {found}")
        elif program.text not in seen and options.shortest <= len(program.text) <= options.longest:
            seen.add(program.text)
            kept.append((name, program))
    # An assert that cannot hold says what both sides are.
    jobs = [Job(program.text, tuple(f"assert {call} == Ellipsis" for call in program.calls)) for _, program in kept]
    made = []
    for (name, program), ran in zip(kept, execute_many(runner, jobs), strict=True):
        asserts = [f"assert {call} == {value}" for call, value in zip(program.calls, map(_value, ran.messages), strict=True) if value]
        if len(asserts) > SHOWN:
            made.append(Checked(name, program.text, tuple(asserts)))
        else:
            refused.add("generated program raises")
    return made


def _value(message: str) -> str | None:
    """The left side out of ``assert LEFT == Ellipsis``."""
    if not message.startswith("assert ") or " == Ellipsis\n" not in message:
        return None
    text = message.removeprefix("assert ").split(" == Ellipsis\n")[0]
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
    return text if len(text) <= _MOST_EXPECTED else None


def build_corpus(
    runner: Runner, options: CorpusOptions, out: Path, report: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Everything into ``out``, once: where its card is, it is done. Returns the card."""
    card_file = out / CARD
    if card_file.exists():
        card: dict[str, Any] = json.loads(card_file.read_text(encoding="utf-8"))
        return card
    out.mkdir(parents=True, exist_ok=True)
    guarded = guard({
        "MBPP 11-510": (t.program for t in read_tasks(REPORTED)), "MBPP 511-600": (t.program for t in read_tasks(TUNING)),
    })  # fmt: skip
    refused = Refused()
    library = library_functions(options, guarded)
    report(f"{len(library.programs)} functions of the standard library")
    own = generated(runner, options, guarded, refused)
    report(f"{len(own)} generated programs")
    tasks = [t for t in read_tasks(STATISTICS) if len(t.program) <= options.longest and guarded.found_in(t.program) is None]
    mbpp = [Checked(f"mbpp/{t.id}", t.program, t.asserts) for t in tasks]
    held = [one for t, one in zip(tasks, mbpp, strict=True) if t.id >= options.rewarded_from]
    taught = [one for t, one in zip(tasks, mbpp, strict=True) if t.id < options.rewarded_from]
    split = max(len(own) - options.rewarded_programs, 0)
    own_taught, own_held = own[:split], own[split:]
    learned = [
        *plant_many(runner, own_taught, options.kinds, options.each, options.seed, refused),
        *plant_many(runner, taught, options.kinds, options.mbpp_each, options.seed, refused),
    ]
    report(f"{len(learned)} bugs to learn from")
    again = learned[:: max(round(1 / options.tried), 1)] if options.tried > 0 else []
    tried = with_attempts(runner, again, options.kinds, options.seed)
    rewarded = [
        *plant_many(runner, own_held, options.kinds, options.each, options.seed, refused),
        *plant_many(runner, held, options.kinds, options.mbpp_each, options.seed, refused),
    ]
    report(f"{len(tried)} of them after a wrong answer; {len(rewarded)} bugs to reward on")
    sources = [
        library,
        Source("generated", "training/corpus_templates.txt by training/corpus_programs.py", "Apache-2.0", tuple(p.text for p in own)),
        Source("mbpp", f"MBPP ids {STATISTICS.start}-{STATISTICS.stop - 1}", "CC-BY-4.0", tuple(p.text for p in mbpp)),
    ]
    documents = [(library.name, text) for text in library.programs]
    documents += [("generated", p.text) for p in own_taught] + [("mbpp", p.text) for p in taught]
    _write(out / DOCUMENTS, ({"source": source, "text": text} for source, text in documents))
    _write(out / LEARNED, map(to_json, [*learned, *tried]))
    _write(out / REWARDED, map(to_json, rewarded))
    card = {
        "sources": {one.name: one.card() for one in sources}, "options": {**options.__dict__},
        "documents": dict(Counter(source for source, _ in documents)), "bugs to learn from": _counts(learned),
        "shown after a wrong answer": len(tried), "bugs to reward on": _counts(rewarded), "left out": refused.counts,
        "guarded against": ["MBPP 11-510 (reported figures)", "MBPP 511-600 (tuning)"],
        "explanations": "from the known edit and the values that the failing assert showed; nothing was written by a model or a person",
    }  # fmt: skip
    _write_text(card_file, json.dumps(card, indent=2) + "\n")
    return card


def _counts(bugs: Sequence[Planted]) -> dict[str, Any]:
    return {"bugs": len(bugs), "programs": len({b.group for b in bugs}), "by source": dict(Counter(b.group.split("/")[0] for b in bugs)),
            "by kind": dict(Counter(b.kind for b in bugs)),
            "by operator": dict(Counter(b.operator for b in bugs).most_common())}  # fmt: skip


def read_documents(folder: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (folder / DOCUMENTS).read_text(encoding="utf-8").splitlines()]


def read_bugs(file: Path) -> list[Planted]:
    return from_json(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def _write(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    _write_text(file, "".join(json.dumps(row) + "\n" for row in rows))


def _write_text(file: Path, text: str) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, file)
