"""V0: what a patch may not touch or newly contain, decided from its text alone. Pure."""

from __future__ import annotations

import ast
import doctest
import fnmatch
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sandbox import syntax
from sandbox.forbidden import DELAYS, DELAYS_OF, FORBIDDEN_PATHS, REACHES, REACHES_OF
from sandbox.frameworks.detection import is_test_file
from sandbox.inline_tests import examples, split_tests
from sandbox.shadowing import shadowed
from sandbox.syntax_literals import compared, literals

Change = tuple[bytes | None, bytes | None]
"""A file's content before and after; None where it does not exist."""

_JUDGES = frozenset(
    {"pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "coverage", "unittest", "exceptiongroup", "tomli", "pygments"}
)
_FOLDERS_ON_THE_PATH = ("", "src/", "lib/", "python/")

_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Scope:
    """Paths a repository lets a fix touch: ``allow`` empty means all; ``deny`` wins. Glob patterns, ``**`` crosses folders."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    max_files: int = 5
    max_changed_lines: int = 200


def refusal(changes: Mapping[str, Change], scope: Scope) -> str | None:
    """The first reason why these changes may not be a fix, as one sentence; None when none is found."""
    if not changes:
        return "the patch changes nothing"
    if len(changes) > scope.max_files:
        return f"the patch touches {len(changes)} files; the limit is {scope.max_files}"
    lines = sum(_changed_lines(*change) for change in changes.values())
    if lines > scope.max_changed_lines:
        return f"the patch changes {lines} lines; the limit is {scope.max_changed_lines}"
    for path, change in changes.items():
        reason = _path_refusal(path, scope) or _shadow_refusal(path, change[0]) or _content_refusal(path, *change)
        if reason:
            return reason
    return None


def matches(path: str, pattern: str) -> bool:
    """Whether a glob matches a path; ``**/`` also matches no folder at all."""
    path = path.lower()
    pattern = pattern.lower()
    return fnmatch.fnmatchcase(path, pattern) or (pattern.startswith("**/") and fnmatch.fnmatchcase(path, pattern[3:]))


def _path_refusal(path: str, scope: Scope) -> str | None:
    if is_test_file(path):
        return f"the patch changes a test or its fixtures ({path})"
    for pattern in (*FORBIDDEN_PATHS, *scope.deny):
        if matches(path, pattern):
            return f"the patch touches {path}, which a fix may not change"
    if scope.allow and not any(matches(path, p) for p in scope.allow):
        return f"the patch touches {path}, which is outside the allowed paths"
    return None


def _shadow_refusal(path: str, before: bytes | None) -> str | None:
    """A new module that would be imported in place of the judge's own or the standard library's."""
    folder, _, name = path.rpartition("/")
    if name == "__init__.py":
        folder, _, name = folder.rpartition("/")
    module = name.split(".")[0]
    on_the_path = f"{folder}/".lstrip("/") in _FOLDERS_ON_THE_PATH
    if before is None and (module in _JUDGES or (on_the_path and module in sys.stdlib_module_names)):
        return f"the patch adds {path}, which would be imported in place of the real {module}"
    return None


def _content_refusal(path: str, before: bytes | None, after: bytes | None) -> str | None:
    if after is None:
        return f"the patch deletes {path}"
    if b"\0" in after:
        return f"the patch makes {path} a binary file"
    if path.endswith(".py") and before is not None and _encoding(before) != _encoding(after):
        return f"the patch changes the encoding of {path}"
    old, new = (_words(path, content or b"") for content in (before, after))
    language = syntax.language_of(path)
    reaches, delays = (REACHES_OF[language], DELAYS_OF[language]) if language is not None else (REACHES, DELAYS)
    for words, what in ((reaches, "reaches for the interpreter or the judge"), (delays, "waits, retries or skips")):
        added = sorted(w for w in new if new[w] > old[w] and (w in words or (words is reaches and _names_the_judge(w))))
        if added:
            return f"the patch newly {what} ({added[0]!r} in {path})"
    lost = _examples(path, before or b"") - _examples(path, after)
    if lost:
        return f"the patch changes or removes a documented example that is a test ({min(lost)[0].strip()[:60]!r} in {path})"
    if language is not None:
        return _inline_refusal(path, before or b"", after)
    if path.endswith(".py") and _always_equal(after) > _always_equal(before or b""):
        return f"the patch newly makes objects equal to everything (in {path})"
    return None


def _inline_refusal(path: str, before: bytes, after: bytes) -> str | None:
    """Tests that stand in the file of the code they test, and what only fools tests, in other languages than Python."""
    if Counter(split_tests(path, before)[1]) != Counter(split_tests(path, after)[1]):
        return f"the patch changes a test that stands in {path}"
    lost = examples(path, before) - examples(path, after)
    if lost:
        return f"the patch changes or removes a documented example that is a test (in {path})"
    if syntax.always_true(path, after) > syntax.always_true(path, before):
        return f"the patch newly makes objects equal to everything (in {path})"
    taken = shadowed(path, after) - shadowed(path, before)
    if taken:
        return f"the patch newly redefines {min(taken)}, which tests rely on (in {path})"
    return None


def _names_the_judge(word: str) -> bool:
    word = word.lower()
    return word.startswith("pytest") or "_ledex_" in word


def _parsed(content: bytes) -> ast.Module | None:
    """Python source as Python itself reads it, its encoding line included; None where it cannot be read."""
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, LookupError, MemoryError):
        return None


def _encoding(content: bytes) -> str | None:
    try:
        return tokenize.detect_encoding(io.BytesIO(content).readline)[0]
    except SyntaxError:
        return None


def _examples(path: str, content: bytes) -> Counter[tuple[str, str]]:
    """Doctest examples as (source, expected output): of docstrings in Python, of the whole text elsewhere."""
    if b">>>" not in content:
        return Counter()
    texts = [content.decode("utf-8", "replace")]
    tree = _parsed(content) if path.endswith(".py") else None
    if tree is not None:
        documented = [n for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))]
        texts = [ast.get_docstring(node) or "" for node in documented]
    found: Counter[tuple[str, str]] = Counter()
    for text in texts:
        try:
            found.update((e.source, e.want) for e in doctest.DocTestParser().get_examples(text))
        except ValueError:  # no doctest either
            continue
    return found


def _always_equal(content: bytes) -> int:
    """How many comparison methods return True whatever they are asked."""
    tree = _parsed(content)
    return sum(
        isinstance(node, ast.FunctionDef) and node.name in ("__eq__", "__ne__", "__contains__", "__le__", "__ge__", "__lt__", "__gt__")
        and all(isinstance(s, ast.Return) and isinstance(s.value, ast.Constant) and s.value.value is True
                for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)))
        for node in ast.walk(tree)) if tree is not None else 0  # fmt: skip


def _words(path: str, content: bytes) -> Counter[str]:
    """How often each name is mentioned: by syntax in the languages that are read (names, attributes, imports, short strings), by words
    elsewhere."""
    if syntax.parsed(path, content) is not None:
        return syntax.mentions(path, content)
    tree = _parsed(content) if path.endswith(".py") else None
    return Counter(_mentions(tree) if tree is not None else _WORD.findall(content.decode("utf-8", "replace")))


def _mentions(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield from node.name.split(".")
            if node.asname:
                yield node.asname
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            yield from (p for p in ("/proc", "/dev/fd", "/run/ledex", "_ledex_") if p in text)
            if len(text) < 60:
                yield from _WORD.findall(text)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name


def _changed_lines(before: bytes | None, after: bytes | None) -> int:
    old, new = Counter((before or b"").split(b"\n")), Counter((after or b"").split(b"\n"))
    return sum((old - new).values()) + sum((new - old).values())


def special_cased(changes: Mapping[str, Change], test_literals: frozenset[str]) -> str | None:
    """A literal of the failing tests that a changed file newly compares with, as source text; None when there is none.

    Small numbers, empty values and literals that the file already had are everyday code and do not count.
    """
    for path, (before, after) in changes.items():
        if after is None:
            continue
        old, new = _literals_and_compared(path, before or b""), _literals_and_compared(path, after)
        if old is None or new is None:
            continue
        for literal in new[1] - old[1]:
            if literal in test_literals and literal not in old[0]:
                return literal
    return None


def _literals_and_compared(path: str, content: bytes) -> tuple[set[str], Counter[str]] | None:
    """(the literals of a file's code, those that it compares something with); None where it cannot be read."""
    if path.endswith(".py"):
        module = _parsed(content)
        return None if module is None else (set(_literals(module)), Counter(_compared(module)))
    tree = syntax.parsed(path, split_tests(path, content)[0])
    return None if tree is None else (set(literals(tree)), Counter(compared(tree)))


def readable_changes(changes: Mapping[str, Change]) -> bool:
    """Whether every changed file was there before, and is of a language whose literals are read."""
    return all(
        before is not None and after is not None and (path.endswith(".py") or syntax.knows(path))
        for path, (before, after) in changes.items()
    )  # fmt: skip


def literals_of(sources: Mapping[str, bytes]) -> frozenset[str]:
    """The telling literals of tests, as ``repr``; of a file that holds code too, those of its tests alone."""
    found: set[str] = set()
    for path, content in sources.items():
        if not syntax.knows(path):
            module = _parsed(content)
            found.update(_literals(module) if module is not None else ())
            continue
        inline = split_tests(path, content)[1]
        for part in inline if inline and not is_test_file(path) else (content,):
            tree = syntax.parsed(path, part)
            found.update(literals(tree) if tree is not None else ())
    return frozenset(found)


def _telling(value: object) -> bool:
    if isinstance(value, (bool, type(None), type(...))):
        return False
    if isinstance(value, (int, float)):
        return abs(value) > 2
    return isinstance(value, (str, bytes)) and len(value) > 1


def _literals(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and _telling(node.value):
            yield repr(node.value)


def _compared(tree: ast.AST) -> Iterator[str]:
    """Literals on either side of ==, in, is, their opposites, or as a case pattern: what special-casing looks like."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Compare)
            and any(isinstance(o, (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)) for o in node.ops)
            or isinstance(node, ast.MatchValue)
        ):
            yield from _literals(node)
        elif isinstance(node, ast.Dict):
            for key in node.keys:
                if key is not None:
                    yield from _literals(key)
