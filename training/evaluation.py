"""How good a model is at repairing planted bugs: LEDEX's protocol (section 4.1), with the baselines and guards that it lacks.

Every bug gets ``samples`` chains. A chain is one sampled answer and, while it is wrong, one sampled refinement a round, each on the
feedback of the last, through the proposer and the verification of production. Right: the cold verdict accepts it and hidden tests pass.
``resample`` spends the same number of answers without any feedback: the baseline that refinement has to beat at equal budget.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from inference.model import ModelError, ModelUnavailable, Sampler
from inference.prompt import Mode
from inference.refinement import Effort
from inference.trajectory import Round
from sandbox.runner import Runner
from training import DataError
from training.collect import known_explanation
from training.encoder import Encoder
from training.problems import Planted, open_planted
from training.references import explanation_of, is_correct, is_verified
from training.reward import likeness
from training.rollout import attempt_failure
from training.statistics import Interval, Refinements, Scores, interval, mean_rate, pass_at_k, pooled_rate

_OVERFIT = {"overfit", "mutation"}
"""Checks of V4."""


@dataclass(frozen=True)
class EvaluationOptions:
    """``rounds``: refinements after the first answer, 1 to 3 in the paper. ``seed`` belongs to sampling alone: the bugs are given."""

    samples: int = 4
    rounds: int = 1
    mode: Mode = "explain"
    strategy: Literal["refine", "resample"] = "refine"
    temperature: float = 0.8
    completion_tokens: int = 512
    prompt_tokens: int = 3000
    seed: int = 0
    seconds: float = 120.0


@dataclass(frozen=True)
class Chain:
    """One chain: for each of its answers whether it is right, and what it is guarded for."""

    right: tuple[bool, ...]
    regressed: bool
    overfit: bool
    explanation: float | None

    def right_after(self, rounds: int) -> bool:
        return any(self.right[: rounds + 1])


@dataclass(frozen=True)
class Solved:
    """One bug's chains."""

    id: str
    kind: str
    chains: tuple[Chain, ...]


@dataclass(frozen=True)
class Evaluation:
    """All bugs, in the order they were given. ``model``: whose answers they are, see ``sampling.name_of``; None where nobody said."""

    options: EvaluationOptions
    problems: tuple[Solved, ...]
    model: str | None = None

    def pass_at(self, k: int, rounds: int) -> Scores:
        """(problems,): the unbiased pass@k after so many refinements."""
        return np.array([pass_at_k(len(p.chains), sum(c.right_after(rounds) for c in p.chains), k) for p in self.problems], np.float64)

    def refinements(self, rounds: int) -> list[Refinements]:
        """First answers that were wrong, and those that refinement turned right."""
        return [
            Refinements(sum(not c.right_after(0) for c in p.chains), sum(not c.right_after(0) and c.right_after(rounds) for c in p.chains))
            for p in self.problems
        ]

    def scores(self) -> dict[str, Scores]:
        """What the gate compares, higher is better: each (problems,)."""
        rounds = self.options.rounds
        said = [[c.explanation for c in p.chains if c.explanation is not None] for p in self.problems]
        return {
            "pass@1": self.pass_at(1, rounds),
            "not_regressed": np.array([np.mean([not c.regressed for c in p.chains]) for p in self.problems], np.float64),
            "not_overfit": np.array([np.mean([not c.overfit for c in p.chains]) for p in self.problems], np.float64),
            "explanation": np.array([float(np.mean(one)) if one else 0.0 for one in said], np.float64),
        }

    def summary(self) -> dict[str, Any]:
        """The figures for people, with 95 % intervals over problems."""
        samples = min((len(p.chains) for p in self.problems), default=0)
        figures: dict[str, Any] = {"problems": len(self.problems), "samples": samples}
        for rounds in range(self.options.rounds + 1):
            for k in sorted({1, samples} - {0}):
                figures[f"pass@{k} after {rounds}"] = str(interval(self.pass_at(k, rounds)))
            if rounds:
                figures[f"success refinement rate after {rounds}, pooled"] = str(pooled_rate(self.refinements(rounds)))
                figures[f"success refinement rate after {rounds}, mean"] = str(mean_rate(self.refinements(rounds)))
        for name, scores in self.scores().items():
            if name != "pass@1":
                figures[name] = str(interval(scores))
        return figures


def evaluate(
    planted: Sequence[Planted], sampler: Sampler, runner: Runner, encoder: Encoder, options: EvaluationOptions, out: Path | None = None, *,
    adapter: str | None = None, jobs: int = 1, python: Path | None = None, report: Callable[[int, int], None] = lambda done, total: None,
    model: str | None = None,
) -> Evaluation:  # fmt: skip
    """Solve all bugs. With ``out`` each is written when it is done and a run that was killed goes on there. ``python``: see
    ``open_planted``.

    Raises DataError where ``out`` holds another evaluation or another model's, ModelError where the model does not answer.
    """
    done = _resumed(out, options, model)

    def one(bug: Planted) -> Solved | None:
        if bug.id in done:
            return done[bug.id]
        with tempfile.TemporaryDirectory(prefix="ledex-evaluate-") as folder:
            opened = open_planted(bug, runner, Path(folder) / "bug", python=python)
            if isinstance(opened, str):
                return None  # the same for every model, so no figure is moved by it
            known = known_explanation(opened)
            chains = []
            for number in range(options.samples):
                effort = Effort(
                    samples=1, rounds=options.rounds, width=1, temperature=options.temperature, mode=options.mode,
                    strategy=options.strategy, completion_tokens=options.completion_tokens, prompt_tokens=options.prompt_tokens,
                    seed=options.seed * 1_000_003 + 7919 * number)  # fmt: skip
                try:
                    rounds = attempt_failure(opened, sampler, effort, options.seconds, adapter).rounds
                except ModelError as error:
                    if not number or isinstance(error, ModelUnavailable):  # an outage is no wrong answer: the bug is tried again later
                        raise
                    rounds = ()
                chains.append(_chain(rounds, known, encoder))
        return Solved(bug.id, bug.kind, tuple(chains))

    solved = []
    with ThreadPoolExecutor(jobs) as pool:
        for number, found in enumerate(pool.map(one, planted), 1):
            if found is not None:
                if out is not None and found.id not in done:
                    _append(out, found)
                solved.append(found)
            report(number, len(planted))
    return Evaluation(options, tuple(solved), model)


def _chain(rounds: Sequence[Round], known: str | None, encoder: Encoder) -> Chain:
    right = tuple(is_correct(one) for one in rounds) or (False,)
    refused = [str((one.verdict or {}).get("refused_by")) for one in rounds]
    fooled = any(is_verified(one) and not is_correct(one) for one in rounds)
    said = next((text for one in reversed(rounds) if (text := explanation_of(one))), None)
    alike = likeness(said, [known], encoder) if said and known else None
    return Chain(right, "regressions" in refused, fooled or not _OVERFIT.isdisjoint(refused), alike)


def _append(out: Path, solved: Solved) -> None:
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(solved)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _resumed(out: Path | None, options: EvaluationOptions, model: str | None) -> dict[str, Solved]:
    if out is None:
        return {}
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"options": asdict(options), "model": model}) + "\n", encoding="utf-8")
        return {}
    return {one.id: one for one in load_evaluation(out, options, model).problems}


def load_evaluation(path: Path, expected: EvaluationOptions | None = None, model: str | None = None) -> Evaluation:
    """What ``evaluate`` wrote; a last line that was cut is left out, and taken off the file. Raises DataError, also for an evaluation with
    other options than ``expected`` and for one of another ``model``."""
    try:
        data = path.read_text(encoding="utf-8")
        whole = data[: data.rfind("\n") + 1]
        header, *rows = (json.loads(line) for line in whole.splitlines())
        options = EvaluationOptions(**header["options"])
        solved = tuple(
            Solved(row["id"], row["kind"], tuple(Chain(**{**chain, "right": tuple(chain["right"])}) for chain in row["chains"]))
            for row in rows)  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path} holds no evaluation: delete it, or name another file") from None
    if expected is not None and options != expected:
        raise DataError(f"{path} holds an evaluation with other options: name another file")
    if model is not None and header.get("model") != model:
        whose = header.get("model") or "it does not say which"
        raise DataError(f"{path} holds an evaluation of other weights ({whose}): name another file")
    if whole != data:
        path.write_text(whole, encoding="utf-8")
    return Evaluation(options, solved, header.get("model"))


def common(first: Evaluation, second: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Both evaluations on the bugs that both have, in one order: pairs, as the bootstrap wants them."""
    shared = [p.id for p in first.problems if p.id in {q.id for q in second.problems}]

    def only(one: Evaluation) -> Evaluation:
        by_id: Mapping[str, Solved] = {p.id: p for p in one.problems}
        return Evaluation(one.options, tuple(by_id[name] for name in shared), one.model)

    return only(first), only(second)


Direction = Literal["better", "worse", "no difference beyond noise"]


def direction(difference: Interval) -> Direction:
    return "better" if difference.above_noise else "worse" if difference.high < 0 else "no difference beyond noise"
