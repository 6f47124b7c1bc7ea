"""Bucket 5 and the descriptions: what an exception suggests, and the words for a change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference.edits import Candidate
from inference.templates import describe, functions, generate


def suggested(text: str, exception: str, message: str, hot: int | None, qualname: str | None = None) -> list[Candidate]:
    function = next(one for one in functions("module.py", text) if qualname in (None, one.qualname))
    return list(generate(replace(function, exception=exception, message=message, hot=hot), 5))


CASES = [
    ("def f(d, k):\n    return d[k]\n", "KeyError", "'a'", 2, "def f(d, k):\n    return d.get(k)\n"),
    ("def f(d, k):\n    d[k] += 1\n", "KeyError", "'a'", 2, "def f(d, k):\n    d[k] = d.get(k, 0) + (1)\n"),
    ("D = {'name': 1}\ndef f(d):\n    return d['nmae']\n", "KeyError", "'nmae'", 3,
     "D = {'name': 1}\ndef f(d):\n    return d['name']\n"),
    ("def f(a):\n    return 'x' + a\n", "TypeError", 'can only concatenate str (not "int") to str', 2,
     "def f(a):\n    return 'x' + str(a)\n"),
    ("def f(u):\n    return u.name\n", "AttributeError", "'NoneType' object has no attribute 'name'", 2,
     "def f(u):\n    if u is None:\n        return None\n    return u.name\n"),
    ("def f(us):\n    return [u.name for u in us]\n", "AttributeError", "'NoneType' object has no attribute 'name'", 2,
     "def f(us):\n    return [u.name for u in us if u is not None]\n"),
    ("def f(xs):\n    xs.add(1)\n", "AttributeError", "'list' object has no attribute 'add'", 2, "def f(xs):\n    xs.append(1)\n"),
    ("def f(total):\n    return totl\n", "NameError", "name 'totl' is not defined", 2, "def f(total):\n    return total\n"),
    ("import os\n\ndef f(a):\n    return math.pi\n", "NameError", "name 'math' is not defined", 4,
     "import os\nimport math\n\ndef f(a):\n    return math.pi\n"),
    ('"""Doc."""\ndef f(a):\n    return Path(a)\n', "NameError", "name 'Path' is not defined", 3,
     '"""Doc."""\nfrom pathlib import Path\ndef f(a):\n    return Path(a)\n'),
    ("def f(xs, n):\n    return n / len(xs)\n", "ZeroDivisionError", "division by zero", 2,
     "def f(xs, n):\n    if len(xs) == 0:\n        return 0\n    return n / len(xs)\n"),
    ("def f(xs):\n    return max(xs)\n", "ValueError", "max() arg is an empty sequence", 2, "def f(xs):\n    return max(xs, default=0)\n"),
    ("def f(xs):\n    return next(xs)\n", "StopIteration", "", 2, "def f(xs):\n    return next(xs, None)\n"),
    ("def f(d):\n    for k in d:\n        d.pop(k)\n", "RuntimeError", "dictionary changed size during iteration", 2,
     "def f(d):\n    for k in list(d):\n        d.pop(k)\n"),
    ("def f(xs, i):\n    return xs[i]\n", "IndexError", "list index out of range", 2,
     "def f(xs, i):\n    if i < len(xs):\n        return xs[i]\n"),
    ("def f(k):\n    return {}[k]\n\ndef g(xs):\n    return {xs: 1}\n", "TypeError", "unhashable type: 'list'", 5,
     "def f(k):\n    return {}[k]\n\ndef g(xs):\n    return {tuple(xs): 1}\n"),
    ("class A:\n    def f():\n        return 1\n", "TypeError", "A.f() takes 0 positional arguments but 1 was given", None,
     "class A:\n    def f(self):\n        return 1\n"),
    ("import re\nWORD = 'a+'\n\ndef f(text):\n    return re.search(text)\n", "TypeError",
     "search() missing 1 required positional argument: 'string'", 5,
     "import re\nWORD = 'a+'\n\ndef f(text):\n    return re.search(WORD, text)\n"),
    ("def f(text, new):\n    return text.replace('a')\n", "TypeError", "replace expected at least 2 arguments, got 1", 2,
     "def f(text, new):\n    return text.replace('a', new)\n"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "exception", "message", "hot", "right"), CASES)
def test_the_fix_that_an_exception_suggests_is_made(wrong: str, exception: str, message: str, hot: int | None, right: str) -> None:
    qualname = "g" if "def g" in wrong else "A.f" if "class A" in wrong else "f"
    assert right in [one.apply() for one in suggested(wrong, exception, message, hot, qualname)]


def test_an_import_that_moved_is_followed() -> None:
    wrong = "from collections import Mapping\n"
    found = suggested(wrong, "ImportError", "cannot import name 'Mapping' from 'collections' (/usr/lib/x.py)", 1)
    assert found[0].apply() == "from collections.abc import Mapping\n"


def test_catching_the_exception_is_the_last_resort() -> None:
    found = suggested("def f(d, k):\n    x = d[k]\n    return x\n", "KeyError", "'a'", 2)
    kinds = [one.template for one in found]
    assert "try" in kinds
    assert set(kinds[kinds.index("try") :]) <= {"try", "guard", "conditional", "cast"}
    assert kinds.index("try") > len(kinds) // 2


@pytest.mark.parametrize("case", CASES)
def test_what_exceptions_suggest_parses(case: tuple[str, str, str, int | None, str]) -> None:
    wrong, exception, message, hot, _ = case
    found = suggested(wrong, exception, message, hot, "g" if "def g" in wrong else "A.f" if "class A" in wrong else "f")
    assert found
    for candidate in found:
        compile(candidate.apply(), "module.py", "exec")


def test_no_exception_no_suggestion() -> None:
    assert suggested("def f(a):\n    return a\n", "", "", None) == []
    assert suggested("def f(a):\n    return a\n", "AssertionError", "assert 1 == 2", 2) == []


def said(wrong: str, right: str, *buckets: int) -> str:
    function = functions("module.py", wrong)[0]
    candidate = next(one for bucket in buckets for one in generate(function, bucket) if one.apply() == right)
    return describe(candidate).kind_sentence


def test_a_comparison_is_told_by_its_operators() -> None:
    assert said("def f(a):\n    return a < 2\n", "def f(a):\n    return a <= 2\n", 1) == "compares with `<=` instead of `<`"


def test_a_guard_is_told_by_its_condition_and_its_result() -> None:
    wrong = "def f(items):\n    return sum(items) / len(items)\n"
    right = "def f(items):\n    if not items:\n        return []\n    return sum(items) / len(items)\n"
    assert said(wrong, right, 1, 2, 3) == "adds a guard that returns `[]` when `not items`"


@pytest.mark.parametrize("text", [
    "def f(a):\n    return a < '`x` @team'\n", "def f(items):\n    return items['`'] + 1\n",
    "def f(s, n):\n    if s == '``' and n < 2:\n        return n\n    return n + 1\n",
])  # fmt: skip
def test_backticks_of_the_code_end_no_code_span(text: str) -> None:
    """Each span has one mark before and one behind it, so an odd number or a doubled one would set text of the project free."""
    function = functions("module.py", text)[0]
    for bucket in (1, 2, 3):
        for candidate in generate(function, bucket):
            sentence = describe(candidate).kind_sentence
            outside = "".join(sentence.split("`")[::2])
            assert (sentence.count("`") % 2, "``" in sentence, "@team" in outside) == (0, False, False), sentence


def test_a_change_shows_the_whole_expression_before_and_after() -> None:
    function = functions("module.py", "def f(a):\n    return a < 2\n")[0]
    change = describe(next(one for one in generate(function, 1) if "<= 2" in one.apply()))
    assert (change.old, change.new, change.line, change.template) == ("a < 2", "a <= 2", 2, "compare-operator")


def test_every_candidate_has_words() -> None:
    text = "def f(xs, n):\n    total = 0\n    for x in xs:\n        if x > n and n:\n            total += x\n"
    text += "    return [total, 'a,b'.split(',')]\n"
    function = functions("module.py", text)[0]
    for bucket in (1, 2, 3):
        for candidate in generate(function, bucket):
            change = describe(candidate)
            assert change.kind_sentence.strip()
            assert "\n" not in change.kind_sentence
            assert change.old != change.new
