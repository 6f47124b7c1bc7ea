"""Checkouts for ``ledex fix``, each with its options, and one run of the real command over each.

A checkout is built once and fixed once; many tests then make one claim each about that run.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.git_repository import GitRepository

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
State = dict[str, tuple[int, int, str]]
QUICK = ("--python", sys.executable, "--env", "PYTEST_ADDOPTS=-p no:hypothesispytest")
"""This suite's interpreter, without Hypothesis' plugin, which imports all of Hypothesis in every run: four fifths of its time."""


@dataclass
class Checkout(GitRepository):
    """A checkout. ``options`` go to ``ledex fix`` beside its path, ``variables`` into its environment."""

    options: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    own_python: bool = False
    """Let ``ledex fix`` build an environment, instead of using the interpreter that runs this suite."""


@dataclass(frozen=True)
class Run:
    """What one ``ledex fix`` did: exit status, output, the JSON file (None when it was not written), the checkout before and after."""

    checkout: Checkout
    code: int
    stdout: str
    stderr: str
    outcome: dict[str, Any] | None
    before: State
    after: State
    seconds: float

    @property
    def best(self) -> dict[str, Any]:
        """The proposal shown first."""
        assert self.outcome is not None, self.stderr
        assert self.outcome["proposals"], f"{self.outcome['reason']}\n{self.stdout}"
        proposal: dict[str, Any] = self.outcome["proposals"][0]
        return proposal

    @property
    def patch(self) -> bytes:
        return str(self.best["patch"]).encode("utf-8", "surrogateescape")

    @property
    def reason(self) -> str:
        return str(self.outcome["reason"]) if self.outcome is not None else ""


def state(folder: Path) -> State:
    """Everything below a folder, ``.git`` included: mode, time of change and content (by hash) or target of a link."""
    found: State = {}
    for where, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            path = Path(where, name)
            information = path.lstat()
            content = ""
            if stat.S_ISLNK(information.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(information.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest() if information.st_size < 64 * MIB else str(information.st_size)
            found[os.path.relpath(path, folder)] = (information.st_mode, information.st_mtime_ns, content)
    return found


def command(
    *arguments: str | Path, variables: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """``ledex`` in a process of its own, as a user starts it: outside a terminal, from another folder."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "COLUMNS")}
    environment |= {"PYTHONPATH": str(ROOT), **(variables or {})}
    return subprocess.run([sys.executable, "-m", "bot.cli", *arguments], capture_output=True, check=False, timeout=240,
                          env=environment, cwd=cwd or "/")  # fmt: skip


def fix(checkout: Checkout, scratch: Path) -> Run:
    """Run ``ledex fix`` over a checkout, with ``--json`` into ``scratch``."""
    file = scratch / "outcome.json"
    python = () if checkout.own_python else QUICK
    before, started = state(checkout.folder), time.monotonic()
    done = command("fix", checkout.folder, *python, "--budget", "45", "--json", file, *checkout.options, variables=checkout.variables)
    seconds = time.monotonic() - started
    outcome = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return Run(checkout, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"), outcome, before,
               state(checkout.folder), seconds)  # fmt: skip


# --- repositories with one-token bugs -----------------------------------------------------------------------------------------------------


def named_like_ours(scratch: Path) -> Checkout:
    """The repository's own packages are called as ours are, and its tests check that they get their own; the base is without the bug."""
    own = {f"{name}/__init__.py": f'OWNER = "{name} of the shop"\n' for name in ("bot", "sandbox", "inference", "training", "tests")}
    checkout = Checkout(_folder(scratch, "shop"), options=["--base", "HEAD~1"]).files({
        **own,
        "sandbox/report.py": "def cents(amount):\n    return amount * 100\n",
        "inference/patch.py": "from sandbox.report import cents\n\n\ndef price(amount):\n    return cents(amount)\n",
        "training/cli.py": "RATE = 3\n",
        "bot/cli.py": """\
            from inference.patch import price
            from training.cli import RATE


            class Invoice:
                def __init__(self, amounts, shipping):
                    self.amounts = amounts
                    self.shipping = shipping

                def total(self):
                    return sum(map(price, self.amounts)) + self.shipping * RATE
            """,
        "tests/test_cli.py": """\
            import bot
            import inference
            import sandbox
            import tests
            import training
            from bot.cli import Invoice


            def test_total_adds_the_shipping():
                assert Invoice([2, 5], 40).total() == 820


            def test_total_of_nothing():
                assert Invoice([], 0).total() == 0


            def test_the_packages_are_the_shops():
                for package in (bot, inference, sandbox, tests, training):
                    assert package.OWNER == package.__name__ + " of the shop"
            """,
    }).commit()  # fmt: skip
    file = checkout.folder / "bot/cli.py"
    return checkout.files({"bot/cli.py": file.read_text().replace(") + self", ") - self")}).commit()


def src_layout(scratch: Path) -> Checkout:
    """Sources below ``src``; the bug is a constant of the module."""
    return Checkout(_folder(scratch, "calendar")).files({
        "pyproject.toml": '[project]\nname = "calendar-tools"\nversion = "1"\n\n[tool.pytest.ini_options]\npythonpath = ["src"]\n',
        "src/weeks/__init__.py": "",
        "src/weeks/count.py": """\
            DAYS = 8


            def whole_weeks(days):
                return days // DAYS


            def days_of(weeks):
                return weeks * DAYS
            """,
        "tests/test_count.py": """\
            from weeks.count import days_of, whole_weeks


            def test_weeks_and_days():
                assert days_of(2) == 14
                assert days_of(5) == 35
                assert whole_weeks(21) == 3


            def test_nothing():
                assert days_of(0) == 0
            """,
    }).commit()  # fmt: skip


PRICES = (b"# prices\r\n\r\ndef total(prices, fee):\r\n\treturn sum(prices) - fee   # tabs, spaces\t\r\n"
          b"\r\ndef rest(paid, due):\r\n\treturn paid + due\r\n")  # fmt: skip


def two_bugs(scratch: Path) -> Checkout:
    """A flat layout; two bugs in neighbouring functions of a file with CRLF line ends and tabs."""
    return Checkout(_folder(scratch, "flat")).files({
        "prices.py": PRICES,
        "test_prices.py": """\
            from prices import rest, total


            def test_total():
                assert total([10, 20], 5) == 35


            def test_total_without_fee():
                assert total([3], 0) == 3


            def test_rest():
                assert rest(10, 4) == 6


            def test_nothing_is_due():
                assert rest(5, 0) == 5
            """,
    }).commit()  # fmt: skip


STACK = """\
# -*- coding: latin-1 -*-
# Über Stapel: «é» is one byte here.
class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def peek(self):
        return self.items[-2]   # déjà vu""".encode("latin-1")


def unittest_cases(scratch: Path) -> Checkout:
    """unittest alone, the code in Latin-1 without a final newline; the patch is applied."""
    return Checkout(_folder(scratch, "cases"), options=["--apply"]).files({
        "stack.py": STACK,
        "tests/__init__.py": "",
        "tests/test_stack.py": """\
            import unittest

            from stack import Stack


            class StackTest(unittest.TestCase):
                def setUp(self):
                    self.stack = Stack()

                def test_peek(self):
                    for item in (5, 6, 7):
                        self.stack.push(item)
                    self.assertEqual(self.stack.peek(), 7)
                    self.stack.push(8)
                    self.assertEqual(self.stack.peek(), 8)

                def test_a_new_stack_is_empty(self):
                    self.assertEqual(self.stack.items, [])
            """,
        "notes.txt": "not ours\n",
    }).commit()  # fmt: skip


def odd_tree(scratch: Path) -> Checkout:
    """A path with spaces and letters beyond ASCII, in the C locale; uncommitted bug, untracked module, submodule, links out, read-only."""
    library = Checkout(_folder(scratch, "library")).files({"__init__.py": "FACTOR = 3\n"}).commit()
    checkout = Checkout(_folder(scratch, "Ünï cödé 'dir'", "my \"projéct\" ß"), variables={"LC_ALL": "C", "LANG": "C"}).files({
        "area.py": """\
            from extra import SCALE
            from vendor import FACTOR


            def area(width, height):
                return width * height * SCALE * FACTOR
            """,
        "test_area.py": """\
            from area import area


            def test_area():
                assert area(3, 5) == 90


            def test_no_area():
                assert area(0, 0) == 0
            """,
    })  # fmt: skip
    checkout.git("init", "-q")
    checkout.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library.folder), "vendor")
    checkout.commit()
    checkout.files({"extra.py": "SCALE = 2\n"})
    (checkout.folder / "area.py").write_text((checkout.folder / "area.py").read_text().replace("width * height", "width + height"))
    (checkout.folder / "outside").symlink_to("/etc")
    (checkout.folder / "outside.txt").symlink_to("/etc/hostname")
    for where, _, files in os.walk(checkout.folder, topdown=False):
        for path in (*(Path(where, name) for name in files), Path(where)):
            if not path.is_symlink() and ".git" not in path.parts:
                path.chmod(path.stat().st_mode & ~0o222)
    return checkout


def no_dependency_file(scratch: Path) -> Checkout:
    """Nothing says what the tests need, and no interpreter is given."""
    cache = {"LEDEX_SANDBOX_CACHE_FOLDER": str(scratch / "cache")}
    return Checkout(_folder(scratch, "bare"), own_python=True, variables=cache).files({
        "limits.py": "def allowed(age, least):\n    return age > least\n",
        "test_limits.py": """\
            import pytest
            from limits import allowed


            @pytest.mark.parametrize(("age", "expected"), [(17, False), (18, True), (19, True)])
            def test_allowed(age, expected):
                assert allowed(age, 18) is expected
            """,
    }).commit()  # fmt: skip


# --- repositories that are not fixed ------------------------------------------------------------------------------------------------------

_GOOD = {
    "add.py": "def add(a, b):\n    return a + b\n",
    "test_add.py": "from add import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
}
_BAD = {**_GOOD, "add.py": "def add(a, b):\n    return a - b\n"}


def unfixed(scratch: Path) -> Checkout:
    return Checkout(_folder(scratch, "unfixed"), options=["--budget", "4"]).files({
        "digest.py": 'def digest(text):\n    return ""\n',
        "test_digest.py": """\
            import hashlib

            from digest import digest


            def test_digest():
                for word in ("a", "b"):
                    assert digest(word) == hashlib.sha256(word.encode()).hexdigest()
            """,
    }).commit()  # fmt: skip


def half_fixed(scratch: Path) -> Checkout:
    """Two bugs, of which one is beyond any template."""
    checkout = unfixed(scratch)
    checkout.options = ["--budget", "12"]
    return checkout.files(_BAD).commit()


def flaky(scratch: Path) -> Checkout:
    """In every run one test fails, and another one a tenth of a second later: the first comes round again after half a minute."""
    return Checkout(_folder(scratch, "flaky")).files({
        "test_luck.py": """\
            import time

            import pytest

            UNLUCKY = int(time.time() * 10) % 300


            @pytest.mark.parametrize("number", range(300))
            def test_luck(number):
                assert number != UNLUCKY
            """,
    }).commit()  # fmt: skip


def pre_existing(scratch: Path) -> Checkout:
    return Checkout(_folder(scratch, "old"), options=["--base", "HEAD"]).files(_BAD).commit()


def passing(scratch: Path) -> Checkout:
    return Checkout(_folder(scratch, "passing")).files(_GOOD).commit()


def no_tests(scratch: Path) -> Checkout:
    return Checkout(_folder(scratch, "bare")).files({"add.py": _GOOD["add.py"]}).commit()


def syntax_error(scratch: Path) -> Checkout:
    return Checkout(_folder(scratch, "syntax")).files({**_GOOD, "test_add.py": "def test_add(:\n    pass\n"}).commit()


def import_error(scratch: Path) -> Checkout:
    return (
        Checkout(_folder(scratch, "importing"))
        .files({**_GOOD, "test_add.py": "import no_such_module\n\n\ndef test_add():\n    pass\n"})
        .commit()
    )


def hanging(scratch: Path) -> Checkout:
    config = scratch / "short.toml"
    config.write_text("[environment]\ntimeout_minutes = 0.05\n")
    return Checkout(_folder(scratch, "hanging"), options=["--config", str(config)]).files({
        "test_wait.py": "import time\n\n\ndef test_wait():\n    time.sleep(1000)\n"}).commit()  # fmt: skip


def no_such_command(scratch: Path) -> Checkout:
    return Checkout(_folder(scratch, "command"), options=["--test", "no-such-runner --all"]).files(_GOOD).commit()


def unreadable_name(scratch: Path) -> Checkout:
    """A folder whose name is no UTF-8 and has a bracket, a file below it too, and a terminal that can show neither."""
    folder = Path(os.fsdecode(os.path.join(os.fsencode(scratch), b"caf\xe9 [x]")))
    folder.mkdir()
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    return Checkout(folder, variables=plain).files({**_GOOD, os.fsdecode(b"caf\xe9.py"): ""}).commit()


def too_large(scratch: Path) -> Checkout:
    """One untracked file above the tree limit. It is sparse, so it takes no room here."""
    checkout = Checkout(_folder(scratch, "large")).files(_BAD).commit()
    with open(checkout.folder / "data.bin", "wb") as file:
        file.truncate(1024 * MIB + 1)
    return checkout


def too_large_for_the_sandbox(scratch: Path) -> Checkout:
    """More than the policy of the checkout itself lets a work tree have."""
    policy = "[limits]\ntree_mb = 16\n"
    return Checkout(_folder(scratch, "tight")).files({**_GOOD, ".github/ledex.toml": policy, "data.bin": bytes(20 * MIB)}).commit()


FIXED: dict[str, Callable[[Path], Checkout]] = {
    "named like ours": named_like_ours, "src layout": src_layout, "two bugs": two_bugs, "unittest": unittest_cases, "odd tree": odd_tree,
    "no dependency file": no_dependency_file}  # fmt: skip
UNFIXED: dict[str, Callable[[Path], Checkout]] = {
    "unfixed": unfixed, "half fixed": half_fixed, "flaky": flaky, "pre_existing": pre_existing, "passing": passing, "no tests": no_tests,
    "syntax error": syntax_error, "import error": import_error, "unreadable name": unreadable_name, "hanging": hanging,
    "no such command": no_such_command, "too large": too_large,
    "too large for the sandbox": too_large_for_the_sandbox}  # fmt: skip


def _folder(*parts: str | Path) -> Path:
    folder = Path(*parts)
    folder.mkdir(parents=True)
    return folder
