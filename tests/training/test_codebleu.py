"""CodeBLEU beside the numbers that the PyPI package printed, and by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from training.codebleu import (
    _KEYWORDS,
    Weights,
    _root,
    codebleu,
    data_flow,
    data_flow_match,
    ngram_match,
    syntax_match,
    weighted_ngram_match,
)

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "fixtures" / "codebleu.json").read_text())


@pytest.mark.parametrize("pair", RECORDED)
def test_ngrams_and_syntax_are_those_of_the_package(pair: dict[str, Any]) -> None:
    mine, theirs = pair["candidate"].split(), pair["reference"].split()
    assert ngram_match(mine, theirs) == pytest.approx(pair["ngram_match_score"], abs=1e-6)
    assert weighted_ngram_match(mine, theirs, _KEYWORDS["python"]) == pytest.approx(pair["weighted_ngram_match_score"], abs=1e-6)
    syntax = syntax_match(_root(pair["candidate"].strip(), "python"), _root(pair["reference"].strip(), "python"))
    assert syntax == pytest.approx(pair["syntax_match_score"], abs=1e-6)


def test_the_same_code_scores_one_and_other_code_less() -> None:
    code = "def f(a, b):\n    c = a + b\n    return c * a\n"
    assert codebleu(code, code) == pytest.approx(1.0)
    near, far = code.replace("+", "-"), "def g():\n    raise ValueError('no')\n"
    assert 1.0 > codebleu(near, code) > codebleu(far, code) >= 0.0


def test_by_hand() -> None:
    # 4 words, 3 in place: 1-grams 3/4, 2-grams 2/3, 3-grams 1/2, 4-grams none of 1, smoothed to 0.1.
    assert ngram_match("a b c x".split(), "a b c d".split()) == pytest.approx((3 / 4 * 2 / 3 * 1 / 2 * 0.1) ** 0.25)
    # Half as long as the reference: e^(1 - 2).
    assert ngram_match("a b c d".split(), "a b c d e f g h".split()) == pytest.approx(math.exp(-1))
    # The keyword that is missing weighs 1, the two words that are there 0.2 each; of two 2-grams one is there; nothing is longer.
    expected = (0.4 / 1.4 * 1 / 2 * 0.1 / 1 * 0.1 / 1) ** 0.25
    assert weighted_ngram_match("a b".split(), "a b return".split(), frozenset({"return"})) == pytest.approx(expected)


def test_data_flow_follows_values_not_names() -> None:
    ours = data_flow(_root("def f(a):\n    x = a + 1\n    return x\n", "python"))
    renamed = data_flow(_root("def f(b):\n    y = b + 1\n    return y\n", "python"))
    other = data_flow(_root("def f(a):\n    x = a + 1\n    return a\n", "python"))
    assert data_flow_match(ours, renamed) == 1.0
    assert data_flow_match(other, ours) == pytest.approx(2 / 3)  # a read, x computed from a; the use of x is missing
    assert data_flow_match(ours, ()) is None


@pytest.mark.parametrize(("language", "code"), [
    ("javascript", "function f(a) { const x = a + 1; return x; }"), ("go", "package p\nfunc f(a int) int { x := a + 1; return x }"),
    ("rust", "fn f(a: i32) -> i32 { let x = a + 1; return x; }"), ("java", "class A { int f(int a) { int x = a + 1; return x; } }"),
])  # fmt: skip
def test_other_languages(language: str, code: str) -> None:
    flow = data_flow(_root(code, language))
    assert {kind for _, kind, _ in flow} == {"computedFrom", "comesFrom"}
    assert codebleu(code, code, language) == pytest.approx(1.0)
    assert codebleu(code.replace("+ 1", "- 2"), code, language, Weights(0, 0, 1, 0)) > 0.5


def test_hostile_text_is_only_unlike() -> None:
    for text in ("", "\x00", "))))(((", "\ud800", "x" * 100_000):
        assert 0.0 <= codebleu(text, "def f():\n    return 1\n") < 1.0
    with pytest.raises(KeyError):
        codebleu("x", "x", "cobol")
