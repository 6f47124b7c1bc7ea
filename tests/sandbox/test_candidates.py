"""CandidateServer: what the warm tiers say about an edit, and that no candidate can harm the next one."""

from __future__ import annotations

import ast
import contextlib
import itertools
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sandbox import CandidateServerError
from sandbox.bubblewrap import BubblewrapRunner
from sandbox.candidates import CandidateServer, Judgement, Probe, Trial, Unit
from sandbox.environment import Environment
from sandbox.frameworks import TestPlan
from sandbox.testing import Bench, run_tests
from sandbox.workspace import Workspace
from tests.sandbox.conftest import Repository

Edits = tuple[tuple[int, int, str], ...]


def unit(path: str, text: str, qualname: str) -> Unit:
    """The unit of this dotted name in an ASCII file, decorators included."""
    if qualname == "<module>":
        return Unit(path, qualname, 0, len(text))
    body: Sequence[ast.stmt] = ast.parse(text).body
    for name in qualname.split("."):
        node = next(n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and n.name == name)
        body = node.body
    starts = [0, *itertools.accumulate(len(line) for line in text.splitlines(True))]
    first = min([(node.lineno, node.col_offset), *((d.lineno, d.col_offset - 1) for d in node.decorator_list)])
    return Unit(path, qualname, starts[first[0] - 1] + first[1], starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0))


def quick(bench: Bench) -> Bench:
    """Without Hypothesis' plugin, which imports all of Hypothesis in every run."""
    return replace(bench, variables=(("PYTEST_ADDOPTS", "-p no:hypothesispytest"),))


@dataclass
class Served:
    """A workspace under a running server."""

    server: CandidateServer
    workspace: Workspace
    probe: Probe

    def edits(self, target: Unit, old: str, new: str) -> Edits:
        """The first ``old`` of the unit replaced."""
        text = self.workspace.read(target.path).decode()
        at = text.index(old, target.start, target.end)
        return ((at, at + len(old), new),)

    def trials(self, path: str, qualname: str, pairs: Sequence[tuple[str, str]]) -> list[Trial]:
        target = self.unit(path, qualname)
        return [Trial(n, target, self.edits(target, old, new)) for n, (old, new) in enumerate(pairs)]

    def unit(self, path: str, qualname: str) -> Unit:
        return unit(path, self.workspace.read(path).decode(), qualname)

    def judge(self, path: str, qualname: str, *pairs: tuple[str, str]) -> list[Judgement]:
        """One batch, asked again while the server's time for a batch was over."""
        trials = self.trials(path, qualname, pairs)
        done: dict[int, Judgement] = {}
        for _ in range(10):
            done |= {j.id: j for j in self.server.judge([t for t in trials if t.id not in done]) if j.status != "unjudged"}
            if len(done) == len(trials):
                break
        return [done[t.id] for t in trials]

    def statuses(self, path: str, qualname: str, *pairs: tuple[str, str]) -> list[str]:
        return [j.status for j in self.judge(path, qualname, *pairs)]


class _Serve:
    """Opens servers over repositories that are made from texts."""

    def __init__(self, folder: Path, environment: Environment, runner: BubblewrapRunner) -> None:
        self._folder, self._environment, self._runner, self._count = folder, environment, runner, 0

    def workspace(self, files: Mapping[str, str]) -> tuple[Repository, Workspace]:
        self._count += 1
        project, scratch = self._folder / f"project-{self._count}", self._folder / f"scratch-{self._count}"
        project.mkdir()
        scratch.mkdir()
        repository = Repository(project, scratch, self._environment, self._runner).files(files).commit()
        return repository, repository.workspace()

    @contextlib.contextmanager
    def __call__(
        self, files: Mapping[str, str], failing: Sequence[str], passing: Sequence[str] = (), only_fork: bool = False
    ) -> Iterator[Served]:
        repository, workspace = self.workspace(files)
        bench = quick(repository.bench(workspace))
        with CandidateServer(bench, workspace, failing, passing, wall_seconds=120, only_fork=only_fork) as server:
            yield Served(server, workspace, server.start([]))


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, environment: Environment, runner: BubblewrapRunner) -> _Serve:
    return _Serve(tmp_path_factory.mktemp("served"), environment, runner)


SHOP = """\
import itertools
import os
import sys
import time

KNOWN = {"apple": 3, "fig": 4}


def total(names, fee):
    result = 0
    for name in names:
        result = result + KNOWN[name]
    return result - fee


def number(text):
    return int(text)
"""
TESTS = """\
from shop import KNOWN, number, total


def test_total():
    assert total(["apple", "fig"], 2) == 9


def test_total_of_nothing():
    assert total([], 0) == 0


def test_known():
    assert KNOWN["fig"] == 4


def test_number():
    assert number("4") == 4
"""
SHOP_FILES = {"shop.py": SHOP, "test_shop.py": TESTS}
TARGET = ["test_shop.py::test_total"]
OTHERS = ["test_shop.py::test_total_of_nothing", "test_shop.py::test_known", "test_shop.py::test_number"]
RIGHT = ("- fee", "+ fee")
CANDIDATES = {
    "right": RIGHT,
    "wrong": ("- fee", "* fee"),
    "raises": ("- fee", "- nothing"),
    "breaks": ("return result - fee", "return 9"),
    "syntax": ("- fee", "- )"),
    "loops": ("return result - fee", "while True: pass"),
    "loops and catches": (
        "return result - fee",
        "while True:\n        try:\n            result += 1\n        except BaseException:\n            pass",
    ),
    "leaves": ("return result - fee", "sys.exit(0)"),
    "eats memory": ("return result - fee", "return [0] * 10**11"),
    "recurses": ("return result - fee", "return total(names, fee)"),
}
EXPECTED = {
    "right": "plausible", "wrong": "fails", "raises": "fails", "breaks": "breaks", "syntax": "syntax", "loops": "fuel",
    "loops and catches": "fuel", "leaves": "fails", "eats memory": "fails", "recurses": "fails"}  # fmt: skip
HARMFUL = {
    "sleeps": ("return result - fee", "time.sleep(1000)"),
    "never leaves C": ("return result - fee", "return sum(itertools.repeat(0))"),
    "exits at once": ("return result - fee", "os._exit(0)"),
    "kills itself": ("return result - fee", "os.kill(os.getpid(), 9)"),
}
HARM = {"sleeps": "time", "never leaves C": "time", "exits at once": "crash", "kills itself": "crash"}


@pytest.fixture(scope="module")
def shop(serve: _Serve) -> Iterator[Served]:
    with serve(SHOP_FILES, TARGET, OTHERS) as served:
        yield served


@pytest.fixture(scope="module")
def in_process(shop: Served) -> dict[str, Judgement]:
    """All harmless candidates in one batch."""
    return dict(zip(CANDIDATES, shop.judge("shop.py", "total", *CANDIDATES.values()), strict=True))


@pytest.fixture(scope="module")
def forked(serve: _Serve) -> dict[str, Judgement]:
    with serve(SHOP_FILES, TARGET, OTHERS, only_fork=True) as served:
        return dict(zip(CANDIDATES, served.judge("shop.py", "total", *CANDIDATES.values()), strict=True))


# --- what is said about one candidate -----------------------------------------------------------------------------------------------------


def test_steady_quick_tests_are_served_in_process(shop: Served) -> None:
    assert shop.probe.tier == "in_process", shop.probe.reason


def test_the_probe_sees_failing_and_passing_tests_as_a_cold_run_does(shop: Served) -> None:
    assert (shop.probe.failing, shop.probe.passing) == (tuple(TARGET), tuple(OTHERS))


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidate_is_judged_in_process(in_process: Mapping[str, Judgement], name: str) -> None:
    assert in_process[name].status == EXPECTED[name]


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidate_is_judged_the_same_in_a_fork(forked: Mapping[str, Judgement], name: str) -> None:
    assert forked[name].status == EXPECTED[name]


@pytest.mark.parametrize("name", ["right", "wrong", "raises", "breaks", "syntax"])
def test_a_cold_run_agrees_with_the_warm_tiers(shop: Served, serve: _Serve, tmp_path: Path, name: str) -> None:
    repository, workspace = serve.workspace(SHOP_FILES)
    old, new = CANDIDATES[name]
    patched = workspace.with_files({"shop.py": SHOP.replace(old, new).encode()}, tmp_path)
    report = run_tests(quick(repository.bench(workspace)), patched).report
    assert (bool(report.outcomes) and not report.failed) == (EXPECTED[name] == "plausible")


def test_the_killer_of_a_breaking_candidate_is_the_test_that_broke(in_process: Mapping[str, Judgement]) -> None:
    assert in_process["breaks"].killer == "test_shop.py::test_total_of_nothing"


def test_what_a_candidate_gained_is_counted(in_process: Mapping[str, Judgement]) -> None:
    assert (in_process["right"].gained, in_process["breaks"].gained, in_process["wrong"].gained) == (1, 1, 0)


@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_candidate_is_refused(shop: Served, name: str) -> None:
    assert shop.statuses("shop.py", "total", HARMFUL[name]) == [HARM[name]]


@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_candidate_does_not_take_its_neighbours_with_it(shop: Served, name: str) -> None:
    wrong = CANDIDATES["wrong"]
    assert shop.statuses("shop.py", "total", wrong, HARMFUL[name], RIGHT, wrong) == ["fails", HARM[name], "plausible", "fails"]


def test_an_endless_loop_costs_milliseconds(shop: Served) -> None:
    started = time.monotonic()
    shop.statuses("shop.py", "total", *[("return result - fee", f"while {n}: pass") for n in range(1, 40)])
    assert time.monotonic() - started < 40 * 0.15


def test_a_memory_hog_leaves_a_server_that_still_judges(shop: Served) -> None:
    hog = ("return result - fee", "kept = [b'x']\n    while True: kept.append(kept[-1] * 2)")
    assert shop.statuses("shop.py", "total", hog, RIGHT)[-1] == "plausible"


def test_a_server_that_a_candidate_killed_is_replaced(serve: _Serve) -> None:
    with serve(SHOP_FILES, TARGET, OTHERS) as served:
        killed = served.statuses("shop.py", "total", ("return result - fee", "os.kill(os.getppid(), 9)"))
        assert (killed, served.statuses("shop.py", "total", RIGHT)) == (["crash"], ["plausible"])


@pytest.mark.parametrize("damage", [
    "KNOWN.clear()", "KNOWN['fig'] = 0", "globals()['number'] = len", "os.environ['LEDEX'] = 'x'; KNOWN['apple'] += 1",
    "import builtins; builtins.int = str"])  # fmt: skip
def test_damage_to_shared_state_does_not_fail_a_later_right_candidate(shop: Served, damage: str) -> None:
    statuses = shop.statuses("shop.py", "total", ("return result - fee", f"{damage}; return -1"), RIGHT)
    assert statuses[-1] == "plausible"


def test_damage_to_shared_state_does_not_make_a_later_wrong_candidate_plausible(shop: Served) -> None:
    damage = ("return result - fee", "KNOWN['fig'] = 8; return -1")  # then 3 + 8 - 2 is what the test wants
    assert "plausible" not in shop.statuses("shop.py", "total", damage, ("- fee", "-fee"), damage, ("- fee", "-  fee"))


def test_more_fuel_is_given_on_demand(shop: Served) -> None:
    slow = ("return result - fee", "for _ in range(300_000): pass\n    return result + fee")
    assert shop.statuses("shop.py", "total", slow) == ["fuel"]
    assert [j.status for j in shop.server.judge_long(shop.trials("shop.py", "total", [slow]))] == ["plausible"]


def test_what_the_server_cannot_judge_in_time_comes_back_unjudged(shop: Served) -> None:
    sleeping = [("return result - fee", f"time.sleep({n})") for n in range(100, 160)]
    statuses = {j.status for j in shop.server.judge(shop.trials("shop.py", "total", sleeping))}
    assert statuses == {"time", "unjudged"}


def test_tests_that_do_not_fail_cannot_be_served(serve: _Serve) -> None:
    with pytest.raises(CandidateServerError, match="do not fail"), serve(SHOP_FILES, ["test_shop.py::test_known"]):
        pass


def test_a_shell_command_cannot_be_served(serve: _Serve) -> None:
    repository, workspace = serve.workspace(SHOP_FILES)
    bench = repository.bench(workspace)
    other = replace(bench, plan=TestPlan("command", shell="make test"))
    with pytest.raises(CandidateServerError, match="pytest and unittest only"):
        CandidateServer(other, workspace, ["command"], [], wall_seconds=10)


def test_tests_that_cannot_be_collected_cannot_be_served(serve: _Serve) -> None:
    with pytest.raises(CandidateServerError), serve({"test_x.py": "import no_such_module\n"}, ["test_x.py::test_x"]):
        pass


# --- what can be swapped ------------------------------------------------------------------------------------------------------------------

SWAPS: dict[str, tuple[str, str, str, tuple[str, str], tuple[str, str]]] = {
    # source, test expression, unit, wrong edit, right edit
    "decorated function": (
        """\
        import functools

        def twice(function):
            @functools.wraps(function)
            def inner(*args):
                return 2 * function(*args)
            return inner

        @twice
        @twice
        def add(a, b):
            return a - b
        """, "m.add(1, 2) == 12", "add", ("a - b", "a * b"), ("a - b", "a + b")),
    "method": (
        """\
        class Box:
            size = 3

            def grown(self, by):
                return self.size - by
        """, "m.Box().grown(2) == 5", "Box.grown", ("- by", "* by"), ("- by", "+ by")),
    "static and class methods": (
        """\
        class Box:
            size = 3

            @classmethod
            def grown(cls, by):
                return cls.size - cls.number(by)

            @staticmethod
            def number(text):
                return int(text)
        """, "m.Box.grown('2') == 5", "Box.grown", ("- cls.number", "* cls.number"), ("- cls.number", "+ cls.number")),
    "property": (
        """\
        class Box:
            def __init__(self):
                self._size = 3

            @property
            def size(self):
                return -self._size
        """, "m.Box().size == 3", "Box.size", ("-self._size", "0"), ("-self._size", "self._size")),
    "inherited method through super": (
        """\
        class Base:
            def __init__(self, size):
                self.size = size

        class Box(Base):
            def __init__(self, size):
                super().__init__(size - 1)
        """, "m.Box(4).size == 5", "Box.__init__", ("size - 1", "size - 2"), ("size - 1", "size + 1")),
    "super that only the edit calls": (
        """\
        class Base:
            def size(self):
                return 5

        class Box(Base):
            def size(self):
                return 4
        """, "m.Box().size() == 5", "Box.size", ("return 4", "return 3"), ("return 4", "return super().size()")),
    "closure inside a factory": (
        """\
        def adder(by):
            def add(number):
                return number - by
            return add
        """, "m.adder(2)(3) == 5", "adder", ("number - by", "number * by"), ("number - by", "number + by")),
    "function with free variables": (
        """\
        def counted(function):
            calls = [0]

            def inner(n):
                calls[0] += 1
                return function(n) + 0 * calls[0]
            return inner

        @counted
        def half(n):
            return n // 3
        """, "m.half(8) == 4", "half", ("// 3", "// 5"), ("// 3", "// 2")),
    "default argument": (
        """\
        def power(base, exponent=3, *, sign=1):
            return sign * base ** exponent
        """, "m.power(3) == 9", "power", ("exponent=3", "exponent=4"), ("exponent=3", "exponent=2")),
    "keyword-only default": (
        """\
        def power(base, *, exponent=3):
            return base ** exponent
        """, "m.power(3) == 9", "power", ("exponent=3", "exponent=4"), ("exponent=3", "exponent=2")),
    "generator": (
        """\
        def evens(limit):
            for n in range(limit):
                if n % 2:
                    yield n
        """, "list(m.evens(5)) == [0, 2, 4]", "evens", ("n % 2", "n % 3"), ("n % 2", "not n % 2")),
    "coroutine": (
        """\
        async def answer(n):
            return n - 1
        """, "m.run(m.answer(1)) == 2", "answer", ("- 1", "* 1"), ("- 1", "+ 1")),
    "function with a docstring": (
        '''\
        def answer(n):
            """Return n and one.

            >>> answer(1)
            2
            """
            return n - 1
        ''', "m.answer(1) == 2 and m.answer.__doc__.startswith('Return')", "answer", ("n - 1", "n"), ("n - 1", "n + 1")),
    "function that others hold by another name": (
        """\
        def add(a, b):
            return a - b

        TABLE = {"+": add}
        """, "m.TABLE['+'](1, 2) == 3", "add", ("a - b", "a * b"), ("a - b", "a + b")),
    "function in a tab-indented conditional": (
        """\
        if True:
        \tdef add(a, b):
        \t\treturn a - b
        """, "m.add(1, 2) == 3", "add", ("a - b", "a * b"), ("a - b", "a + b")),
}  # fmt: skip
SWAP_TEST = """\
import asyncio

import m

m.run = lambda coroutine: asyncio.new_event_loop().run_until_complete(coroutine)


def test_it():
    assert {}
"""


@pytest.mark.parametrize("name", SWAPS)
def test_a_live_function_of_every_kind_is_swapped(serve: _Serve, name: str) -> None:
    source, claim, qualname, wrong, right = SWAPS[name]
    text = textwrap.dedent(source)
    if name == "function in a tab-indented conditional":
        at = text.index("def add")
        target = Unit("m.py", "add", at, len(text) - 1)
    else:
        target = unit("m.py", text, qualname)
    with serve({"m.py": text, "test_m.py": SWAP_TEST.format(claim)}, ["test_m.py::test_it"]) as served:
        trials = [Trial(n, target, served.edits(target, *pair)) for n, pair in enumerate((wrong, right))]
        assert [j.status for j in served.server.judge(trials)] == ["fails", "plausible"]


CONSTANTS = {
    "m.py": """\
        LIMIT = 8
        SQUARES = [n * n for n in range(LIMIT)]


        def last():
            return SQUARES[-1]
        """,
    "test_m.py": "from m import last\n\n\ndef test_last():\n    assert last() == 81\n",
}


@pytest.fixture(scope="module")
def constants(serve: _Serve) -> Iterator[Served]:
    with serve(CONSTANTS, ["test_m.py::test_last"]) as served:
        yield served


def test_an_edit_of_the_module_body_is_judged_by_importing_it_anew(constants: Served) -> None:
    found = constants.judge("m.py", "<module>", ("= 8", "= 9"), ("= 8", "= 10"))
    assert [(j.status, j.tier) for j in found] == [("fails", "import"), ("plausible", "import")]


def test_a_module_that_no_longer_compiles_is_a_syntax_error(constants: Served) -> None:
    assert constants.statuses("m.py", "<module>", ("= 8", "= ")) == ["syntax"]


@pytest.mark.parametrize("edit", ["= 1 // 0", "= 8; raise SystemExit(0)", "= 8; import os; os._exit(0)", "= 8\nwhile True: pass"])
def test_a_module_that_cannot_be_imported_is_not_plausible(constants: Served, edit: str) -> None:
    assert constants.statuses("m.py", "<module>", ("= 8", edit))[0] in ("breaks", "crash", "time", "fails")


def test_an_import_that_hangs_costs_some_imports_not_a_fixed_wait(constants: Served) -> None:
    constants.statuses("m.py", "<module>", ("= 8", "= 9"))  # the server starts and times an import of the unchanged code
    started = time.monotonic()
    constants.statuses("m.py", "<module>", ("= 8", "= 9"))
    usual = time.monotonic() - started
    started = time.monotonic()
    hanging = constants.statuses("m.py", "<module>", ("= 8", "= 8\nwhile True: pass"))
    assert hanging == ["time"]
    assert time.monotonic() - started < 2.5 + 8 * usual


def test_a_new_decorator_is_judged_by_importing_it_anew(serve: _Serve) -> None:
    files = {
        "m.py": "class A:\n    def one():\n        return 1\n",
        "test_m.py": "import m\n\n\ndef test_one():\n    assert m.A().one() == 1\n",
    }
    with serve(files, ["test_m.py::test_one"]) as served:
        found = served.judge("m.py", "A.one", ("def one", "@staticmethod\n    def one"))
        assert [(j.status, j.tier) for j in found] == [("plausible", "import")]


# --- which tier is safe -------------------------------------------------------------------------------------------------------------------

STATEFUL = {
    "a module's list": "import m\n\n\ndef test_it():\n    m.SEEN.append(1)\n    assert m.add(1, 2) == 3\n",
    "the environment": (
        "import os\n\nimport m\n\n\ndef test_it():\n    os.environ['N'] = os.getenv('N', '') + 'x'\n    assert m.add(1, 2) == 3\n"
    ),
    "the tree": "import tempfile\n\nimport m\n\n\ndef test_it():\n    tempfile.mkstemp(dir='.')\n    assert m.add(1, 2) == 3\n",
    "an attribute of a class": "import m\n\n\ndef test_it():\n    m.Box.count += 1\n    assert m.add(1, 2) == 3\n",
}
STATEFUL_MODULE = "SEEN = []\n\n\nclass Box:\n    count = 0\n\n\ndef add(a, b):\n    return a - b\n"


@pytest.mark.parametrize("name", STATEFUL)
def test_a_test_that_changes_state_is_served_by_forks(serve: _Serve, name: str) -> None:
    with serve({"m.py": STATEFUL_MODULE, "test_m.py": STATEFUL[name]}, ["test_m.py::test_it"]) as served:
        assert (served.probe.tier, "changes module state" in served.probe.reason) == ("fork", True)


def test_candidates_of_a_stateful_test_set_are_judged_apart(serve: _Serve) -> None:
    test = "import m\n\n\ndef test_it():\n    m.SEEN.append(1)\n    assert m.add(1, 2) == 3 and len(m.SEEN) == 1\n"
    with serve({"m.py": STATEFUL_MODULE, "test_m.py": test}, ["test_m.py::test_it"]) as served:
        assert served.statuses("m.py", "add", ("a - b", "a * b"), ("a - b", "a + b"), ("a - b", "b + a")) == [
            "fails",
            "plausible",
            "plausible",
        ]


def test_a_slow_test_is_served_by_forks(serve: _Serve) -> None:
    test = "import time\n\nimport m\n\n\ndef test_it():\n    time.sleep(0.1)\n    assert m.add(1, 2) == 3\n"
    with serve({"m.py": STATEFUL_MODULE, "test_m.py": test}, ["test_m.py::test_it"]) as served:
        assert served.probe.tier == "fork"


CACHED = """\
import functools


def square(n):
    return n + n


@functools.lru_cache(maxsize=None)
def squares(n):
    return [square(i) for i in range(n)]
"""


def test_what_a_cache_of_the_project_remembers_is_forgotten_between_candidates(serve: _Serve) -> None:
    test = "from m import squares\n\n\ndef test_squares():\n    assert squares(4) == [0, 1, 4, 9]\n"
    with serve({"m.py": CACHED, "test_m.py": test}, ["test_m.py::test_squares"]) as served:
        edits = [("n + n", "n * n * n"), ("n + n", "n * n"), ("n + n", "n - n"), ("n + n", "n ** 2")]
        assert served.statuses("m.py", "square", *edits) == ["fails", "plausible", "fails", "plausible"]


# --- frameworks ---------------------------------------------------------------------------------------------------------------------------

CASES = """\
import unittest

from m import add


class AddTest(unittest.TestCase):
    def setUp(self):
        self.three = 3

    def test_add(self):
        self.assertEqual(add(1, 2), self.three)

    def test_zero(self):
        self.assertEqual(add(0, 0), 0)

    @unittest.skip("never")
    def test_skipped(self):
        self.fail()
"""
ADD = "def add(a, b):\n    return a - b\n"
ADD_EDITS = (("a - b", "a * b"), ("a - b", "a + b"), ("a - b", "3"))


def test_unittest_cases_are_served_by_unittest(serve: _Serve) -> None:
    names = ["tests.test_m.AddTest.test_add"], ["tests.test_m.AddTest.test_zero"]
    with serve({"m.py": ADD, "tests/__init__.py": "", "tests/test_m.py": CASES}, *names) as served:
        assert served.statuses("m.py", "add", *ADD_EDITS) == ["fails", "plausible", "breaks"]


def test_unittest_cases_are_served_by_pytest(serve: _Serve) -> None:
    names = ["test_m.py::AddTest::test_add"], ["test_m.py::AddTest::test_zero"]
    with serve({"m.py": ADD, "test_m.py": CASES, "pytest.ini": "[pytest]\n"}, *names) as served:
        assert served.statuses("m.py", "add", *ADD_EDITS) == ["fails", "plausible", "breaks"]


PYTEST_WAYS: dict[str, tuple[str, str]] = {
    "parameters": ("@pytest.mark.parametrize('c', [3])\ndef test_it(c):\n    assert add(1, 2) == c\n", "test_it[3]"),
    "fixture": ("@pytest.fixture\ndef three():\n    yield 3\n\n\ndef test_it(three):\n    assert add(1, 2) == three\n", "test_it"),
    "class": ("class TestAdd:\n    three = 3\n\n    def test_it(self):\n        assert add(1, 2) == self.three\n", "TestAdd::test_it"),
    "setup_method": ("class TestAdd:\n    def setup_method(self):\n        self.three = 3\n\n    def test_it(self):\n"
                     "        assert add(1, 2) == self.three\n", "TestAdd::test_it"),
    "setup_module": ("def setup_module(module):\n    module.THREE = 3\n\n\ndef test_it():\n    assert add(1, 2) == THREE\n", "test_it"),
    "autouse fixture": ("@pytest.fixture(autouse=True)\ndef three(request):\n    request.module.THREE = 3\n    yield\n"
                        "    del request.module.THREE\n\n\ndef test_it():\n    assert add(1, 2) == THREE\n", "test_it"),
    "raises": ("def test_it():\n    with pytest.raises(ZeroDivisionError):\n        1 / (add(1, 2) - 3)\n", "test_it"),
    "subtests of a mark": ("@pytest.mark.filterwarnings('error')\ndef test_it():\n    assert add(1, 2) == 3\n", "test_it"),
    "monkeypatch": ("def test_it(monkeypatch):\n    monkeypatch.setenv('THREE', '3')\n    import os\n"
                    "    assert add(1, 2) == int(os.environ['THREE'])\n", "test_it"),
    "capsys": ("def test_it(capsys):\n    print(add(1, 2))\n    assert capsys.readouterr().out == '3\\n'\n", "test_it"),
    "tmp_path": ("def test_it(tmp_path):\n    (tmp_path / 'x').write_text(str(add(1, 2)))\n"
                 "    assert (tmp_path / 'x').read_text() == '3'\n", "test_it"),
}  # fmt: skip


@pytest.mark.parametrize("name", PYTEST_WAYS)
def test_pytest_tests_of_every_kind_are_served(serve: _Serve, name: str) -> None:
    text, test_id = PYTEST_WAYS[name]
    files = {"m.py": ADD, "test_m.py": f"import pytest\n\nfrom m import add\n\n\n{text}", "pytest.ini": "[pytest]\n"}
    with serve(files, [f"test_m.py::{test_id}"]) as served:
        assert served.statuses("m.py", "add", *ADD_EDITS[:2]) == ["fails", "plausible"]


# --- observing and comparing --------------------------------------------------------------------------------------------------------------


def test_observe_tells_the_values_of_an_expression_in_order(shop: Served) -> None:
    seen = shop.server.observe(shop.unit("shop.py", "total"), (), [(12, 17, 12, 37)], TARGET[0])
    assert [v[1] for v in seen["values"]] == ["3", "7"]


def test_observe_tells_the_arguments(shop: Served) -> None:
    seen = shop.server.observe(shop.unit("shop.py", "total"), (), [(12, 17, 12, 37)], TARGET[0])
    assert seen["arguments"] == [{"names": "['apple', 'fig']", "fee": "2"}]


@pytest.mark.parametrize(("pair", "value", "outcome"), [(RIGHT, "9", True), (("- fee", "* fee"), "14", False)])
def test_observe_looks_into_the_edited_function(shop: Served, pair: tuple[str, str], value: str, outcome: bool) -> None:
    target = shop.unit("shop.py", "total")
    seen = shop.server.observe(target, shop.edits(target, *pair), [(13, 11, 13, 23)], TARGET[0])
    assert ([v[1] for v in seen["values"]], seen["outcome"]) == ([value], outcome)


def test_long_values_are_cut(serve: _Serve) -> None:
    files = {
        "m.py": "def wide(n):\n    return 'x' * n\n",
        "test_m.py": "from m import wide\n\n\ndef test_it():\n    assert not wide(10_000)\n",
    }
    with serve(files, ["test_m.py::test_it"]) as served:
        seen = served.server.observe(served.unit("m.py", "wide"), (), [(2, 11, 2, 18)], "test_m.py::test_it")
        assert len(seen["values"][0][1]) < 300


@pytest.fixture(scope="module")
def behaviours(shop: Served) -> Callable[..., list[tuple[str, ...] | None]]:
    def behave(*pairs: tuple[str, str]) -> list[tuple[str, ...] | None]:
        target = shop.unit("shop.py", "total")
        return shop.server.behave(target, [shop.edits(target, *p) for p in pairs])

    return behave


def test_equivalent_edits_behave_alike(behaviours: Callable[..., list[tuple[str, ...] | None]]) -> None:
    one, other = behaviours(RIGHT, ("result - fee", "fee + result"))
    assert one is not None
    assert one == other


def test_different_edits_behave_differently(behaviours: Callable[..., list[tuple[str, ...] | None]]) -> None:
    one, other = behaviours(RIGHT, ("return result - fee", "return 9 if names else 0"))
    assert one != other


def test_behaviour_is_asked_on_many_inputs(behaviours: Callable[..., list[tuple[str, ...] | None]]) -> None:
    (digests,) = behaviours(RIGHT)
    assert digests is not None
    assert len(digests) >= 20


def test_an_edit_that_does_not_compile_has_no_behaviour(behaviours: Callable[..., list[tuple[str, ...] | None]]) -> None:
    assert behaviours(("- fee", "- ("), RIGHT)[0] is None


def test_an_endless_candidate_does_not_hold_up_the_comparison(behaviours: Callable[..., list[tuple[str, ...] | None]]) -> None:
    endless, right = behaviours(("return result - fee", "while True: pass"), RIGHT)
    assert endless is not None
    assert right is not None
    assert endless != right


def test_a_method_that_takes_more_than_data_has_no_behaviour(serve: _Serve) -> None:
    files = {
        "m.py": "class Box:\n    def one(self):\n        return 2\n",
        "test_m.py": "from m import Box\n\n\ndef test_it():\n    assert Box().one() == 1\n",
    }
    with serve(files, ["test_m.py::test_it"]) as served:
        target = served.unit("m.py", "Box.one")
        assert served.server.behave(target, [served.edits(target, "2", "1")]) == [()]
