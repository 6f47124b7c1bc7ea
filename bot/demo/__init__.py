"""The demonstration: a sample repository with planted bugs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_SAMPLE = Path(__file__).parent / "sample"


def lay_out(target: Path) -> Path:
    """Make the sample repository at ``target`` (which must not exist) with one commit, and return it."""
    shutil.copytree(_SAMPLE, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".pytest_cache"))
    who = {"GIT_AUTHOR_NAME": "Corner Shop", "GIT_AUTHOR_EMAIL": "shop@example.org", "GIT_COMMITTER_NAME": "Corner Shop",
           "GIT_COMMITTER_EMAIL": "shop@example.org", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}  # fmt: skip
    for arguments in (("init", "-q", "-b", "main", "."), ("add", "-A"), ("commit", "-q", "-m", "Open the shop")):
        subprocess.run(["git", *arguments], cwd=target, env={**os.environ, **who}, check=True, capture_output=True)
    return target
