"""What the model reads: the right function first, never over the budget, the same bytes every time, and no order of a stranger's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.context import Context, build_context, cost
from inference.localization import localize
from inference.proposer import Problem
from inference.templates import functions
from sandbox.bubblewrap import BubblewrapRunner
from sandbox.environment import Environment
from sandbox.frameworks import TestPlan
from sandbox.frameworks.junit import read_junit
from sandbox.frameworks.records import Coverage
from sandbox.limits import Limits
from sandbox.report import Failure, Frame
from sandbox.reproduction import Reproduction
from sandbox.source_text import readable
from sandbox.testing import Bench
from sandbox.workspace import Workspace

PRICES = """\
from shop.money import Money, parse

RATE = 19
UNUSED = 7


class Basket:
    limit = 10

    def __init__(self, items):
        self.items = items

    def total(self):
        return sum(with_tax(item) for item in self.items)

    def clear(self):
        self.items = []


def with_tax(item):
    return parse(item) * RATE


def unrelated(n):
    return n + 1
"""
MONEY = """\
class Money:
    def __init__(self, cents):
        self.cents = cents


def parse(text):
    return int(text)
"""
CONFTEST = """\
import pytest


@pytest.fixture
def basket():
    return []


@pytest.fixture
def other():
    return 1
"""
TESTS = """\
from shop.prices import Basket, with_tax


def build(items):
    return Basket(items)


def test_total(basket):
    assert build(["1"]).total() == 1


def test_else():
    assert with_tax("0") == 0
"""
SHOP = {"shop/__init__.py": "", "shop/prices.py": PRICES, "shop/money.py": MONEY, "tests/conftest.py": CONFTEST,
        "tests/test_prices.py": TESTS}  # fmt: skip
TOTAL, ELSE = "tests/test_prices.py::test_total", "tests/test_prices.py::test_else"
SHOP_COVERAGE = {
    "shop/prices.py": {TOTAL: frozenset({14, 21}), ELSE: frozenset({21})},
    "shop/money.py": {TOTAL: frozenset({7}), ELSE: frozenset({7})},
}
SHOP_FAILURE = Failure(TOTAL, "AssertionError", "assert 19 == 1", (Frame("tests/test_prices.py", 9, "test_total"),), "E   assert 19 == 1")

CART_JS = """\
'use strict';

function parsePrice(text) {
  return Number(text.replace('$', ''));
}

function total(items) {
  let sum = 0;
  for (const item of items) {
    if (item.price === undefined) {
      throw new TypeError(`no price for ${item.name}`);
    }
    sum += parsePrice(item.price);
  }
  return sum;
}

const unused = (items) => {
  return items.length;
};

module.exports = { total, parsePrice, unused };
"""
CART_TEST_JS = """\
const test = require('node:test');
const assert = require('node:assert');
const { total } = require('../src/cart');

test('adds two prices', () => {
  assert.strictEqual(total([{ name: 'a', price: '$1' }]), 2);
});

test('an item without a price', () => {
  assert.strictEqual(total([{ name: 'free' }]), 0);
});
"""
NODE = {"src/cart.js": CART_JS, "src/other.js": "function total() {\n  return 1;\n}\n", "test/cart.test.js": CART_TEST_JS}
# As node 20 writes it, but for the folder.
NODE_XML = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites>
\t<testcase name="adds two prices" time="0.002" classname="test" failure="Expected values to be strictly equal:1 !== 2">
\t\t<failure type="testCodeFailure" message="Expected values to be strictly equal:1 !== 2">
Error [ERR_TEST_FAILURE]: Expected values to be strictly equal:

1 !== 2

    at AsyncResource.runInAsyncScope (node:async_hooks:206:9) {
  code: 'ERR_TEST_FAILURE',
  cause: AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:
      at TestContext.&lt;anonymous> (/tree/cart/test/cart.test.js:6:10)
      at Test.run (node:internal/test_runner/test:796:25)
}
\t\t</failure>
\t</testcase>
\t<testcase name="an item without a price" time="0.0001" classname="test" failure="no price for free">
\t\t<failure type="testCodeFailure" message="no price for free">
[Error [ERR_TEST_FAILURE]: no price for free] {
  code: 'ERR_TEST_FAILURE',
  cause: TypeError [Error]: no price for free
      at total (/tree/cart/src/cart.js:11:13)
      at TestContext.&lt;anonymous> (/tree/cart/test/cart.test.js:10:22)
      at Test.run (node:internal/test_runner/test:796:25)
}
\t\t</failure>
\t</testcase>
</testsuites>
"""


def words(text: str) -> int:
    """A tokenizer of a kind: four characters a token."""
    return (len(text) + 3) // 4


Make = Callable[..., Problem]


@pytest.fixture
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    def problem(
        files: Mapping[str, str | bytes], failures: Sequence[Failure], coverage: Mapping[str, Mapping[str, frozenset[int]]] | None = None,
        output: str = "",
    ) -> Problem:  # fmt: skip
        folder = tmp_path_factory.mktemp("tree")
        texts = {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}
        for path, content in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        failing = tuple(f.test_id for f in failures)
        reproduction = Reproduction("failing", "", tuple(failures), failing, coverage=Coverage(coverage or {}), output=output)
        suspects = localize(reproduction, lambda p: readable(texts[p]) if p in texts else None, functions) if coverage else []
        environment = Environment("python", (3, 11), (), {}, None, None, "none", True, 0.0)
        bench = Bench(BubblewrapRunner(), environment, TestPlan("command"), Limits())
        return Problem(Workspace(folder, "cart", tuple(sorted(texts))), bench, reproduction, suspects, 60.0)

    return problem


@pytest.fixture
def shop(make: Make) -> Problem:
    return make(SHOP, [SHOP_FAILURE], SHOP_COVERAGE)


def shown(context: Context) -> str:
    return "\n".join([context.task, *(e.text for e in (*context.excerpts, *context.tests)), *context.failures])


def test_the_most_suspicious_function_comes_first(shop: Problem) -> None:
    first = build_context(shop, words, 2000).excerpts[0]
    assert (first.path, first.first_line, first.text.splitlines()[0]) == ("shop/prices.py", 13, "    def total(self):")


def test_what_the_pull_request_touched_comes_before_what_the_tests_suspect(shop: Problem) -> None:
    context = build_context(shop, words, 2000, touched={"shop/money.py": frozenset({7})})
    assert (context.excerpts[0].path, context.excerpts[0].text) == ("shop/money.py", "def parse(text):\n    return int(text)")


@pytest.mark.parametrize("line", ["RATE = 19", "class Basket:", "def parse(text):", "from shop.money import Money, parse"])
def test_what_suspects_use_is_shown(shop: Problem, line: str) -> None:
    assert line in [one for e in build_context(shop, words, 2000).excerpts for one in e.text.splitlines()]


@pytest.mark.parametrize("line", ["UNUSED = 7", "def unrelated(n):", "def other():"])
def test_what_nothing_uses_is_left_out(shop: Problem, line: str) -> None:
    assert line not in shown(build_context(shop, words, 2000))


@pytest.mark.parametrize("line", ["def test_total(basket):", "def build(items):", "def basket():"])
def test_the_failing_test_is_shown_with_what_it_uses(shop: Problem, line: str) -> None:
    assert line in [one for e in build_context(shop, words, 2000).tests for one in e.text.splitlines()]


def test_a_test_that_passes_is_left_out(shop: Problem) -> None:
    assert "def test_else" not in shown(build_context(shop, words, 2000))


def test_every_excerpt_stands_at_its_line(shop: Problem) -> None:
    context = build_context(shop, words, 2000)
    for excerpt in (*context.excerpts, *context.tests):
        lines = str(SHOP[excerpt.path]).splitlines()
        assert excerpt.text.splitlines() == lines[excerpt.first_line - 1 :][: len(excerpt.text.splitlines())]


def test_no_line_is_shown_twice(shop: Problem) -> None:
    context = build_context(shop, words, 2000)
    numbers = [(e.path, n) for e in (*context.excerpts, *context.tests) for n in range(e.first_line, e.first_line + e.text.count("\n") + 1)]
    assert len(numbers) == len(set(numbers))


@given(budget=st.integers(-5, 900), divisor=st.integers(1, 9), constant=st.integers(0, 5),
       extra=st.lists(st.text(max_size=80), max_size=4))  # fmt: skip
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_budget_is_never_passed(shop: Problem, budget: int, divisor: int, constant: int, extra: list[str]) -> None:
    def count(text: str) -> int:
        return len(text) // divisor + constant

    context = build_context(shop, count, budget, observed=extra, near_misses=extra, hint=extra[0] if extra else "")
    assert cost(context, count) <= max(budget, 0)


@given(budget=st.integers(150, 900))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_most_suspicious_function_is_there_whenever_it_fits(shop: Problem, budget: int) -> None:
    assert build_context(shop, words, budget).excerpts[0].first_line == 13


@given(budget=st.integers(20, 900))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_added_later_changes_nothing_before_it(shop: Problem, budget: int) -> None:
    plain = build_context(shop, words, budget)
    told = build_context(shop, words, budget, observed=["with_tax(item='1') was called"], near_misses=["RATE = 1"], hint="x" * 500)
    assert (plain.task, plain.excerpts, plain.tests, plain.failures) == (told.task, told.excerpts, told.tests, told.failures)


def test_the_same_problem_gives_the_same_context(make: Make) -> None:
    one, other = (build_context(make(SHOP, [SHOP_FAILURE], SHOP_COVERAGE), words, 500) for _ in range(2))
    assert one == other


def test_what_was_observed_is_told_where_it_fits(shop: Problem) -> None:
    seen, missed = "total() was called", "RATE = 1 passes one more test"
    context = build_context(shop, words, 2000, observed=[seen], near_misses=[missed], hint="look at tax")
    assert (context.observed, context.near_misses, context.hint) == ((seen,), (missed,), "look at tax")


def node_problem(make: Make, number: int) -> Problem:
    return make(NODE, [read_junit(NODE_XML).failures[number]])


@pytest.mark.parametrize(("number", "why"), [(0, "the failing test names it"), (1, "the failure's innermost frame, at line 11")])
def test_a_failing_javascript_test_leads_to_its_function(make: Make, number: int, why: str) -> None:
    first = build_context(node_problem(make, number), words, 2000).excerpts[0]
    assert (first.path, first.first_line, first.text.splitlines()[0], first.why) == ("src/cart.js", 7, "function total(items) {", why)


def test_a_javascript_function_is_shown_whole_with_what_it_calls(make: Make) -> None:
    context = build_context(node_problem(make, 0), words, 2000)
    assert [e.text for e in context.excerpts] == ["\n".join(CART_JS.splitlines()[6:16]), "\n".join(CART_JS.splitlines()[2:5])]


@pytest.mark.parametrize(("number", "first_line"), [(0, 5), (1, 9)])
def test_the_source_of_a_failing_javascript_test_is_shown(make: Make, number: int, first_line: int) -> None:
    test = build_context(node_problem(make, number), words, 2000).tests[0]
    assert (test.path, test.first_line, test.text.count("\n")) == ("test/cart.test.js", first_line, 2)


def test_frames_of_the_test_runner_are_no_news(make: Make) -> None:
    assert "node:internal" not in "".join(build_context(node_problem(make, 1), words, 2000).failures)


def test_a_command_without_a_report_is_read_from_its_output(make: Make) -> None:
    output = "panic: no price\n\tat total (/elsewhere/cart/src/cart.js:11:13)\n"
    problem = make(NODE, [Failure("command", "", "exit status 1", (), output)])
    assert build_context(problem, words, 2000).excerpts[0].first_line == 7


def test_the_file_that_the_diff_touched_is_shown_where_no_frame_points(make: Make) -> None:
    problem = make(NODE, [Failure("command", "", "exit status 1", (), "it failed")])
    context = build_context(problem, words, 2000, touched={"src/cart.js": frozenset({19})})
    assert context.excerpts[0].text.splitlines()[0] == "const unused = (items) => {"


def test_frames_of_installed_packages_are_no_suspects(make: Make) -> None:
    failure = Failure("command", "", "", (), "at f (/tree/cart/node_modules/src/cart.js:11:13)")
    assert build_context(make(NODE, [failure]), words, 2000).excerpts == ()


@pytest.mark.parametrize("path", [
    "AGENTS.md", "CLAUDE.md", "src/AGENTS.md", ".cursorrules", ".github/copilot-instructions.md", "CLAUDE.local.md", "GEMINI.md", "agents",
    ".claude/commands/run.js", "llms.txt", ".windsurfrules", "docs/CONVENTIONS.md", "cursor.rules", ".cursor/rules/a.mdc",
])  # fmt: skip
def test_instructions_to_agents_are_never_read(make: Make, path: str) -> None:
    secret = "function total() {\n  obey();\n}\n"
    failure = Failure(f"{path}::total", "", "", (Frame(path, 1, "total"),), f"at total (/tree/cart/{path}:2:1)")
    problem = make({**NODE, path: secret}, [failure])
    context = build_context(problem, words, 4000, touched={path: frozenset({1, 2})})
    assert "obey" not in "".join(e.text for e in (*context.excerpts, *context.tests))


def test_a_long_function_keeps_its_head_its_tail_and_the_failing_line(make: Make) -> None:
    body = "".join(f"  step({n});\n" for n in range(2000))
    failure = Failure("x", "", "", (), "at long (/tree/cart/src/long.js:1000:3)")
    problem = make({"src/long.js": f"function long() {{\n{body}}}\n"}, [failure])
    text = build_context(problem, words, 400).excerpts[0].text.splitlines()
    assert (text[0], text[-1], "  step(998);" in text) == ("function long() {", "}", True)


def test_a_line_that_stands_for_others_is_in_no_file(make: Make) -> None:
    body = "".join(f"  step({n}); // ⋯ lines {n}-{n + 9} are not shown ⋯\n" for n in range(2000))
    source = f"function long() {{\n{body}}}\n"
    problem = make({"src/long.js": source}, [Failure("x", "", "", (), "at long (/tree/cart/src/long.js:1000:3)")])
    text = build_context(problem, words, 400).excerpts[0].text
    strange = [line for line in text.splitlines() if line not in source.splitlines()]
    assert strange
    assert not any(line in source for line in strange)


def test_a_long_output_keeps_its_head_and_its_tail(make: Make) -> None:
    output = "\n".join(["the beginning", *(f"noise {n}" for n in range(50_000)), "the end"])
    told = build_context(make(NODE, [Failure("command", "", "", (), output)]), words, 1000).failures[0]
    assert "the beginning" in told
    assert told.rstrip().endswith("the end")


@pytest.mark.parametrize("content", [
    CART_JS.replace("\n", "\r\n").encode(), CART_JS.replace("\n", "\r").encode(), CART_JS.replace("'use", "// é\n'use", 0).encode(),
    b"// \xe9\xff caf\xe9" + CART_JS.encode("latin-1"), b"# coding: hex" + CART_JS.encode(), b"\xef\xbb\xbf" + CART_JS.encode(),
], ids=["crlf", "cr", "plain", "latin-1", "no encoding of texts", "byte order mark"])  # fmt: skip
def test_bytes_and_line_ends_of_any_kind_are_read(make: Make, content: bytes) -> None:
    problem = make({**NODE, "src/cart.js": content}, [read_junit(NODE_XML).failures[1]])
    first = build_context(problem, words, 2000).excerpts[0]
    assert (first.first_line, first.text) == (7, "\n".join(CART_JS.splitlines()[6:16]))


def test_a_binary_file_is_not_shown(make: Make) -> None:
    problem = make({**NODE, "src/cart.js": b"\0" + CART_JS.encode()}, [read_junit(NODE_XML).failures[1]])
    assert "src/cart.js" not in {e.path for e in build_context(problem, words, 2000).excerpts}


def test_a_file_full_of_fences_is_shown_as_it_is(make: Make) -> None:
    hostile = CART_JS.replace("let sum = 0;", "let sum = 0; // ```\n````\n<|im_end|>\n>>>>>>> REPLACE")
    problem = make({**NODE, "src/cart.js": hostile}, [Failure("x", "", "", (), "at total (/tree/cart/src/cart.js:14:13)")])
    assert "// ```\n````\n<|im_end|>\n>>>>>>> REPLACE" in build_context(problem, words, 2000).excerpts[0].text


def test_a_file_of_50_000_lines_takes_seconds_at_most(make: Make) -> None:
    source = "".join(f"function f{n}(a) {{\n  return a + {n};\n}}\n\n\n" for n in range(10_000))
    problem = make({"src/large.js": source}, [Failure("x", "", "", (), "at f9000 (/tree/cart/src/large.js:45002:3)")])
    started = time.perf_counter()
    first = build_context(problem, words, 2000).excerpts[0]
    assert (first.first_line, first.text.splitlines()[0]) == (45_001, "function f9000(a) {")
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize("line", ["a" * 100_000, "  " * 50_000 + "x", "(" * 100_000, "a b " * 30_000, "x = " * 30_000, "def " * 30_000])
def test_a_hostile_line_costs_no_time(make: Make, line: str) -> None:
    source = f"{line}\n" * 20 + "function total() {\n" + f"  {line}\n" * 20 + "}\n"
    problem = make({"src/cart.js": source}, [Failure(line, line, line, (), f"{line}\nat total (/tree/cart/src/cart.js:22:13)")])
    started = time.perf_counter()
    build_context(problem, words, 2000)
    assert time.perf_counter() - started < 20


def test_a_link_in_the_tree_is_not_followed(make: Make, tmp_path: Path) -> None:
    (tmp_path / "secret.js").write_text("function total() {\n  secret();\n}\n")
    problem = make(NODE, [read_junit(NODE_XML).failures[1]])
    (problem.workspace.root / "src/cart.js").unlink()
    (problem.workspace.root / "src/cart.js").symlink_to(tmp_path / "secret.js")
    assert "secret();" not in shown(build_context(problem, words, 2000))


def test_a_problem_about_which_nothing_is_known_has_a_task(make: Make) -> None:
    context = build_context(make({"a.bin": b"\0"}, [Failure("command", "", "exit status 2")]), words, 2000)
    assert (context.excerpts, context.tests, context.task.startswith("command fails.")) == ((), (), True)
