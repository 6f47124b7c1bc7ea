"""verify(): every rung of the ladder, and the tricks that must not climb it."""

from __future__ import annotations

import math
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.bubblewrap import BubblewrapRunner
from sandbox.environment import Environment
from sandbox.frameworks import TestPlan
from sandbox.refusal import Scope
from sandbox.reproduction import Reproduction, reproduce
from sandbox.testing import Bench, run_tests
from sandbox.verification import Verdict, verify
from tests.sandbox.conftest import Repository, diff
from tests.sandbox.seeing import LOOKING, seen

SHOP = '''\
def total(prices, discount):
    """Sum after a discount in percent."""
    amount = sum(prices)
    return amount * (100 - discount) // 10


def first(items):
    return items[0]
'''
TESTS = """\
import pytest
from shop import first, total


def test_total():
    assert total([10, 20], 10) == 27


@pytest.mark.parametrize("n", [1, 2])
def test_first(n):
    assert first([n]) == n


def test_nothing():
    assert total([], 10) == 0
"""
FIX = ("// 10\n", "// 100\n")


class Case:
    """A repository with its reproduction; ``verify`` takes the changed text of one file."""

    def __init__(self, repository: Repository, bench: Bench | None = None) -> None:
        self.repository = repository
        self.head = repository.commit().workspace()
        self.bench = bench or repository.bench(self.head)
        self.reproduction = reproduce(self.bench, self.head)

    def change(self, path: str, *pairs: tuple[str, str], scope: Scope | None = None) -> Verdict:
        before = self.head.read(path).decode()
        after = before
        for old, new in pairs:
            assert old in after
            after = after.replace(old, new)
        return self.verify(diff(path, before, after), scope)

    def add(self, path: str, content: str) -> Verdict:
        return self.verify(diff(path, "", content))

    def verify(self, patch: bytes, scope: Scope | None = None, until: float = math.inf) -> Verdict:
        return verify(self.bench, self.head, self.reproduction, patch, scope or Scope(), self.repository.space(), until=until)


def failed(verdict: Verdict) -> str:
    return next(c.detail for c in verdict.checks if c.status == "failed")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, environment: Environment, runner: BubblewrapRunner) -> Case:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "project").mkdir()
    (folder / "scratch").mkdir()
    repository = Repository(folder / "project", folder / "scratch", environment, runner)
    case = Case(
        repository.files({"shop.py": SHOP, "test_shop.py": TESTS, "README.md": ">>> 1\n1\n", "setup.cfg": "[metadata]\nname = shop\n"})
    )
    assert case.reproduction.failing == ("test_shop.py::test_total",)
    return case


# The ladder


def test_a_right_fix_reaches_v4(shop: Case) -> None:
    verdict = shop.change("shop.py", FIX)
    assert (verdict.level, verdict.refused_by, verdict.accepted) == (4, None, True)
    assert [(c.name, c.level, c.status) for c in verdict.checks] == [
        ("applies", 0, "passed"),
        ("allowed", 0, "passed"),
        ("target", 1, "passed"),
        ("repeats", 2, "passed"),
        ("regressions", 3, "passed"),
        ("overfit", 4, "passed"),
        ("mutation", 4, "passed"),
    ]
    assert (verdict.before.passed, verdict.before.failed) == (3, 1)
    assert verdict.after is not None
    assert (verdict.after.passed, verdict.after.failed) == (4, 0)


def test_out_of_time_the_ladder_is_still_climbed_to_v3_and_says_that_no_mutant_was_run(shop: Case) -> None:
    before = shop.head.read("shop.py").decode()
    verdict = shop.verify(diff("shop.py", before, before.replace(*FIX)), until=0.0)
    assert (verdict.level, verdict.accepted) == (3, True)
    assert [(c.name, c.status) for c in verdict.checks][-2:] == [("overfit", "passed"), ("mutation", "no_opinion")]


def test_the_verdict_as_json_names_its_levels(shop: Case) -> None:
    verdict = shop.verify(b"prose")
    record = verdict.to_json()
    assert record["level"] is None
    assert record["refused_by"] == "applies"
    assert record["counts"] == {"before": {"passed": 3, "failed": 1, "total": 4}, "after": None}


@pytest.mark.parametrize(
    "patch",
    [b"", b"no patch", b"--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-other\n+text\n", b"--- /dev/null\n+++ b/../x.py\n@@ -0,0 +1 @@\n+x\n"],
)
def test_a_patch_that_does_not_apply_is_refused_at_v0(shop: Case, patch: bytes) -> None:
    verdict = shop.verify(patch)
    assert (verdict.level, verdict.refused_by) == (-1, "applies")


def test_a_change_of_a_test_is_refused_at_v0(shop: Case) -> None:
    verdict = shop.change("test_shop.py", ("== 27", "== 270"))
    assert (verdict.level, verdict.refused_by) == (-1, "allowed")


def test_a_patch_outside_the_allowed_paths_is_refused_at_v0(shop: Case) -> None:
    assert shop.change("shop.py", FIX, scope=Scope(allow=("src/**",))).level == -1
    assert shop.change("shop.py", FIX, scope=Scope(deny=("shop.py",))).level == -1


def test_a_wrong_fix_is_refused_at_v1(shop: Case) -> None:
    verdict = shop.change("shop.py", ("// 10\n", "// 1000\n"))
    assert (verdict.level, verdict.refused_by) == (0, "target")
    assert "test_total still fails" in failed(verdict)


def test_a_patch_that_breaks_the_import_is_refused_at_v1(shop: Case) -> None:
    verdict = shop.change("shop.py", ("def total", "import nowhere\ndef total"))
    assert (verdict.level, verdict.refused_by) == (0, "target")
    assert "cannot be judged" in failed(verdict)


def test_a_patch_that_hangs_is_refused_at_v1(shop: Case) -> None:
    quick = replace(shop.bench, limits=replace(shop.bench.limits, wall_seconds=2.0))
    patch = diff(
        "shop.py", SHOP, SHOP.replace("    amount = sum(prices)\n", "    amount = sum(prices)\n    while discount:\n        pass\n")
    )
    verdict = verify(quick, shop.head, shop.reproduction, patch, Scope(), shop.repository.space())
    assert (verdict.level, verdict.refused_by) == (0, "target")
    assert "time limit" in failed(verdict)


def test_a_regression_is_refused_at_v3(shop: Case) -> None:
    verdict = shop.change("shop.py", FIX, ("return items[0]", "return items[1:]"))
    assert (verdict.level, verdict.refused_by, verdict.accepted) == (2, "regressions", False)
    assert "test_first[1] passed before" in failed(verdict)


def test_a_special_cased_literal_is_refused_at_v4(shop: Case) -> None:
    verdict = shop.change("shop.py", ("    amount", "    if prices == [10, 20]:\n        return 27\n    amount"))
    assert (verdict.level, verdict.refused_by, verdict.accepted) == (3, "overfit", False)


def test_a_change_that_no_test_notices_is_refused_at_v4(repository: Repository) -> None:
    """The test only asks that the file is no longer the old one: any change turns it green."""
    repository.files(
        {
            "code.py": "def f(x):\n    return x + 1\n",
            "test_code.py": """
        from pathlib import Path
        def test_changed():
            assert 'x + 1' not in Path('code.py').read_text()
        """,
        }
    )
    verdict = Case(repository).change("code.py", ("x + 1", "x * 4"))
    assert (verdict.level, verdict.refused_by) == (3, "mutation")


def test_a_right_fix_of_a_file_that_is_not_utf_8_reaches_v4(repository: Repository) -> None:
    """Mutants of it can be imported as it can; the letters before the change are there to break in any other encoding."""
    code = "# -*- coding: shift_jis -*-\r\nword = '表示'\r\ndef f(x):\r\n    return x + 1\r\n"
    tests = "from wording import f, word\n\ndef test_f():\n    assert (f(3), word) == (12, '表示')\n"
    repository.files({"wording.py": code.encode("shift_jis"), "test_code.py": tests})
    patch = diff("wording.py", code, code.replace("x + 1", "x * 4")).decode().encode("shift_jis")
    verdict = Case(repository).verify(patch)
    assert (verdict.level, verdict.refused_by) == (4, None)


def test_a_patch_without_python_stops_at_v3_with_no_opinion(repository: Repository) -> None:
    repository.files(
        {"data.json": '{"a": 1}\n', "test_data.py": "import json\ndef test_a():\n    assert json.load(open('data.json'))['a'] == 2\n"}
    )
    verdict = Case(repository).change("data.json", ("1", "2"))
    assert (verdict.level, verdict.refused_by, verdict.accepted) == (3, None, True)
    assert ("overfit", "no_opinion") in [(c.name, c.status) for c in verdict.checks]


def test_a_fix_that_does_not_pass_again_is_refused_at_v2(repository: Repository) -> None:
    """It only works after another test ran in the same process; the repeats run the repaired test alone."""
    code = "ready = []\n\ndef prepare():\n    ready.append(1)\n\ndef f():\n    return 1\n"
    repository.files(
        {
            "sample.py": code,
            "test_sample.py": """
        from sample import f, prepare
        def test_prepare():
            prepare()
        def test_f():
            assert f() == 2
        """,
        }
    )
    verdict = Case(repository).change("sample.py", ("return 1", "return 2 if ready else 1"))
    assert (verdict.level, verdict.refused_by) == (1, "repeats")


def test_unittest_is_judged_by_the_same_ladder(repository: Repository) -> None:
    repository.files(
        {
            "shop.py": SHOP,
            "test_shop.py": """
        import unittest
        from shop import total
        class TestTotal(unittest.TestCase):
            def test_total(self):
                self.assertEqual(total([10, 20], 10), 27)
            def test_nothing(self):
                self.assertEqual(total([], 10), 0)
        """,
        }
    )
    case = Case(repository)
    assert case.bench.plan.framework == "unittest"
    assert case.change("shop.py", FIX).level == 4
    assert case.change("shop.py", ("// 10\n", "// 1000\n")).level == 0


def test_a_test_file_with_an_unusual_name_is_a_test_too(repository: Repository) -> None:
    repository.files({"shop.py": SHOP, "check_shop.py": TESTS, "pytest.ini": "[pytest]\npython_files = check_*.py\n"})
    verdict = Case(repository).change("check_shop.py", ("== 27", "== 270"))
    assert (verdict.level, verdict.refused_by) == (-1, "allowed")


# Tricks of a patch


FAKING = """\
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""


@pytest.mark.parametrize(
    "path",
    [
        "conftest.py",
        "sub/conftest.py",
        "sitecustomize.py",
        "usercustomize.py",
        "pytest.py",
        "unittest/__init__.py",
        "src/json.py",
        "_pytest/__init__.py",
        "x.pth",
        "pytest.ini",
        "evil.dist-info/entry_points.txt",
    ],
)
def test_a_new_file_that_python_or_pytest_load_by_themselves_is_refused(shop: Case, path: str) -> None:
    verdict = shop.add(path, FAKING)
    assert (verdict.level, verdict.refused_by) == (-1, "allowed")


PLAIN_EXITS = {
    "os._exit": "import os\n    os._exit(0)",
    "sys.exit": "import sys\n    sys.exit(0)",
    "SystemExit": "raise SystemExit(0)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "skip by hand": "import unittest\n    raise unittest.SkipTest('x')",
    "hidden _exit": "import os\n    getattr(os, '_e' + 'xit')(0)",
    "hidden abort": "import os\n    getattr(os, 'ab' + 'ort')()",
    "hidden exec": "import os\n    getattr(os, 'ex' + 'ecv')('/bin/true', ['true'])",
    "killed parent": "import os, signal\n    getattr(os, 'ki' + 'll')(os.getppid(), 9)",
}


@pytest.mark.parametrize("end", PLAIN_EXITS.values(), ids=PLAIN_EXITS.keys())
def test_ending_the_process_is_no_pass(shop: Case, end: str) -> None:
    verdict = shop.change("shop.py", ("    amount = sum(prices)", f"    {end}\n    amount = sum(prices)"))
    assert verdict.level <= 0
    assert verdict.refused_by in ("allowed", "target")


MONKEYPATCHES = {
    "the framework's report": "import sys\nfor m in list(sys.modules.values()):\n    pass\n",
    "the report class": "from _pytest.reports import TestReport\nTestReport.failed = False\n",
    "a hidden import": "m = getattr(__builtins__, 'x', None)\n",
    "the exit status": "import atexit, os\natexit.register(os._exit, 0)\n",
    "a plugin": "pytest_plugins = ['x']\n",
    "a hook in code": "def pytest_pyfunc_call(pyfuncitem):\n    return True\n",
    "unittest's loader": "def load_tests(loader, tests, pattern):\n    return tests\n",
    "objects equal to all": "class Any(int):\n    def __eq__(self, other):\n        return True\n",
}


@pytest.mark.parametrize("code", MONKEYPATCHES.values(), ids=MONKEYPATCHES.keys())
def test_reaching_for_the_judge_is_refused_at_v0(shop: Case, code: str) -> None:
    verdict = shop.change("shop.py", ("def total", code + "\n\ndef total"))
    assert (verdict.level, verdict.refused_by) == (-1, "allowed")


def test_a_file_rewritten_at_run_time_does_not_help_the_next_run(shop: Case) -> None:
    """The patched code mends the test file and itself while the tests run; every run starts from the patch alone."""
    trick = "from pathlib import Path\nPath('test_shop.py').write_text('def test_total(): pass')\n"
    verdict = shop.change("shop.py", ("def total", trick + "\n\ndef total"))
    assert verdict.level == 0


# Tricks of the code and the tests in the tree


COUNTERS = {
    "tree": "Path('count')",
    "temporary": "Path('/tmp/count')",
    "shared_memory": "Path('/dev/shm/count')",
    "beside_the_tree": "Path('/ledex/count')",
    "home": "Path.home() / 'count'",
    "interpreter": "Path(sys.executable).parent / 'count'",
    "judge": "Path(sys.modules['__main__'].__file__).parent / 'count'",
    "snapshot": "Path('/run/tree/count')",
    "overlay": "Path('/run/overlay/count')",
}


def test_a_test_that_counts_its_runs_never_passes(repository: Repository) -> None:
    """It fails in its first runs and would pass from the third on, whatever the patch: it finds no place to count."""
    tests = "".join(f"def test_{name}():\n    counts({place})\n\n" for name, place in COUNTERS.items())
    repository.files(
        {
            "sample.py": "x = 1\n",
            "counting.py": """
        def counts(place):
            seen = 0
            try:
                seen = int(place.read_text())
            except (OSError, ValueError):
                pass
            try:
                place.parent.mkdir(exist_ok=True)
                place.write_text(str(seen + 1))
            except OSError:
                pass
            assert seen >= 2
        """,
            "test_counting.py": "import sys\nfrom pathlib import Path\nfrom counting import counts\n\n" + tests,
        }
    )
    case = Case(repository)
    assert len(case.reproduction.failing) == len(COUNTERS)
    for _ in range(2):
        verdict = case.change("sample.py", ("1", "2"))
        assert (verdict.level, verdict.refused_by) == (0, "target")
        assert verdict.after is not None
        assert verdict.after.failed == len(COUNTERS)


def test_a_test_that_turns_green_with_time_is_refused(repository: Repository) -> None:
    """It fails until the reproduction is done and passes ever after: the unpatched control unmasks it."""
    import time

    repository.files({"code.py": "x = 1\n", "test_clock.py": ""})
    repository.files({"test_clock.py": f"import time\ndef test_clock():\n    assert time.time() > {time.time() + 6}\n"})
    case = Case(repository)
    assert case.reproduction.status == "failing"
    while time.time() < float(case.head.read("test_clock.py").split()[-1]) + 0.2:
        time.sleep(0.1)
    verdict = case.change("code.py", ("1", "2"))
    assert (verdict.level, verdict.refused_by) == (0, "control")


SEEN = (
    LOOKING
    + """
import sys, threading


def look():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return {
        "variables": dict(os.environ), "argv": sys.argv, "folder": os.getcwd(), "pid": os.getpid(), "parent": os.getppid(), "child": child,
        "root": listed("/"), "run": listed("/run"), "probes": listed("/run/ledex"), "tmp": listed("/tmp"), "work": listed("/ledex"),
        "home": listed(os.environ.get("HOME", "/tmp/home")), "shm": listed("/dev/shm"),
        "processes": [n for n in listed("/proc") if n.isdigit()],
        "command": read("/proc/self/cmdline"), "name": read("/proc/self/comm"), "parents": read("/proc/1/comm"),
        "descriptors": [n for n in listed("/proc/self/fd")][:-1], "threads": threading.active_count(), "limits": read("/proc/self/limits"),
        "path": sys.path, "flags": str(sys.flags), "main": sys.modules["__main__"].__file__, "hostname": os.uname().nodename,
        "mounts": [line.split()[4] for line in read("/proc/self/mountinfo").splitlines()], "umask": os.umask(0o022),
    }
"""
)


def test_a_test_sees_the_same_in_every_cold_run(repository: Repository) -> None:
    """Files, variables, process names and numbers, descriptors, limits and mounts of reproduction and verification do not differ."""
    repository.files(
        {
            "code.py": "x = 1\n",
            "seen.py": SEEN,
            "pytest.ini": "[pytest]\naddopts = -s\n",
            "test_seen.py": """
        import json
        from seen import look
        def test_look():
            print("SEEN " + json.dumps(look()))
            assert False
        def test_other():
            pass
        """,
        }
    )
    head = repository.commit().workspace()
    bench = repository.bench(head)
    patched = head.patched(diff("code.py", "x = 1\n", "x = 2\n"), repository.space())
    first = seen(run_tests(bench, head))
    alone = ["test_seen.py::test_look"]
    for workspace, only in ((patched, []), (patched, alone), (head, alone)):
        again = seen(run_tests(bench, workspace, only=only))
        assert {k: (first[k], again[k]) for k in first if first[k] != again[k]} == {}


def test_a_conftest_in_the_tree_that_fakes_success_finds_nothing_to_repair(repository: Repository) -> None:
    """It is the project's own: what it calls green was green before any patch."""
    repository.files({"shop.py": SHOP, "test_shop.py": TESTS, "conftest.py": FAKING})
    head = repository.commit().workspace()
    found = reproduce(repository.bench(head), head)
    assert found.status in ("passing", "broken")


def test_code_under_test_that_patches_pytest_changes_no_verdict(repository: Repository) -> None:
    """The tree's own code turns every report green in the patched runs only; report and exit status then disagree."""
    repository.files(
        {
            "meddling.py": """
        import _pytest.runner
        import sample
        real = _pytest.runner.TestReport.from_item_and_call
        def fake(item, call):
            report = real(item, call)
            if sample.x == 2:
                report.outcome = "passed"
            return report
        """,
            "sample.py": "x = 1\n",
            "test_code.py": "import meddling, sample\ndef test_x():\n    assert sample.x == 3\n",
        }
    )
    assert Case(repository).change("sample.py", ("1", "2")).level == 0


def test_a_plan_by_command_is_judged_by_its_report_and_status(repository: Repository) -> None:
    repository.files(
        {
            "shop.py": SHOP,
            "run.sh": textwrap.dedent("""
        python - <<'END'
        import shop
        ok = shop.total([10, 20], 10) == 27
        fail = "" if ok else "<failure message='wrong'/>"
        open("report.xml", "w").write(
            f"<testsuite><testcase classname='c' name='t'>{fail}</testcase><testcase classname='c' name='u'/></testsuite>")
        raise SystemExit(0 if ok else 1)
        END
        """),
        }
    )
    bench = replace(repository_bench(repository), plan=TestPlan("command", shell="sh run.sh", junit="report.xml"))
    case = Case(repository, bench)
    assert case.reproduction.failing == ("c::t",)
    assert case.change("shop.py", FIX).accepted
    assert case.change("shop.py", ("// 10\n", "// 7\n")).level == 0


def test_a_command_whose_report_and_status_disagree_proves_nothing(repository: Repository) -> None:
    repository.files(
        {
            "code.py": "x = 1\n",
            "run.sh": """
        echo "<testsuite><testcase name='t'>$(grep -q 'x = 1' code.py && echo '<failure/>')</testcase></testsuite>" > r.xml
        exit 1
        """,
        }
    )
    bench = replace(repository_bench(repository), plan=TestPlan("command", shell="sh run.sh", junit="r.xml"))
    verdict = Case(repository, bench).change("code.py", ("1", "2"))
    assert verdict.level == 0
    assert "do not agree" in failed(verdict)


def repository_bench(repository: Repository) -> Bench:
    from sandbox.limits import MIB, Limits

    limits = Limits(wall_seconds=60, tree_bytes=64 * MIB, temporary_bytes=64 * MIB, memory_bytes=1024 * MIB)
    return Bench(repository.runner, repository.environment, TestPlan("pytest"), limits)


def test_a_reproduction_of_nothing_cannot_be_verified_into_a_fix(shop: Case) -> None:
    """Whoever asks to verify against an empty reproduction gets no accepted patch out of it."""
    empty = Reproduction("broken", "nothing was collected")
    verdict = verify(
        shop.bench, shop.head, empty, diff("shop.py", SHOP, SHOP.replace("// 10", "// 100")), Scope(), Path(shop.repository.space())
    )
    assert not verdict.accepted
