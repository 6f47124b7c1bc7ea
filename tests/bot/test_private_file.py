"""Private files: whole or not at all, and nobody else's to read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.private_file import finished_beside, write_private


def test_a_private_file_is_replaced_whole_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"an older and longer one")
    file.chmod(0o644)
    before = os.umask(0)
    try:
        write_private(file, b"new")
    finally:
        os.umask(before)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_was_not_put_in_its_place_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with finished_beside(tmp_path / "key", b"new") as finished:
            assert finished.read_bytes() == b"new"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert list(tmp_path.iterdir()) == []
