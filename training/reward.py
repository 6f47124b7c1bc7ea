"""What a completion earns: LEDEX's two rewards (arXiv 2405.18649, section 2.3), and a gated one that pays no wrong fix above a right one.

The paper scores a refinement by CodeBLEU and by tests, an explanation by its likeness to verified ones, and pays each segment its own
reward. Its sum can pay a wrong fix that looks familiar (0.67 of the tests, CodeBLEU 0.9: 2.85) more than a right one that does not
(CodeBLEU 0.4: 2.0); ``gated_reward`` cannot. What the paper leaves open is a field of ``PaperOptions``; the defaults are its plain
reading. Pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from inference.trajectory import Feedback
from training.codebleu import Weights, codebleu
from training.encoder import Encoder

LEAST, MOST = -5.0, 5.0
"""The range of both rewards, by the paper's scaling."""
_MARGIN = 1.0
"""The gated reward's distance from 0 on either side: a right fix earns at least this much, a wrong one at most its negative."""


@dataclass(frozen=True)
class Attempt:
    """A completion as it was judged. ``refinement`` is the code that it changed, as it reads afterwards ("" for what could not be read or
    applied); ``explanation`` is None in the mode "refine". ``passed`` of ``total`` visible tests, ``hidden_passed`` of ``hidden_total``
    that nobody showed the model. ``refused_by``: the check that refused the patch (V0 to V4), None where none did."""

    refinement: str
    explanation: str | None
    passed: int
    total: int
    hidden_passed: int = 0
    hidden_total: int = 0
    refused_by: str | None = None
    feedback: tuple[Feedback, ...] = ()
    language: str = "python"


@dataclass(frozen=True)
class Verified:
    """R_c^w and E_c^w: the verified refinements of one wrong solution, with their explanations ("" where one has none)."""

    refinements: tuple[str, ...] = ()
    explanations: tuple[str, ...] = ()


@dataclass(frozen=True)
class PaperOptions:
    """What the paper does not say. ``self_match``: whether a refinement that is among the verified ones is compared with itself.
    ``clip_explanation``: R(e) is cut to [-5, 5] (unlike texts earn down to -11.7 otherwise). ``no_reference``: what happens to a wrong
    solution that nobody has repaired, for which the scores are undefined."""

    self_match: Literal["include", "exclude"] = "include"
    clip_explanation: bool = False
    no_reference: Literal["drop", "tests"] = "drop"
    codebleu: Weights = field(default_factory=Weights)


@dataclass(frozen=True)
class Reward:
    """``refinement`` is paid at the completion's last token, ``explanation`` at the explanation's; None where there is none. ``scores``
    are what they were made of."""

    refinement: float
    explanation: float | None
    scores: Mapping[str, float]


def refinement_reward(s_cb: float, s_ut: float) -> float:
    """R(r) = 5 (S_cb + S_ut) - 5, from -5 to 5."""
    return 5.0 * (s_cb + s_ut) - 5.0


def explanation_reward(s_ex: float) -> float:
    """R(e) = (50 S_ex - 35) / 3: 0.4 to -5, 0.7 to 0, 1 to 5."""
    return (50.0 * s_ex - 35.0) / 3.0


def paper_reward(attempt: Attempt, verified: Verified, encoder: Encoder, options: PaperOptions = PaperOptions()) -> Reward | None:
    """The paper's rewards; None where they are undefined and ``options`` drop such attempts. S_ut counts the visible tests."""
    refinements = _others(attempt.refinement, verified.refinements, options)
    s_ut = attempt.passed / attempt.total if attempt.total else 0.0
    if not refinements:
        if options.no_reference == "drop":
            return None
        return Reward(refinement_reward(s_ut, s_ut), None, {"unit_tests": s_ut})
    s_cb = statistics.fmean(codebleu(attempt.refinement, r, attempt.language, options.codebleu) for r in refinements)
    scores = {"codebleu": s_cb, "unit_tests": s_ut}
    explanation = None
    if attempt.explanation is not None:
        explanations = [e for e in _others(attempt.explanation, verified.explanations, options) if e]
        if explanations:
            s_ex = likeness(attempt.explanation, explanations, encoder)
            scores["explanation"] = s_ex
            explanation = explanation_reward(s_ex)
            if options.clip_explanation:
                explanation = min(max(explanation, LEAST), MOST)
    return Reward(refinement_reward(s_cb, s_ut), explanation, scores)


def likeness(text: str, references: Sequence[str], encoder: Encoder) -> float:
    """S_ex: the mean cosine of a text with each of the references."""
    vectors = encoder.encode([text, *references])
    return float((vectors[1:] @ vectors[0]).mean())


def is_right(attempt: Attempt) -> bool:
    """Whether no check refused the fix, every test passes, the hidden ones too, and no person said that it is wrong."""
    return (
        attempt.refused_by is None and attempt.total > 0 and attempt.passed == attempt.total
        and attempt.hidden_passed == attempt.hidden_total and worth_of(attempt.feedback) != 0.0)  # fmt: skip


def gated_reward(attempt: Attempt, verified: Verified, encoder: Encoder, options: PaperOptions = PaperOptions()) -> Reward:
    """1 to 5 for a right fix, -4 to -1 for a wrong one, -5 for one that a check refused or that could not be read.

    Inside its half a right fix is paid by what people did with it, where they did anything, and by its likeness to verified ones else; a
    wrong one by its share of all tests. The explanation is paid in the same half as the fix that it led to, by its likeness.
    """
    right, said = is_right(attempt), worth_of(attempt.feedback)
    tests = attempt.total + attempt.hidden_total
    s_ut = (attempt.passed + attempt.hidden_passed) / tests if tests else 0.0
    scores = {"right": float(right), "unit_tests": s_ut}
    refinements = _others(attempt.refinement, verified.refinements, options)
    if refinements:
        scores["codebleu"] = max(codebleu(attempt.refinement, r, attempt.language, options.codebleu) for r in refinements)
    refused = attempt.refused_by is not None or not attempt.refinement
    liked = said if said is not None else scores.get("codebleu", 0.5)
    # An answer that can be read is worth a little even where every test fails: a model that is rarely right keeps its form.
    share = liked if right else 0.0 if refused else _READ + (1 - _READ) * s_ut
    explanation = None
    if attempt.explanation is not None:
        explanations = [e for e in _others(attempt.explanation, verified.explanations, options) if e]
        s_ex = min(max(likeness(attempt.explanation, explanations, encoder), 0.0), 1.0) if explanations else 0.5
        scores["explanation"] = s_ex
        explanation = _within(right, 0.0 if refused or not attempt.explanation.strip() else s_ex)
    return Reward(_within(right, share), explanation, scores)


_READ = 0.25


def _within(right: bool, share: float) -> float:
    """A share from 0 to 1 as a place in the upper or the lower half."""
    return _MARGIN + (MOST - _MARGIN) * share if right else LEAST + (MOST - _MARGIN) * share


LIKED = 0.5
"""What people did with a patch is worth at least this, or it is neither imitated nor a reference."""
_REJECTED = {"style": 0.5, "not-wanted": 0.5, "incomplete": 0.25}
"""A patch that somebody did not want for these reasons was right as far as it went; for any other reason it was wrong."""


def worth_of(feedback: Sequence[Feedback]) -> float | None:
    """What the last thing that people did says of a fix: 0 is wrong, 1 is just right; None where they did nothing that says anything."""
    worth: float | None = None
    for one in sorted(feedback, key=lambda f: f.at):
        match one.kind:
            case "applied" | "stacked":
                worth = 1.0
            case "edited":
                worth = min(max(1.0 - (one.edit_distance if one.edit_distance is not None else 0.5), 0.05), 1.0)
            case "rejected":
                worth = _REJECTED.get(one.reason or "", 0.0)
            case "reverted":
                worth = 0.0
            case _:  # ignored is censored, superseded speaks of the other patch, opted_out of nothing
                pass
    return worth


def _others(text: str, references: Sequence[str], options: PaperOptions) -> list[str]:
    return [r for r in references if options.self_match == "include" or r != text]
