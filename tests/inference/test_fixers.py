"""Which version of a fixer is used, and what people read of it. The whole of it runs in ``tests/end_to_end/test_app.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.fixers import Fixer, changes_of, explain, installed_version, pinned_version, with_tool
from inference.policy import Policy
from sandbox.reproduction import Reproduction
from sandbox.runner import Execution
from sandbox.workspace import Workspace

FIXER = Fixer("ruff format", ("ruff", "format", "--", "."), ("ruff", "format", "--check", "--", "."), "ruff")


def tree(folder: Path, **files: str) -> Workspace:
    names = {name.replace("__", "."): text for name, text in files.items()}
    for name, text in names.items():
        (folder / name).write_text(text, encoding="utf-8")
    return Workspace(folder, "tree", tuple(names))


@pytest.mark.parametrize(
    ("log", "version"),
    [
        ("Successfully installed pluggy-1.5.0 ruff-0.6.9\n", "0.6.9"), (" + ruff==0.6.9\n", "0.6.9"),
        ("Successfully installed ruff-lsp-0.0.62\n", ""), ("ruff==$(cat v)\n", ""), ("", ""),
    ],
)  # fmt: skip
def test_the_log_says_which_version_was_installed(log: str, version: str) -> None:
    assert installed_version(log, "ruff") == version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("repos:\n- repo: https://github.com/astral-sh/ruff-pre-commit\n  rev: v0.6.9\n", "0.6.9"),
        ("repos:\n  - repo: 'https://github.com/astral-sh/ruff-pre-commit'\n    rev: 0.6.9\n", ""),
        ("repos:\n- repo: https://github.com/psf/black\n  rev: 24.1.0\n", ""),
        ("repos:\n- repo: https://github.com/astral-sh/ruff-pre-commit\n  rev: main\n", ""),
    ],
)
def test_else_the_hooks_of_pre_commit_say_it(tmp_path: Path, text: str, version: str) -> None:
    (tmp_path / ".pre-commit-config.yaml").write_text(text, encoding="utf-8")
    assert pinned_version(Workspace(tmp_path, "tree", (".pre-commit-config.yaml",)), "ruff") == version


def test_the_tool_is_installed_from_wheels_after_the_projects_own_set_up(tmp_path: Path) -> None:
    policy, source = with_tool(Policy(), Fixer(**{**vars(FIXER), "version": "0.6.9"}), tree(tmp_path))
    [line] = policy.environment.setup
    assert line.endswith("python -m pip install --only-binary :all: ruff==0.6.9")
    assert source == "as in the log of CI"


def test_without_a_known_version_the_projects_own_tool_goes_first(tmp_path: Path) -> None:
    policy, source = with_tool(Policy(), FIXER, tree(tmp_path))
    assert (policy.environment.setup[0].startswith("command -v ruff || "), source) == (True, "")


def test_only_files_that_the_tree_had_are_changed(tmp_path: Path) -> None:
    head = tree(tmp_path, a__py="x=1\n", b__py="y = 1\n")
    written = {"tmp/ledex-changed/a.py": b"x = 1\n", "tmp/ledex-changed/./b.py": b"y = 1\n", "tmp/ledex-changed/.cache/c.py": b"",
               "tmp/ledex-changed/../../etc/passwd": b"x"}  # fmt: skip
    execution = Execution(0, None, "exited", b"", b"", b"", written, 0.1, 0)
    assert changes_of(head, execution) == {"a.py": (b"x=1\n", b"x = 1\n")}


def test_what_is_said_names_check_fixer_and_version() -> None:
    said = explain(FIXER, Reproduction("failing", "", passes_on_base=True), "0.6.9", "as in the log of CI")
    assert said == (
        "`ruff format --check -- .` fails on this commit, and passes on the base. The patch is what `ruff format -- .` changes, "
        "by ruff 0.6.9, as in the log of CI; no model had a part in it."
    )
    assert "which may be another than CI's" in explain(FIXER, Reproduction("failing", ""), "0.6.9", "")
