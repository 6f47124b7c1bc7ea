"""A git repository that a test fills and commits; what it is for is added by those who derive from it."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass
class GitRepository:
    """A work tree in ``folder``, which becomes a repository with its first commit."""

    folder: Path

    def files(self, files: Mapping[str, str | bytes]) -> Self:
        """Write files; text loses the indentation that it has in the test, bytes are written as they are."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())
        return self

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True)
        return os.fsdecode(done.stdout).strip()

    def commit(self) -> Self:
        """Commit everything that is not ignored."""
        if not (self.folder / ".git").exists():
            self.git("init", "-q")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "state")
        return self
