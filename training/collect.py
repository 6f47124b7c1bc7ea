"""LEDEX's collection (section 2.1): wrong code, explanations with refinements for it, all run, all kept, as Trajectory files.

Wrong code is planted (``training.problems``); explanations and refinements come from a teacher behind any OpenAI-compatible server, from
the model itself (self-bootstrapping), or from the template teacher. Whatever they say is verified cold like a repair of the bot's. One
line is written for each wrong code as soon as it is done, so a run that was killed goes on where it was; a cut line is taken off.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inference.completion import Parsed, parse_completion, render_completion, survives
from inference.context import build_context
from inference.edit_application import apply_edits
from inference.model import ModelError, Sampler
from inference.patch import unified_diff
from inference.prompt import PROMPT_VERSION, render_prompt
from inference.refinement import Effort
from inference.trajectory import Round, Trajectory, read_trajectories, write_trajectories
from sandbox import SandboxError
from sandbox.runner import Runner
from sandbox.testing import Bench
from training.census import is_held_out
from training.contamination import Guarded
from training.problems import Opened, Planted, open_planted, recorded_problem
from training.references import code_after, is_correct
from training.rollout import attempt_failure, judged
from training.teaching import explain_edit, known_edit

PAPER_EFFORT = Effort(samples=10, rounds=0, temperature=0.8)
"""Ten outputs for each wrong solution at temperature 0.8 (appendix A.2)."""
_PROMPT_TOKENS = 3000

Teacher = Callable[[Opened], Trajectory]
"""Attempts at one opened bug, judged. Raises ModelError."""


def template_teacher(
    opened: Opened, count_tokens: Callable[[str], int] = lambda text: len(text) // 3, prompt_tokens: int = _PROMPT_TOKENS
) -> Trajectory:
    """One round: the explanation from the known edit and the reported failure, and that edit."""
    planted = opened.planted
    context = build_context(opened.problem, count_tokens, prompt_tokens)
    edit = known_edit(planted.path, planted.wrong, planted.right) if planted.problem is None else None
    rounds: tuple[Round, ...] = ()
    explanation = explain_edit(edit, opened.reproduction.failures, planted.id) if edit is not None else ""
    if edit is not None and survives(explanation, [edit]):
        text = render_completion(explanation, [edit])
        parsed = parse_completion(text, "explain")
        changes = apply_edits([edit], lambda path: opened.head.read(path) if opened.head.exists(path) else None, context.excerpts)
        if isinstance(parsed, Parsed) and isinstance(changes, dict):
            patch = unified_diff({path: (opened.head.read(path), after) for path, after in changes.items()})
            rounds = (Round("templates", patch.decode("utf-8", "surrogateescape"), None, PROMPT_VERSION,
                            render_prompt(context, (), "explain"), text, parsed.explanation_span, parsed.refinement_span),)  # fmt: skip
    rounds = tuple(judged(opened, rounds))
    chosen = 0 if rounds and is_correct(rounds[0]) else None
    return Trajectory(f"planted/{planted.id}", recorded_problem(opened), rounds, chosen)


def known_explanation(opened: Opened) -> str | None:
    """What the template teacher says of a planted bug: the reference that explanations are held against in evaluations."""
    if opened.planted.problem is not None:
        return None
    edit = known_edit(opened.planted.path, opened.planted.wrong, opened.planted.right)
    return explain_edit(edit, opened.reproduction.failures, opened.planted.id) if edit is not None else None


def model_teacher(sampler: Sampler, effort: Effort = PAPER_EFFORT, adapter: str | None = None) -> Teacher:
    """A larger model, or the one in training itself."""
    return lambda opened: replace(attempt_failure(opened, sampler, effort, 600.0, adapter), id=f"planted/{opened.planted.id}")


@dataclass
class Collected:
    """What became of the wrong codes; ``left_out`` by reason."""

    kept: int = 0
    resumed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def collect(
    source: Iterable[Planted], teacher: Teacher, runner: Runner, out: Path, guarded: Guarded, *, jobs: int = 1, held_out: float = 0.1,
    limit: int | None = None, python: Path | None = None, report: Callable[[Collected], None] = lambda _: None,
) -> Collected:  # fmt: skip
    """Writes ``train.jsonl``, ``held_out.jsonl`` and ``card.json`` into ``out``. Raises ModelError where the teacher cannot be asked."""
    out.mkdir(parents=True, exist_ok=True)
    files = {False: out / "train.jsonl", True: out / "held_out.jsonl"}
    done = {one.id for file in files.values() for one in _resumed(file)}
    state = Collected(resumed=len(done))
    lock, benches = threading.Lock(), dict[str, Bench]()
    seen: set[str] = set()

    def one(planted: Planted) -> None:
        project = planted.project
        with tempfile.TemporaryDirectory(prefix="ledex-collect-") as name:
            opened = open_planted(planted, runner, Path(name) / "bug", python=python, bench=benches.get(project))
            if isinstance(opened, str):
                with lock:
                    state.left_out[opened.split(":")[0]] += 1
                return
            benches.setdefault(project, opened.bench)
            trajectory = teacher(opened)
        with lock:
            _append(files[is_held_out(planted.repository, held_out)], trajectory)
            state.kept += 1

    with ThreadPoolExecutor(jobs) as pool:
        for batch in _batches(_fresh(source, done, seen, guarded, state, limit), 4 * jobs):
            for future in as_completed([pool.submit(one, planted) for planted in batch]):
                try:
                    future.result()
                except ModelError:
                    if not state.kept:  # it never did: a wrong address, not a bad hour
                        raise
                    state.left_out["the teacher did not answer"] += 1
                except SandboxError:  # of one wrong code: a night's other ones are not lost with it
                    state.left_out["the sandbox failed"] += 1
                report(state)
    card = {**data_card([t for file in files.values() for t in _resumed(file)], state), "guarded_against": list(guarded.names)}
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return state


def _fresh(
    source: Iterable[Planted], done: set[str], seen: set[str], guarded: Guarded, state: Collected, limit: int | None
) -> Iterator[Planted]:
    given = len(done)
    for planted in source:
        if limit is not None and given >= limit:
            return
        digest = hashlib.sha256(planted.wrong.encode()).hexdigest()
        if digest in seen:
            state.left_out["the same wrong code again"] += 1
        elif (name := guarded.found_inside(planted.right)) is not None:
            state.left_out[f"stands in the evaluation set {name}"] += 1
        else:
            seen.add(digest)  # of what an earlier run did, too: its double is none of a later run's
            if f"planted/{planted.id}" not in done:
                given += 1
                yield planted


def _batches(source: Iterator[Planted], size: int) -> Iterator[list[Planted]]:
    """The source is slow (it runs programs), so work on what is there begins early."""
    batch: list[Planted] = []
    for planted in source:
        batch.append(planted)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def _resumed(file: Path) -> list[Trajectory]:
    """What an earlier run wrote; a last line without its end is taken off."""
    if not file.exists():
        return []
    data = file.read_bytes()
    if data and not data.endswith(b"\n"):
        whole = data[: data.rfind(b"\n") + 1]
        partial = file.with_suffix(".partial")
        partial.write_bytes(whole)
        os.replace(partial, file)
    return list(read_trajectories(file))


def _append(file: Path, trajectory: Trajectory) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write("".join(write_trajectories([trajectory])))
        lines.flush()
        os.fsync(lines.fileno())


def data_card(trajectories: Sequence[Trajectory], state: Collected | None = None) -> dict[str, Any]:
    """Counts like the paper's Table 1, shares by kind of bug, licences and splits."""
    rounds = [(t, r) for t in trajectories for r in t.rounds]
    right = {(t.id, code_after(r.patch)) for t, r in rounds if is_correct(r)}
    repaired = {t.id for t in trajectories if any(map(is_correct, t.rounds))}
    kinds = Counter(str(t.problem.extra.get("kind", "unknown")) for t in trajectories)
    return {
        "wrong_solutions": len(trajectories), "with_a_verified_refinement": len(repaired),
        "rate": round(len(repaired) / len(trajectories), 4) if trajectories else None, "outputs": len(rounds),
        "correct_refinements": len(right), "wrong_refinements": sum(not is_correct(r) for _, r in rounds),
        "problems": len({t.problem.repository for t in trajectories}), "by_kind": dict(kinds.most_common()),
        "licences": sorted({str(t.problem.extra.get("licence", "unknown")) for t in trajectories}),
        "prompt_versions": sorted({r.prompt_version or "none" for _, r in rounds}),
        "left_out": dict(state.left_out) if state is not None else {},
    }  # fmt: skip
