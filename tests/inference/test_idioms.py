"""The grammar of expressions: what it counts, what it finds likely, and in which order it makes what was lost."""

from __future__ import annotations

import ast
import math
from itertools import islice

import pytest

from inference.templates import functions, generate
from inference.templates.idioms import DATA, Idioms, children, head, shipped
from inference.templates.space import Space
from training.benchmark import idioms as counting
from training.benchmark import mbpp


def expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


@pytest.mark.parametrize(("text", "name", "below"), [
    ("x.split(',')", ".split/1", [".split/1@0", ".split/1@1"]), ("re.sub(a, b, c)", "re.sub/3", ["re.sub/3@0", "re.sub/3@1", "re.sub/3@2"]),
    ("a[1:n]", "[a:b]", ["[a:b]@0", "[a:b]@1", "[a:b]@2"]), ("a % 2", "%", ["%@0", "%@1"]), ("[x for x in a if x]", "list for if",
    ["list for if@0", "list for if@1", "list for if@2"]), ("sorted(a, key=f)", "sorted/1,key", ["sorted/1,key@0", "sorted/1,key@1"]),
    ("a", "var", []), ("len", "len", []), ("'hello'", "text", []), ("' '", "' '", []), ("[a]", "#list/1", ["#list/1@0"]),
])  # fmt: skip
def test_a_head_is_the_operator_or_callee_with_the_number_of_its_parts(text: str, name: str, below: list[str]) -> None:
    node, local = expression(text), frozenset("abcfnx")
    assert head(node, local) == name
    assert [context for context, _ in children(node, local)] == below


def test_what_is_counted_often_costs_less_and_probabilities_add_up_to_at_most_one() -> None:
    idioms = Idioms({"return": {"var": 3, "0": 1}, "for": {"range/1": 2}})
    assert idioms.cost("return", "var") < idioms.cost("return", "0") < idioms.cost("return", "range/1") < idioms.cost("return", "new")
    assert sum(math.exp(-idioms.cost("return", name)) for name in ("var", "0", "range/1")) <= 1


def test_the_usual_way_to_write_a_function_surprises_less() -> None:
    usual, odd = (ast.parse(f"def f(n):\n    for i in {loop}:\n        print(i)\n").body[0] for loop in ("range(n)", "range(n, 0 % n)"))
    assert shipped().surprise(usual) < shipped().surprise(odd)


def test_the_shipped_counts_are_those_of_the_ids_for_statistics() -> None:
    counts = counting.count(task.program for task in mbpp.read_tasks(mbpp.STATISTICS))
    assert {context: dict(heads) for context, heads in counts.items()} == shipped().counts
    assert DATA.stat().st_size < 40_000


@pytest.mark.parametrize(("wrong", "right"), [
    ("def f(x):\n    return x\n", "def f(x):\n    return len(x)\n"),
    ("import math\n\ndef f(a, n):\n    return a\n", "import math\n\ndef f(a, n):\n    return math.ceil(a / n)\n"),
    ("def f(a, b):\n    return list(map(pow, b))\n", "def f(a, b):\n    return list(map(pow, a, b))\n"),
    ("def f(n):\n    for i in range(1):\n        print(i)\n", "def f(n):\n    for i in range(1, n + 1):\n        print(i)\n"),
    ("def f(a, b):\n    return min\n", "def f(a, b):\n    return min(a, b)\n"),
    ("def f(a, k):\n    return [x for x in a]\n", "def f(a, k):\n    return [x for x in a if x > k]\n"),
    ("def f(s):\n    return s.replace\n", "def f(s):\n    return s.replace(' ', '')\n"),
])  # fmt: skip
def test_what_an_expression_lost_is_among_the_first_candidates(wrong: str, right: str) -> None:
    function = next(f for f in functions("m.py", wrong) if f.qualname == "f")
    assert right in [candidate.apply() for candidate in islice(Space(function).candidates(6, set()), 2000)]


def test_candidates_parse_come_once_and_never_repeat_what_stands_there() -> None:
    text = "def f(a, n):\n    return f'{a}' + ''.join(x for x in a if x) + str((n,))\n"
    function = next(f for f in functions("m.py", text) if f.qualname == "f")
    made = [candidate.apply() for candidate in islice(generate(function, 6), 2000)]
    assert len(set(made)) == len(made)
    assert text not in made
    for one in made:
        ast.parse(one)
