"""What a run leaves behind in this process: a digest of the project's data to compare, and its caches to empty.

Loaded by ``_ledex_serve.py``. Standard library only, Python 3.8+.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from typing import Any

SNAPSHOT_NODES = 20000
CACHES: list[Any] = []


def project_modules(root: str) -> list[str]:
    """Names of loaded modules whose file lies in the tree, in order of import."""
    return [
        name for name, module in list(sys.modules.items())
        if type(module) is types.ModuleType and isinstance(getattr(module, "__file__", None), str)
        and os.path.realpath(str(module.__file__)).startswith(root + os.sep)]


class Digest:
    """What a walk through data has met, as parts to compare; an object met again is not entered again."""

    def __init__(self) -> None:
        self.parts: list[object] = []
        self.seen: set[int] = set()
        self.left = SNAPSHOT_NODES

    def walk(self, value: Any, depth: int) -> None:
        """Add a value and what it holds. Any: everything a project may keep comes here."""
        if self.left <= 0 or depth > 6:
            return
        self.left -= 1
        kind = type(value)
        if value is None or kind in (bool, int, float, complex, str, bytes):
            self.parts.append(hash((kind.__name__, value)))
            return
        if id(value) in self.seen:
            return
        self.seen.add(id(value))
        self.parts.append(kind.__name__)
        if kind in (set, frozenset):
            self.parts += [len(value), hash(frozenset(id(v) for v in value))]
        elif isinstance(value, (list, tuple)):
            self.parts.append(len(value))
            for item in list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value):
                self.walk(item, depth + 1)
        elif isinstance(value, dict):
            self.parts.append(dict.__len__(value))
            for key, item in list(dict.items(value)):
                self.walk(key, depth + 1)
                self.walk(item, depth + 1)
        elif isinstance(value, types.FunctionType):
            self.walk(value.__dict__, depth + 1)
        elif isinstance(value, type):
            for key in sorted(k for k in vars(value) if not k.startswith("__") and k != "_abc_impl"):
                self.parts.append(key)
                self.walk(vars(value)[key], depth + 1)
        elif not isinstance(value, types.ModuleType):
            inner = getattr(value, "__dict__", None)
            if type(inner) is dict:
                self.walk(inner, depth + 1)


def snapshot(root: str) -> int:
    """A digest of the data that project modules and the process hold; two equal digests mean that a run left nothing behind."""
    digest = Digest()
    for name in sorted(project_modules(root)):
        digest.parts.append(name)
        values = vars(sys.modules[name])
        for key in sorted(values):
            if not key.startswith("__") and not key.startswith("@"):
                digest.parts.append(key)
                digest.walk(values[key], 0)
    digest.walk(dict(os.environ), 0)
    digest.parts.append(os.getcwd())
    for folder, folders, files in os.walk(root):
        folders[:] = [d for d in folders if d not in ("__pycache__", ".git", "node_modules")][:200]
        digest.parts.extend((folder, f) for f in files if not f.endswith(".pyc"))
        if len(digest.parts) > 5 * SNAPSHOT_NODES:
            break
    return hash(tuple(map(repr, digest.parts)))


def clear_caches() -> None:
    """Empty the project's lru_caches, which remember what other code answered."""
    for wrapper in CACHES:
        wrapper.cache_clear()


def find_caches(root: str) -> None:
    """Note the lru_caches around functions of the tree, for ``clear_caches``."""
    CACHES[:] = []
    for candidate in gc.get_objects():
        if isinstance(candidate, functools._lru_cache_wrapper):
            code = getattr(getattr(candidate, "__wrapped__", None), "__code__", None)
            if code is not None and os.path.realpath(code.co_filename).startswith(root + os.sep):
                CACHES.append(candidate)
