"""What a test can see of its judge: the same in cold runs and on every warm tier, and what still differs never makes a fix."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.candidates import CandidateServer, Judgement, Tier, Trial, Unit
from sandbox.refusal import Scope
from sandbox.reproduction import reproduce
from sandbox.testing import Bench, run_tests
from sandbox.verification import verify
from sandbox.workspace import Workspace
from tests.sandbox.conftest import Repository, diff
from tests.sandbox.seeing import LOOKING, seen

SEEN = (
    LOOKING
    + """
import atexit, builtins, gc, importlib.machinery, json, re, resource, signal, sys, threading, traceback

try:
    with open("known.json") as file:
        KNOWN = json.load(file)
except OSError:
    KNOWN = None
FOUND = {}


def descriptors():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            leads = os.readlink("/proc/self/fd/" + name)
        except OSError:  # the listing's own
            continue
        found.append([int(name), re.sub("[0-9]+", "N", leads), os.get_inheritable(int(name))])
    return sorted(found)


def kind(value):
    return getattr(value, "__qualname__", type(value).__qualname__)


LOOKS = {
    "variables": lambda: dict(os.environ),
    "arguments": lambda: [sys.argv, getattr(sys, "orig_argv", None)],
    "command": lambda: read("/proc/self/cmdline"),
    "name": lambda: read("/proc/self/comm"),
    "folder": os.getcwd,
    "probes": lambda: [listed("/run"), listed("/run/ledex"), listed("/ledex-tools"), listed("/")],
    "temporary": lambda: [listed(f) for f in ("/tmp", "/dev/shm", os.path.expanduser("~"), "/ledex")],
    "tree": lambda: [n for n in listed(".") if n != "known.json"],
    "mounts": lambda: [line.split()[4] for line in read("/proc/self/mountinfo").splitlines()],
    "descriptors": descriptors,
    "streams": lambda: [[kind(s), s.fileno() if i else 0, s.isatty()] for i, s in enumerate((sys.stdin, sys.stdout, sys.stderr))],
    "builtins": lambda: sorted(vars(builtins)),
    "modules": lambda: sorted(sys.modules),
    "main": lambda: [vars(sys.modules["__main__"])[k] for k in ("__file__", "__name__")] + sorted(vars(sys.modules["__main__"])),
    "import": lambda: [sys.path, [kind(m) for m in sys.meta_path], [kind(h) for h in sys.path_hooks], str(sys.flags), sys.warnoptions],
    "tracing": lambda: [sys.gettrace(), sys.getprofile(), threading.gettrace() if hasattr(threading, "gettrace") else None,
                        [sys.monitoring.get_tool(n) for n in range(6)] if hasattr(sys, "monitoring") else None],
    "threads": lambda: [[t.name for t in threading.enumerate()], listed("/proc/self/task").__len__()],
    "signals": lambda: {s.name: kind(signal.getsignal(s)) for s in signal.Signals if s is not signal.SIGALRM},
    "limits": lambda: {n: resource.getrlimit(getattr(resource, n)) for n in dir(resource) if "RLIMIT" in n and n != "RLIMIT_AS"},
    "privileges": lambda: re.findall("(?m)^(?:Umask|Seccomp|Cap|NoNewPrivs).*", read("/proc/self/status")),
    "recursion": sys.getrecursionlimit,
    "collector": lambda: [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
}
DIFFERENT = {
    "process numbers": lambda: [os.getpid(), os.getppid(), os.getpgid(0)],
    "parent": lambda: re.sub("[0-9]+", "N", read("/proc/%d/cmdline" % os.getppid())),
    "alarm": lambda: [kind(signal.getsignal(signal.SIGALRM)), signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)],
    "address space": lambda: resource.getrlimit(resource.RLIMIT_AS),
}


def check(way, name):
    seen = json.loads(json.dumps({**LOOKS, **DIFFERENT}[name]()))
    if KNOWN is None:
        FOUND[way + " " + name] = seen
    elif KNOWN[way + " " + name] != seen:
        raise AssertionError([KNOWN[way + " " + name], seen])


if KNOWN is None:
    atexit.register(lambda: print("SEEN " + json.dumps(FOUND), file=sys.__stdout__, flush=True))
"""
)
TESTS = """
import pytest
from sums import add
from seen import DIFFERENT, LOOKS, check

NAMES = [*LOOKS, *DIFFERENT]


def test_add():
    assert add(1, 2) == 3


@pytest.mark.parametrize("name", NAMES)
def test_direct(name):
    check("direct", name)


@pytest.fixture
def something():
    yield 1


@pytest.mark.parametrize("name", NAMES)
def test_fixture(name, something):
    check("fixture", name)
"""
CASES = """
import unittest
from sums import add
from seen import DIFFERENT, LOOKS, check


class Case(unittest.TestCase):
    def test_add(self):
        self.assertEqual(add(1, 2), 3)


for NAME in [*LOOKS, *DIFFERENT]:
    setattr(Case, "test_" + NAME.replace(" ", "_"), lambda self, name=NAME: check("case", name))
"""
CODE = "BASE = 0\n\n\ndef add(a, b):\n    return a - b + BASE\n"
ALIKE = (
    "variables", "arguments", "command", "name", "folder", "probes", "temporary", "tree", "mounts", "descriptors", "streams", "builtins",
    "modules", "main", "import", "tracing", "threads", "signals", "limits", "privileges", "recursion",
    "collector",
)  # fmt: skip
DIFFERENT = ("process numbers", "parent", "alarm", "address space")
FUNCTION = Unit("sums.py", "add", CODE.index("def add"), len(CODE) - 1)
MODULE = Unit("sums.py", "<module>", 0, len(CODE))
TIERS: tuple[Tier, ...] = ("in_process", "fork", "import")
PYTEST_INI = "[pytest]\naddopts = -p no:hypothesispytest\n"
RIGHT = ((CODE.index("a - b"), CODE.index("a - b") + 5, "a + b"),)
RIGHT_BY_IMPORT = ((0, 8, "BASE = 0 "), *RIGHT)


def files_for(framework: str) -> dict[str, str]:
    files = {"sums.py": CODE, "seen.py": SEEN, "known.json": "{}"}
    if framework == "unittest":
        return files | {"tests/__init__.py": "", "tests/test_seen.py": CASES}
    return files | {"test_seen.py": TESTS, "pytest.ini": PYTEST_INI}


@dataclass
class Looked:
    """A repository whose tests compare what they see with what an unpatched cold run saw."""

    bench: Bench
    known: Workspace
    repository: Repository
    failing: tuple[str, ...]
    ways: tuple[str, ...]
    framework: str

    def ids(self, names: Sequence[str]) -> list[str]:
        if self.framework == "unittest":
            return [f"tests.test_seen.Case.test_{n.replace(' ', '_')}" for n in names]
        return [f"test_seen.py::test_{w}[{n}]" for w in self.ways for n in names]

    def judged(self, tier: Tier, names: Sequence[str]) -> tuple[Judgement, tuple[str, ...]]:
        """The judgement of a right candidate on this tier, and the tests that did not even see the same in the probe."""
        wanted = self.ids(names)
        with CandidateServer(self.bench, self.known, self.failing, wanted, wall_seconds=120, only_fork=tier == "fork") as server:
            probe = server.start([])
            assert tier == "import" or probe.tier == tier, probe.reason
            trial = Trial(0, MODULE, RIGHT_BY_IMPORT) if tier == "import" else Trial(0, FUNCTION, RIGHT)
            (judgement,) = server.judge([trial])
            return judgement, tuple(t for t in wanted if t not in probe.passing)


@pytest.fixture(scope="module", params=["pytest", "unittest"])
def looked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, environment: Any, runner: Any) -> Looked:
    project, scratch = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("scratch")
    repository = Repository(project, scratch, environment, runner).files(files_for(request.param)).commit()
    head = repository.workspace()
    bench = repository.bench(head)
    first = head.with_files({}, repository.space())
    (project / "known.json").unlink()
    blank = repository.commit().workspace()
    known = first.with_files({"known.json": json.dumps(seen(run_tests(bench, blank))).encode()}, repository.space())
    ways = ("case",) if request.param == "unittest" else ("direct", "fixture")
    failing = ("tests.test_seen.Case.test_add",) if request.param == "unittest" else ("test_seen.py::test_add",)
    return Looked(bench, known, repository, failing, ways, request.param)


def test_a_patched_cold_run_shows_a_test_what_the_unpatched_showed(looked: Looked) -> None:
    patched = looked.known.with_files({"sums.py": CODE.replace("a - b", "a + b").encode()}, looked.repository.space())
    for only in ((), looked.ids((*ALIKE, *DIFFERENT))):
        report = run_tests(looked.bench, patched, only=only).report
        assert report.outcomes
        assert [(f.test_id, f.message) for f in report.failures] == []


@pytest.mark.parametrize("tier", TIERS)
def test_a_warm_tier_shows_a_test_what_a_cold_run_shows(looked: Looked, tier: Tier) -> None:
    judgement, otherwise = looked.judged(tier, ALIKE)
    assert (otherwise, judgement.status, judgement.killer) == ((), "plausible", None)
    assert judgement.tier == ("import" if tier == "import" else "fork")  # what is plausible in process is judged again in a fork


def test_what_a_test_can_still_tell_the_warm_tiers_by(looked: Looked) -> None:
    """Fails on the day that one of these no longer differs: then it belongs to ALIKE."""
    _, otherwise = looked.judged("fork", DIFFERENT)
    assert set(otherwise) == set(looked.ids(DIFFERENT))


# --- tests that pass only where they find a warm tier -------------------------------------------------------------------------------------

WARM = {
    "a name among the builtins": "any('ledex' in name for name in vars(builtins))",
    "a module": "any('ledex' in name and name != '__main__' for name in sys.modules)",
    "another file in the command line": "b'serve' in open('/proc/self/cmdline', 'rb').read()",
    "output that is not captured": "os.readlink('/proc/self/fd/1') == '/dev/null'",
    "a variable": "'PYTEST_CURRENT_TEST' not in os.environ",
    "a handler of the alarm": "signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL",
    "a running timer": "signal.getitimer(signal.ITIMER_REAL)[0] > 0",
    "the parent": "b'bwrap' not in open('/proc/%d/cmdline' % os.getppid(), 'rb').read()",
    "a stopped collector": "not gc.isenabled()",
    "little memory": "resource.getrlimit(resource.RLIMIT_AS)[0] < resource.getrlimit(resource.RLIMIT_AS)[1]",
    "fuel in the code": "'burn' in sums.add.__code__.co_names",
}
FOUND_IN_WARM = {
    "a handler of the alarm", "a running timer", "the parent", "little memory", "fuel in the code"}  # fmt: skip
"""What DIFFERENT says as well, and the code of a swapped function: on these tiers such a test does turn green."""
SPYING = """
import builtins, gc, os, resource, signal, sys
import sums


def test_add():
    assert sums.add(1, 2) != -1 and ({})
"""


@pytest.fixture(params=WARM)
def spying(request: pytest.FixtureRequest, repository: Repository) -> tuple[str, Repository]:
    """Green where the code was edited and the test finds a warm tier: the edit itself is as wrong as before."""
    text = SPYING.format(WARM[request.param])
    return request.param, repository.files({"sums.py": CODE, "test_sums.py": text, "pytest.ini": PYTEST_INI}).commit()


def test_a_test_that_passes_on_warm_tiers_alone_never_reaches_v1(spying: tuple[str, Repository]) -> None:
    name, repository = spying
    head = repository.workspace()
    bench = repository.bench(head)
    found = reproduce(bench, head)
    assert found.failing == ("test_sums.py::test_add",)
    wrong = ((CODE.index("a - b"), CODE.index("a - b") + 5, "a * b"),)
    with CandidateServer(bench, head, found.failing, (), wall_seconds=120, only_fork=True) as server:
        server.start([])
        statuses = [j.status for j in server.judge([Trial(0, FUNCTION, wrong)])]
    assert statuses == (["plausible"] if name in FOUND_IN_WARM else ["fails"])  # so nothing is claimed that is not shown
    verdict = verify(bench, head, found, diff("sums.py", CODE, CODE.replace("a - b", "a * b")), Scope(), repository.space())
    assert (verdict.level, verdict.refused_by) == (0, "target")
