"""V0 by the text alone: what a patch may not touch or newly contain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.mutants import mutants
from sandbox.refusal import Scope, literals_of, matches, refusal, special_cased

BEFORE = b"def f(x):\n    return x\n"


def reason(path: str = "shop.py", before: bytes | None = BEFORE, after: bytes | None = b"def f(x):\n    return x + 1\n") -> str | None:
    return refusal({path: (before, after)}, Scope())


def added(code: str) -> str | None:
    """The refusal of a function body with this line put in."""
    return reason(after=f"def f(x):\n    {code}\n    return x\n".encode())


def test_an_everyday_change_is_allowed() -> None:
    assert reason() is None


@pytest.mark.parametrize(
    "path", ["src/shop.py", "a/b/c.py", "lib/conf.py", "shop/tested.py", "contest.py", "latest.py", "data.json", "README.md"]
)
def test_ordinary_paths_are_allowed(path: str) -> None:
    assert reason(path, b"1\n", b"2\n") is None


@pytest.mark.parametrize(
    "path",
    [
        "test_shop.py",
        "shop_test.py",
        "tests/data.json",
        "a/tests/x.py",
        "conftest.py",
        "a/conftest.py",
        "sitecustomize.py",
        "usercustomize.py",
        "pytest.ini",
        ".pytest.ini",
        "pytest.toml",
        "tox.ini",
        "setup.cfg",
        "setup.py",
        "pyproject.toml",
        "sub/pyproject.toml",
        ".coveragerc",
        ".github/workflows/ci.yml",
        ".gitlab-ci.yml",
        "Makefile",
        "noxfile.py",
        "uv.lock",
        "poetry.lock",
        "requirements.txt",
        "requirements-dev.txt",
        "a/package-lock.json",
        "app/migrations/0001.py",
        "x/__snapshots__/a.snap",
        ".env",
        ".env.local",
        "key.pem",
        "a.so",
        "a.pyc",
        "x.pth",
        "x.dist-info/entry_points.txt",
        "x.egg-info/entry_points.txt",
        "fixtures/a.json",
        "a/testdata/x",
        "CONFTEST.PY",
        "PyProject.toml",
    ],
)
def test_tests_settings_and_manifests_are_refused(path: str) -> None:
    assert reason(path, b"1\n", b"2\n") is not None


@pytest.mark.parametrize(
    "path", ["json.py", "src/typing.py", "pytest.py", "a/pytest.py", "_pytest/__init__.py", "unittest/__init__.py", "coverage.py"]
)
def test_a_new_file_in_place_of_a_known_module_is_refused(path: str) -> None:
    assert "in place of the real" in (reason(path, None) or "")


@pytest.mark.parametrize("path", ["shop/types.py", "app/json.py", "new.py"])
def test_a_new_file_inside_a_package_may_have_any_name(path: str) -> None:
    assert reason(path, None) is None


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.modules.clear()",
        "import gc",
        "import atexit",
        "import os; os._exit(0)",
        "from os import _exit",
        "import os as o; o.abort()",
        "import pytest",
        "from _pytest import reports",
        "import unittest.mock",
        "raise unittest.SkipTest()",
        "sys._getframe(1)",
        "inspect.currentframe()",
        "eval('1')",
        "exec('1')",
        "__import__('os')",
        "import importlib",
        "f.__code__ = g.__code__",
        "object.__subclasses__()",
        "import ctypes",
        "signal.raise_signal(9)",
        "os.kill(1, 9)",
        "os.execv('/bin/true', [])",
        "os.fork()",
        "os.dup2(1, 3)",
        "open('/proc/self/fd/3', 'w')",
        "open('/dev/fd/3', 'w')",
        "getattr(sys, 'modules')",
        "os.environ['PYTEST_CURRENT_TEST']",
        "import builtins",
        "def pytest_pyfunc_call(): pass",
        "pytest_plugins = []",
        "def load_tests(): pass",
        "sys.settrace(None)",
        "threading.setprofile(None)",
        "getattr(os, b'_exit'.decode())",
        "sys.meta_path.insert(0, x)",
        "breakpoint()",
        "\uff45xec('1')",
    ],
)
def test_reaching_for_the_interpreter_or_the_judge_is_refused(code: str) -> None:
    assert "reaches for" in (added(code) or "")


@pytest.mark.parametrize(
    "code", ["time.sleep(1)", "retry(f)", "@flaky", "from tenacity import wait", "x = skipif(1)", "requests.get(max_retries=3)"]
)
def test_waiting_and_retrying_are_refused(code: str) -> None:
    body = code if not code.startswith("@") else "@flaky\n    def g(): pass"
    assert "waits, retries or skips" in (added(body) or "")


def test_a_name_that_the_file_had_already_may_stay() -> None:
    before = b"import sys\n\ndef f(x):\n    return sys.modules[x]\n"
    assert reason(before=before, after=before.replace(b"[x]", b"[x + 1]")) is None
    assert reason(before=before, after=before + b"sys.modules.clear()\n") is not None


@pytest.mark.parametrize(
    "code",
    [
        "expected = 1",
        "evaluate(x)",
        "executor.run(x)",
        "modulesx = 1",
        "x.skipped = True",
        "# eval(x)",
        "'a long text that says eval and exec, as documentation of sixty letters or more does'",
    ],
)
def test_names_that_only_resemble_are_allowed(code: str) -> None:
    assert added(code) is None


def test_a_change_of_the_encoding_cannot_hide_names() -> None:
    hidden = b"# coding: utf-7\n+AGUAeABlAGM('1')\n"
    assert "encoding" in (reason(after=hidden) or "")
    assert "encoding" in (reason(after=b"# coding: latin-1\n" + BEFORE) or "")


@pytest.mark.parametrize("after", [None, b"def f(x):\n    return '\0'\n"])
def test_deleted_and_binary_files_are_refused(after: bytes | None) -> None:
    assert reason(after=after) is not None


def test_a_doctest_is_a_test() -> None:
    before = b'def f(x):\n    """Add.\n\n    >>> f(1)\n    2\n    """\n    return x\n'
    assert "documented example" in (reason(before=before, after=before.replace(b"    2\n", b"    1\n")) or "")
    assert "documented example" in (reason(before=before, after=before.replace(b"    >>> f(1)\n    2\n", b"")) or "")
    assert reason(before=before, after=before.replace(b"return x", b"return x + 1")) is None
    assert "documented example" in (reason("guide.rst", b">>> f(1)\n2\n", b">>> f(1)\n1\n") or "")


def test_an_object_equal_to_everything_is_refused() -> None:
    always = b"class A:\n    def __eq__(self, other):\n        'Same.'\n        return True\n"
    assert "equal to everything" in (reason(after=BEFORE + always) or "")
    assert reason(after=BEFORE + always.replace(b"return True", b"return self is other")) is None


def test_too_many_files_or_lines_are_refused() -> None:
    assert refusal({f"m{n}.py": (b"1\n", b"2\n") for n in range(6)}, Scope()) is not None
    assert refusal({"a.py": (b"", b"x = 1\n" * 300)}, Scope()) is not None
    assert refusal({}, Scope()) == "the patch changes nothing"


def test_a_scope_allows_and_denies_with_deny_stronger() -> None:
    change = {"src/a.py": (b"1\n", b"2\n")}
    assert refusal(change, Scope(allow=("src/**",))) is None
    assert refusal(change, Scope(allow=("lib/**",))) is not None
    assert refusal(change, Scope(allow=("src/**",), deny=("**/a.py",))) is not None


@pytest.mark.parametrize(
    ("path", "pattern", "wanted"),
    [("a.py", "**/a.py", True), ("x/y/a.py", "**/a.py", True), ("b/a.py.txt", "**/a.py", False), ("SRC/A.py", "src/*.py", True)],
)
def test_patterns(path: str, pattern: str, wanted: bool) -> None:
    assert matches(path, pattern) is wanted


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_get_an_answer(before: bytes, after: bytes) -> None:
    answer = reason(before=before, after=after)
    assert answer is None or "\n" not in answer


# Special cases


def test_a_literal_of_the_test_that_is_newly_compared_with_is_found() -> None:
    literals = literals_of({"test_a.py": b"assert f([10, 20]) == 'total'\n"})
    change = {"a.py": (BEFORE, b"def f(x):\n    if x == [10, 20]:\n        return 3\n    return x\n")}
    assert special_cased(change, literals) in ("10", "20")
    assert special_cased({"a.py": (BEFORE, b"def f(x):\n    return {'total': 1}[x]\n")}, literals) == "'total'"
    assert special_cased({"a.py": (BEFORE, b"def f(x):\n    return x if x != 'total' else 1\n")}, literals) == "'total'"
    assert special_cased({"a.py": (BEFORE, b"def f(x):\n    return 1 if x not in ('total',) else 2\n")}, literals) == "'total'"
    assert (
        special_cased({"a.py": (BEFORE, b"def f(x):\n    match x:\n        case 'total':\n            return 1\n")}, literals) == "'total'"
    )


def test_everyday_literals_and_known_ones_are_no_special_cases() -> None:
    literals = literals_of({"test_a.py": b"assert f(1) == ''\nassert f(100) == 'known'\n"})
    assert special_cased({"a.py": (BEFORE, b"def f(x):\n    return x == 1 or x == ''\n")}, literals) is None
    known = b"NAME = 'known'\n"
    assert special_cased({"a.py": (known, known + b"def f(x):\n    return x == 'known'\n")}, literals) is None
    assert special_cased({"a.py": (BEFORE, b"def f(x):\n    return x + 100\n")}, literals) is None


# Mutants


def test_mutants_touch_only_changed_lines() -> None:
    before = "def f(x):\n    y = x + 1\n    return y < 10\n"
    after = before.replace("< 10", "<= 10")
    made = mutants(before, after)
    assert made
    assert all(m.splitlines()[:2] == after.splitlines()[:2] for m in made)
    assert after not in made
    assert before not in made


def test_of_several_hunks_each_is_undone() -> None:
    before = "def f(x):\n    a = x\n    b = x\n    c = x\n    return a\n"
    after = before.replace("a = x", "a = x + 1").replace("c = x", "c = x - 1")
    made = mutants(before, after, most=2)
    assert made == [after.replace("a = x + 1", "a = x"), after.replace("c = x - 1", "c = x")]


def test_mutants_of_text_beyond_ascii_keep_it() -> None:
    made = mutants("x = 'é'\ny = 1\n", "x = 'é'\ny = 'ß' < z\n")
    assert made == ["x = 'é'\ny = ('ß' >= z)\n", "x = 'é'\npass\n"] or all("'é'" in m for m in made)
    assert made


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_gets_a_list_of_mutants(before: str, after: str) -> None:
    assert len(mutants(before, after, most=3)) <= 3


@pytest.mark.parametrize(
    "code",
    [
        "x = _ledex_live",
        "x.__ledex_tick__()",
        "import _ledex_swap",
        "x = '/run/ledex'",
        "x = 'a text that is longer than the words that are looked up, with _ledex_fork.py in it'",
    ],
)
def test_any_name_of_the_judges_files_is_refused(code: str) -> None:
    assert "reaches for the interpreter or the judge" in (added(code) or "")


@pytest.mark.parametrize("code", ["x = ledex", "x = ledexbot_run", "x = 'ledex'"])
def test_the_name_of_the_product_alone_is_everyday_code(code: str) -> None:
    assert added(code) is None


def test_literals_of_a_test_file_are_read_in_its_own_encoding() -> None:
    assert literals_of({"test_a.py": "# coding: latin-1\nassert f(1) == 'caf\xe9'\n".encode("latin-1")}) == {"'caf\xe9'"}
