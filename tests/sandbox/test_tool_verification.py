"""What a linter's own fixer may change, and what a check that still fails or a test that breaks makes of its patch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference.patch import unified_diff
from sandbox.frameworks import TestPlan
from sandbox.refusal import Scope
from sandbox.tool_verification import same_program, tool_refusal, verify_tool
from sandbox.verification import Verdict
from tests.sandbox.conftest import Repository

SCOPE = Scope(max_files=1, max_changed_lines=1)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (b"x = [1,2]\n", b"x = [1, 2]\n", True),
        (b"import b\nimport a\n", b"import a\nimport b\n", True),
        (b"from a import c, b\n", b"from a import b\nfrom a import c\n", True),
        (b"import b\nx = 1\nimport a\n", b"import a\nx = 1\nimport b\n", False),
        (b'def f():\n    """Say.  """\n', b'def f():\n    """Say."""\n', True),
        (b'x = """Say.  """\n', b'x = """Say."""\n', False),
        (b"assert f(1) == 2\n", b"assert f(1) == 3\n", False),
        (b"import os\nx = 1\n", b"x = 1\n", False),
        (b"x = (\n", b"x = 1\n", False),
        (None, b"x = 1\n", False),
    ],
)
def test_two_texts_are_one_program(before: bytes | None, after: bytes | None, same: bool) -> None:
    assert same_program("shop.py", before, after) is same


def test_layout_may_change_in_tests_and_set_up_files_and_the_size_does_not_count() -> None:
    changes = {f"tests/test_{n}.py": (b"x = [1,2]\n" * 50, b"x = [1, 2]\n" * 50) for n in range(9)}
    assert tool_refusal({**changes, "setup.py": (b"a=1\n", b"a = 1\n")}, SCOPE) is None


@pytest.mark.parametrize(
    ("path", "before", "after", "reason"),
    [
        ("tests/test_a.py", b"assert f() == 1\n", b"assert f()\n", "more than the layout of a test"),
        ("setup.py", b"import os\nx = 1\n", b"x = 1\n", "which a fix may not change"),
        ("shop.py", b"x = 1\n", b"import pytest\nx = 1\n", "reaches for the interpreter or the judge"),
        ("deploy/run.py", b"x=1\n", b"x = 1\n", "which a fix may not change"),
    ],
)
def test_what_runs_is_held_to_the_rules_of_every_fix(path: str, before: bytes, after: bytes, reason: str) -> None:
    assert reason in (tool_refusal({path: (before, after)}, replace(SCOPE, deny=("deploy/**",))) or "")


def test_nothing_changed_is_no_fix() -> None:
    assert tool_refusal({}, SCOPE) == "the patch changes nothing"


FILES = {
    "shop.py": "def total(prices):\n    return sum( prices )\n",
    "test_shop.py": "from shop import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n",
    "check.py": "import sys\n\nsys.exit('sum( ' in open('shop.py').read())\n",
}


def judged(repository: Repository, after: str, files: dict[str, str] | None = None) -> Verdict:
    head = repository.files({**FILES, **(files or {})}).commit().workspace()
    bench = repository.bench(head)
    check = replace(bench, plan=TestPlan("command", shell="python check.py"))
    patch = unified_diff({"shop.py": (FILES["shop.py"].encode(), after.encode())})
    return verify_tool(bench, check, head, patch, SCOPE, repository.space(), 2)


def test_a_patch_that_satisfies_the_check_and_breaks_no_test_reaches_v3(repository: Repository) -> None:
    verdict = judged(repository, FILES["shop.py"].replace("( prices )", "(prices)"))
    assert (verdict.accepted, verdict.level, verdict.refused_by) == (True, 3, None)
    assert verdict.after is not None
    assert (verdict.before.total, verdict.after.passed) == (1, 1)
    assert [c.detail for c in verdict.checks if c.name == "allowed"] == ["the syntax tree of every changed file stays the same"]


@pytest.mark.parametrize(
    ("after", "level", "refused_by", "detail"),
    [
        ("def total(prices):\n    return sum( prices, )\n", 0, "target", "still fails after it"),
        ("def total(prices):\n    return min(prices)\n", 2, "regressions", "test_total passed before the patch"),
    ],
)
def test_a_patch_that_does_not_is_refused(repository: Repository, after: str, level: int, refused_by: str, detail: str) -> None:
    verdict = judged(repository, after)
    assert (verdict.accepted, verdict.level, verdict.refused_by) == (False, level, refused_by)
    assert detail in verdict.checks[-1].detail


def test_without_tests_that_can_be_run_nothing_is_called_verified(repository: Repository) -> None:
    broken = {"test_shop.py": "import nothing_of_that_name\n"}
    verdict = judged(repository, FILES["shop.py"].replace("( prices )", "(prices)"), broken)
    assert (verdict.accepted, verdict.level, verdict.refused_by) == (False, 2, None)
    assert "the suite cannot be judged" in verdict.checks[-1].detail


def test_a_check_that_passes_without_the_patch_too_refuses_it(repository: Repository) -> None:
    verdict = judged(repository, FILES["shop.py"].replace("( prices )", "(prices)"), {"check.py": "import sys\n\nsys.exit(0)\n"})
    assert (verdict.accepted, verdict.refused_by) == (False, "control")
