"""What is told of a test that ran: its error in a few lines, and the lines of the tree that it ran.

Loaded by ``_ledex_pytest.py`` and ``_ledex_unittest.py``. Standard library only, Python 3.8+, beside coverage itself.
"""

from __future__ import annotations

import os
import re
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from collections.abc import Callable
    from typing import Any

    from coverage import Coverage

    Record = dict[str, Any]
    Send = Callable[..., None]

TEXT = 6000
MESSAGE = 2000
FRAMES = 60


def short(value: object, limit: int) -> str:
    """The text of a value, with its middle left out beyond ``limit`` characters."""
    try:
        text = str(value)
    except Exception:
        text = "<no text>"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else text[: limit // 2] + " [...] " + text[-limit // 2:]


def relative(path: str, root: str) -> str:
    """The path below ``root`` if it lies there, else the path itself."""
    path = os.path.realpath(path) if os.path.isabs(path) else path
    return path[len(root) + 1:] if path.startswith(root + os.sep) else path


def describe(exception: BaseException, root: str) -> Record:
    """Exception type, message and frames (outermost first) of what a test raised."""
    entries = traceback.extract_tb(exception.__traceback__)
    frames: list[list[Any]] = [[relative(e.filename, root), e.lineno or 0, e.name] for e in entries]
    inside = [n for n, frame in enumerate(frames) if not os.path.isabs(frame[0])]
    frames = frames[inside[0]:] if inside else frames  # the framework's own frames above the test say nothing
    return {"exception": type(exception).__name__, "message": short(exception, MESSAGE), "frames": frames[-FRAMES:]}


class Lines:
    """Which lines of the tree each test ran, by coverage.py's contexts."""

    def __init__(self, wanted: bool, root: str) -> None:
        self.root = root
        self.coverage: Coverage | None = None
        if wanted:
            import coverage

            self.coverage = coverage.Coverage(data_file=None, config_file=False, include=[os.path.join(root, "*")])
            self.coverage.start()

    def switch(self, test_id: str) -> None:
        """Count the lines that run from now on for this test."""
        if self.coverage is not None:
            self.coverage.switch_context(test_id)

    def send(self, send: Send, failed: list[str], limit: int = 2000) -> None:
        """Send, file by file, the lines of every file that a failed test ran, for the failed and up to ``limit`` tests."""
        if self.coverage is None:
            return
        self.coverage.stop()
        data = self.coverage.get_data()
        contexts = data.measured_contexts()
        failing = [c for c in failed if c in contexts]
        files: set[str] = set()
        for context in failing:
            data.set_query_contexts(["^" + re.escape(context) + "$"])
            files.update(f for f in data.measured_files() if data.lines(f))
        data.set_query_contexts(None)
        numbers: dict[str, int] = {}
        for path in sorted(files):
            lines: dict[int, list[int]] = {}
            for line, names in data.contexts_by_lineno(path).items():
                for name in names:
                    if name and (name in numbers or len(numbers) < limit or name in failing):
                        numbers.setdefault(name, len(numbers))
                        lines.setdefault(numbers[name], []).append(line)
            send(kind="coverage", path=relative(path, self.root), lines={str(k): v for k, v in lines.items()})
        send(kind="contexts", tests=sorted(numbers, key=numbers.__getitem__))
