"""What a killed process leaves in the temporary folder is removed by the next one, and nothing that is somebody's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.scratch import PREFIX, remove_left, scratch

USER = """
import subprocess, sys, tempfile
from bot.scratch import scratch
with scratch() as folder:
    with open(tempfile.mkdtemp(prefix="ledex-") + "/tree", "w") as file:
        file.write("large")
    child = "import tempfile; print(tempfile.mkdtemp(prefix='ledex-run-'))"
    subprocess.run([sys.executable, "-c", child], check=True, stdout=subprocess.DEVNULL)
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def user_of(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process at work with temporary files below ``folder``."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen([sys.executable, "-c", USER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        try:
            assert user.stdout is not None
            yield user, Path(user.stdout.readline().strip())
        finally:
            user.kill()


def test_everything_temporary_of_a_process_and_its_children_goes_with_it(tmp_path: Path) -> None:
    with user_of(tmp_path) as (user, folder):
        assert folder.parent == tmp_path
        assert len(list(folder.iterdir())) == 2
        assert list(tmp_path.iterdir()) == [folder]
        assert user.stdin is not None
        user.stdin.close()
        assert user.wait(30) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    with user_of(tmp_path) as (killed, left), user_of(tmp_path) as (_, used):
        assert remove_left(tmp_path) == 0
        killed.kill()
        killed.wait(30)
        assert len(list(left.iterdir())) == 2
        assert remove_left(tmp_path) == 1
        assert list(tmp_path.iterdir()) == [used]
        assert len(list(used.iterdir())) == 2


def test_other_folders_files_and_links_are_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / "ledex-abc").mkdir()
    assert remove_left(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 4


def test_the_temporary_folder_is_what_it_was_before(tmp_path: Path) -> None:
    before = tempfile.gettempdir(), os.environ.get("TMPDIR")
    with scratch() as folder:
        assert Path(tempfile.mkdtemp()).parent == folder
        assert folder.stat().st_mode & 0o777 == 0o711
    assert (tempfile.gettempdir(), os.environ.get("TMPDIR")) == before
    assert not folder.exists()
