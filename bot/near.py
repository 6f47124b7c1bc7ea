"""Which files a triaged failure names: of a repository with several projects they tell which ones to build. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bot.triage import Triage
from sandbox.report import Failure

_MOST = 200
_FILE = re.compile(r"\.(?:py|[cm]?[jt]sx?|go|rs|java|kt|groovy|scala)$")
_CLASS = re.compile(r"[a-z][\w]*(?:\.[\w$]+)+")
"""A class with its package, as JUnit names it."""


def named_paths(triaged: Triage) -> tuple[str, ...]:
    """Paths of frames and of test ids, of every cause of the run that failing tests or builds are, as the log writes them."""
    causes = [t for t in (triaged, *triaged.others) if t.kind in ("test", "build", "type")]
    found = dict.fromkeys(path for cause in causes for failure in cause.failures for path in _paths(failure))
    return tuple(found)[:_MOST]


def _paths(failure: Failure) -> Iterable[str]:
    yield from (f.path for f in reversed(failure.frames))
    head, separator, _ = failure.test_id.partition("::")
    if separator and _FILE.search(head):
        yield head
    elif separator and _CLASS.fullmatch(head):
        yield head.partition("$")[0].replace(".", "/") + ".java"
