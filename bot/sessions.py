"""Every test session in a step's output, in whatever language: pytest and unittest, then Go, Rust, Java and JavaScript. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bot import go_text, java_text, rust_text, script_text
from bot.failure_text import Session
from bot.failure_text import read_sessions as read_python

_READERS = (go_text.sessions, rust_text.sessions, java_text.sessions, script_text.sessions)


def read_sessions(lines: Sequence[str]) -> tuple[Session, ...]:
    """The sessions in the order of the lines. Each reader begins at words of its own tool."""
    found = [*read_python(lines), *(session for reader in _READERS for session in reader(lines))]
    return tuple(sorted(found, key=lambda s: s.start))
