"""The demonstration: a sample repository with planted bugs, and a GitHub that runs here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_SAMPLE = Path(__file__).parent / "sample"
_LEFT_OUT = ("__pycache__", ".pytest_cache")
_PLANTED = (
    ("shop/prices.py", "(100 - percent) // 10\n", "(100 - percent) // 100\n"),
    ("shop/receipt.py", "return sum(amounts) / len(amounts)\n", "return sum(amounts) / len(amounts) if amounts else 0\n"),
    ("shop/stock.py", "self.items[name] <= count", "self.items[name] < count"),
)
"""File, what stands there in the sample, and what stood there before somebody broke it."""


def lay_out(target: Path) -> Path:
    """Make the sample repository at ``target`` (which must not exist) with one commit, and return it."""
    shutil.copytree(_SAMPLE, target, ignore=shutil.ignore_patterns("*.pyc", *_LEFT_OUT))
    who = {"GIT_AUTHOR_NAME": "Corner Shop", "GIT_AUTHOR_EMAIL": "shop@example.org", "GIT_COMMITTER_NAME": "Corner Shop",
           "GIT_COMMITTER_EMAIL": "shop@example.org", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}  # fmt: skip
    for arguments in (("init", "-q", "-b", "main", "."), ("add", "-A"), ("commit", "-q", "-m", "Open the shop")):
        subprocess.run(["git", *arguments], cwd=target, env={**os.environ, **who}, check=True, capture_output=True)
    return target


def broken_files() -> dict[str, str]:
    """The sample as it is, path -> text."""
    paths = (p for p in sorted(_SAMPLE.rglob("*")) if p.is_file() and p.suffix != ".pyc" and not set(p.parts) & set(_LEFT_OUT))
    return {p.relative_to(_SAMPLE).as_posix(): p.read_text(encoding="utf-8") for p in paths}


def planted() -> list[str]:
    """The files with a bug, one each."""
    return [path for path, _, _ in _PLANTED]


def sound_files() -> dict[str, str]:
    """The sample before its bugs were planted: all its tests pass."""
    files = broken_files()
    for path, wrong, right in _PLANTED:
        if files[path].count(wrong) != 1:
            raise ValueError(f"{path} of the sample does not hold {wrong!r} once: bring the table of planted bugs up to date")
        files[path] = files[path].replace(wrong, right)
    return files
