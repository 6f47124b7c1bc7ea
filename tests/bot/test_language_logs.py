"""Logs of other languages' test tools, as the tools printed them (see tests/fixtures/logs/NOTICE): every failing test, its message, its
place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.logs import clean_lines, read_log
from bot.policy import RepositoryPolicy
from bot.runs import FailedRun, Job
from bot.sessions import read_sessions
from bot.triage import triage

LOGS = Path(__file__).parents[1] / "fixtures" / "logs"
Told = tuple[str, str, str, tuple[str, int] | None]
"""Test id, exception, first line of the message, innermost frame."""

MEAN: list[Told] = [
    ("example.com/shop/stats::TestMean/two_values", "", "Mean([10 30]) = 40, <nil>; want 20", ("stats/mean_test.go", 17)),
    ("example.com/shop/stats::TestMean/three", "", "Mean([10 20 60]) = 45, <nil>; want 30", ("stats/mean_test.go", 17)),
]
CARGO: list[Told] = [
    ("src/main.rs::args::tests::tells_what_is_wrong", "Error", '"no price in \\"x\\""', None),
    ("src/args.rs::args::tests::takes_nothing_for_zero", "panic",
     "called `Result::unwrap()` on an `Err` value: ParseIntError { kind: Empty }", ("src/args.rs", 2)),
    ("src/lib.rs::tests::reduces_by_a_quarter", "panic", "attempt to subtract with overflow", ("src/lib.rs", 9)),
    ("tests/whole.rs::half", "panic", "attempt to subtract with overflow", ("src/lib.rs", 9)),
    ("crates/core/src/lib.rs::reduced (example 1)", "panic", "assertion `left == right` failed", ("crates/core/src/lib.rs", 5)),
]  # fmt: skip
MAVEN: list[Told] = [
    ("shop.money.MoneyTest::hundredth", "java.lang.AssertionError", "expected:<200> but was:<20>", ("shop/money/MoneyTest.java", 10)),
    ("shop.core.CartTest::firstOfNothing", "java.lang.ArrayIndexOutOfBoundsException", "Index 0 out of bounds for length 0",
     ("shop/core/CartTest.java", 17)),
    ("shop.core.CartTest::wrapped", "java.lang.IllegalStateException", "no first price", ("shop/core/CartTest.java", 23)),
    ("shop.core.CartTest::addsPrices", "java.lang.AssertionError", "sum of the prices expected:<6> but was:<5>",
     ("shop/core/CartTest.java", 12)),
]  # fmt: skip
WHOLE_STACKS: list[Told] = [
    MAVEN[0],
    ("shop.core.CartTest::firstOfNothing", "java.lang.ArrayIndexOutOfBoundsException", "Index 0 out of bounds for length 0",
     ("shop/core/Cart.java", 19)),
    ("shop.core.CartTest::wrapped", "java.lang.IllegalStateException", "no first price", ("shop/core/Cart.java", 19)),
    MAVEN[3],
]  # fmt: skip
GRADLE: list[Told] = [
    ("shop.core.CartTest::firstOfNothing", "java.lang.ArrayIndexOutOfBoundsException", "", ("shop/core/CartTest.java", 17)),
    ("shop.core.CartTest::wrapped", "java.lang.IllegalStateException", "", ("shop/core/CartTest.java", 25)),
    ("shop.core.CartTest::addsPrices", "java.lang.AssertionError", "", ("shop/core/CartTest.java", 12)),
]
MONEY: Told = ("shop.money.MoneyTest::hundredth", "java.lang.AssertionError", "", ("shop/money/MoneyTest.java", 10))
NODE: list[Told] = [
    ("test/broken.test.js::[load]", "Error", "Cannot find module '/home/runner/work/shop/shop/src/gone.js' imported from "
     "/home/runner/work/shop/shop/test/broken.test.js", ("test/broken.test.js", 1)),
    ("test/cart.test.js::total > adds every line", "AssertionError", "Expected values to be strictly equal:", ("test/cart.test.js", 7)),
    ("test/price.test.js::prices > are numbers", "TypeError", "Cannot read properties of undefined (reading 'value')",
     ("test/price.test.js", 7)),
    ("test/price.test.js::prices > compare", "AssertionError", "Expected values to be strictly deep-equal:", ("test/price.test.js", 10)),
]  # fmt: skip
VITEST: list[Told] = [
    ("test/broken.test.ts::[load]", "Error",
     "Cannot find module '../src/gone' imported from '/home/runner/work/shop/shop/test/broken.test.ts'", ("test/broken.test.ts", 1)),
    ("test/cart.test.ts::total > adds every line", "AssertionError", "expected 125 to be 625 // Object.is equality",
     ("test/cart.test.ts", 6)),
    ("test/cart.test.ts::total > of a wrong cart > throws", "TypeError", "Cannot read properties of null (reading 'length')",
     ("src/cart.js", 6)),
    ("test/cart.test.ts::finds the cheapest", "AssertionError", "expected { price: 1 } to deeply equal { price: 2, name: 'x' }",
     ("test/cart.test.ts", 19)),
]  # fmt: skip
JEST: list[Told] = [
    ("test/cart.test.js::total > adds every line", "AssertionError", "expect(received).toBe(expected) // Object.is equality",
     ("test/cart.test.js", 5)),
    ("test/cart.test.js::total > of a wrong cart > throws", "TypeError", "Cannot read properties of null (reading 'length')",
     ("src/cart.js", 6)),
    ("test/cart.test.js::finds the cheapest", "AssertionError", "expect(received).toEqual(expected) // deep equality",
     ("test/cart.test.js", 18)),
    ("test/broken.test.js::[load]", "", "Cannot find module '../src/gone' from 'test/broken.test.js'", ("test/broken.test.js", 1)),
]  # fmt: skip
EXPECTED: dict[str, tuple[str, list[Told]]] = {
    "go_test": ("go", [
        ("example.com/shop/cart::TestFirstOfNothing", "panic", "runtime error: index out of range [0] with length 0", ("cart/cart.go", 5)),
        ("example.com/shop/money::ExampleCents", "", "got:", None), *MEAN]),
    "go_race": ("go", [
        ("example.com/shop/store::TestCount/many_at_a_time", "data race", "race detected during execution of test", ("store/store.go", 13)),
        ("example.com/shop/store::TestOrder", "", 'Order put "b" first, want "a"', ("store/store_test.go", 20))]),
    "go_build": ("go", [
        *MEAN,
        ("example.com/shop/cart::[build]", "build failed",
         'cannot use "none" (untyped string constant) as int value in return statement', ("cart/cart.go", 4)),
        ("example.com/shop/vetted::[build]", "build failed", '(*testing.common).Errorf format %d has arg "x" of wrong type string',
         ("vetted/vetted_test.go", 5))]),
    "cargo_test": ("cargo", CARGO),
    "cargo_color": ("cargo", CARGO),
    "cargo_build": ("cargo", [("[build]", "build failed", "cannot divide `u64` by `&str`", ("crates/core/src/lib.rs", 9))]),
    "maven_test": ("maven", MAVEN),
    "maven_color": ("maven", WHOLE_STACKS),
    "maven_build": ("maven", [("[build]", "build failed", "incompatible types: java.lang.String cannot be converted to int",
                               ("money/src/main/java/shop/money/Money.java", 5))]),
    "gradle_test": ("gradle", [*GRADLE, MONEY]),
    "gradle_full": ("gradle", [*WHOLE_STACKS[1:3], MAVEN[3], MONEY]),
    "gradle_build": ("gradle", [*GRADLE, ("[build]", "build failed", "incompatible types: String cannot be converted to int",
                                          ("money/src/main/java/shop/money/Money.java", 5))]),
    "node_tap": ("node", NODE),
    "node_spec": ("node", NODE),
    "node_color": ("node", NODE),
    "vitest": ("vitest", VITEST),
    "vitest_color": ("vitest", VITEST),
    "vitest_github": ("vitest", VITEST),
    "jest": ("jest", JEST),
    "jest_color": ("jest", JEST),
    "jest_ci": ("jest", JEST),
}  # fmt: skip


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXPECTED)
def test_every_failing_test_is_read_with_its_message_and_place(name: str) -> None:
    framework, expected = EXPECTED[name]
    reading = read_log(log(name))
    assert [s.framework for step in reading.steps for s in step.sessions] == [framework]
    assert (reading.started, reading.complete) == (True, True)
    found = [
        (f.test_id, f.exception, (f.message.splitlines() or [""])[0], (f.frames[-1].path, f.frames[-1].line) if f.frames else None)
        for f in reading.failures
    ]
    assert found == expected


@pytest.mark.parametrize("name", EXPECTED)
def test_the_triage_calls_it_a_failing_test_worth_repairing(name: str) -> None:
    job = Job(1, "test", "failure", log=log(name))
    run = FailedRun("acme/shop", 1, 1, 1, 1, "CI", "pull_request", "a" * 40, "change", "failure", jobs=(job,))
    found = triage(run, RepositoryPolicy())
    assert found.kind in ("test", "build")
    assert found.repairable
    assert len(found.failures) == len(EXPECTED[name][1])


@pytest.mark.parametrize("name", ["pytest", "pytest_xdist", "unittest", "tox", "mypy", "ruff_check", "nox", "black"])
def test_logs_of_python_have_no_session_of_another_language(name: str) -> None:
    frameworks = {s.framework for s in read_sessions(clean_lines(log(name)))}
    assert frameworks <= {"pytest", "unittest"}


@pytest.mark.parametrize(
    ("name", "word"), [("go_race", "FAIL\texample"), ("cargo_test", "test result:"), ("jest", "Time: "), ("vitest", "   Duration")]
)
def test_a_log_that_breaks_off_is_not_complete(name: str, word: str) -> None:
    text = log(name)
    reading = read_log(text[: text.rindex(word)])
    assert reading.failures
    assert not reading.complete


WORDS = st.sampled_from([
    "--- FAIL: TestX (0.00s)", "=== RUN   TestX", "FAIL\tp\t0.1s", "ok  \tp\t0.1s", "# p", "p.go:1:2: no", "panic: x", "running 1 test",
    "     Running unittests src/lib.rs (target/debug/deps/a-0123456789abcdef)", "test a ... FAILED", "failures:", "---- a stdout ----",
    "thread 'a' panicked at src/lib.rs:1:2:", "error: could not compile `a`", "[INFO]  T E S T S", "[INFO] Running a.B",
    "[ERROR] x(a.B)  Time elapsed: 0 s  <<< FAILURE!", "java.lang.Error: x", "\tat a.B.x(B.java:1)", "TAP version 13", "not ok 1 - x",
    "  location: '/a.js:1:2'", "  ...", "# duration_ms 1", "✖ x (1ms)", "✖ failing tests:", "test at a.js:1:2", " RUN  v3.2.4 /x",
    " FAIL  a.ts > b", "⎯⎯⎯⎯⎯⎯⎯[1/1]⎯", "FAIL a.js", "  ● a › b", "Test Suites: 1 failed", "Ran all test suites.", "",
    "    at x (a.js:1:2)",
])  # fmt: skip


@given(st.lists(WORDS | st.text(max_size=30), max_size=30))
def test_any_lines_are_read_without_an_error(lines: list[str]) -> None:
    for session in read_sessions(lines):
        assert 0 <= session.start <= session.end <= len(lines)
