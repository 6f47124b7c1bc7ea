"""The files of a workspace as a reader of code sees them: decoded, split, with the names that they define; and paths out of test output.

Files that speak to coding agents (AGENTS.md, CLAUDE.md, .cursorrules and their like) belong to whoever wrote the pull request: a model that
read them would take orders from it. They, all hidden folders and all prose are refused here, which is the only way to a file's text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from inference.blocks import Block, definitions, function_at, split_lines
from inference.templates import functions
from sandbox import WorkspaceError, syntax
from sandbox.report import Failure
from sandbox.source_text import readable
from sandbox.workspace import Workspace

MOST_BYTES = 4 << 20
"""Larger files were made by a machine: no person, and no model, repairs them."""
_PROSE = (".md", ".mdc", ".mdx", ".markdown", ".txt", ".rst", ".adoc", ".org", ".log", ".lock", ".svg", ".map", ".snap")
_INSTRUCTIONS = re.compile(
    r"(?:^|/)(?:agents?|claude|gemini|copilot|cursor|codex|aider|windsurf|cline|conventions|llms|skills?)"
    r"(?:[._-](?:local|override|instructions|rules|full|conf))*(?:\.(?:ya?ml|json|toml|\w*rules))?$", re.I)  # fmt: skip
_TEST = re.compile(
    r"(?:^|/)(?:__tests__|tests?|testing|specs?|e2e)/|(?:^|[/._-])(?:tests?|specs?|conftest)(?=[._-][^/]*$)|(?:Tests?|TestCase|Spec)\.\w+$"
    r"|(?:^|/)Test[A-Z]\w*\.\w+$")  # fmt: skip
_FOREIGN = re.compile(r"(?:^|/)(?:node_modules|site-packages|dist-packages|vendor|\.cargo|rustlib|\.m2|\.venv)/|^node:")
_PLACE = re.compile(
    r'(?:File "([^"\n]{1,300})", line (\d{1,7})|((?:[A-Za-z]:)?[\w./\\@+~-]{1,300}\.[A-Za-z]\w{0,7})(?::|\((?=\d))(\d{1,7}))')
_IMPORT = re.compile(
    r"\s*(?:import|from|use|using|require\w*|include|load|mod|package|extern|source|open)\b"
    r"|\s*#\s*include\b|.*\brequire\s*\(")
_WORD = re.compile(r"[A-Za-z_]\w*")
_AFFIX = re.compile(r"^(?:test_?|Test)|(?:[._-]?(?:tests?|specs?)|Tests?|TestCase|Spec)$", re.I)
MOST_RELATED = 10


def may_be_read(path: str) -> bool:
    """Whether the text of this file may go to a model: no hidden path, no prose, nothing written for agents."""
    return not (
        any(part.startswith(".") for part in path.split("/")) or path.lower().endswith(_PROSE) or _INSTRUCTIONS.search(path)
    )  # fmt: skip


def is_test(path: str) -> bool:
    """Whether a path looks like a test or its fixtures, in any language."""
    return bool(_TEST.search(path))


def is_import(line: str) -> bool:
    return bool(_IMPORT.match(line[:300]))


def words_of(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text))


class Sources:
    """The readable files of a workspace, each read once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._texts: dict[str, str | None] = {}
        self._lines: dict[str, list[str]] = {}
        self._definitions: dict[str, tuple[Block, ...]] = {}
        self._words: dict[tuple[str, Block], frozenset[str]] = {}

    @cached_property
    def files(self) -> tuple[str, ...]:
        return tuple(sorted(f for f in self._workspace.files if self._workspace.exists(f) and may_be_read(f)))

    @cached_property
    def _by_name(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for file in self.files:
            found.setdefault(file.rsplit("/", 1)[-1], []).append(file)
        return found

    def text(self, path: str) -> str:
        """The decoded text; empty for what may not be read, is no text, or is too large."""
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path] or ""

    def _read(self, path: str) -> str | None:
        if not may_be_read(path):
            return None
        try:
            content = self._workspace.read(path)
        except (WorkspaceError, OSError):
            return None
        if len(content) > MOST_BYTES or b"\0" in content:
            return None
        try:
            return readable(content)
        except LookupError:  # a declared encoding that Python knows, but not as one of texts
            return content.decode("utf-8", "replace")

    def lines(self, path: str) -> list[str]:
        if path not in self._lines:
            self._lines[path] = split_lines(self.text(path)) if self.text(path) else []
        return self._lines[path]

    def words(self, path: str, block: Block) -> frozenset[str]:
        """The identifiers that a block mentions."""
        if (path, block) not in self._words:
            self._words[path, block] = words_of("\n".join(self.lines(path)[block.first - 1 : block.last]))
        return self._words[path, block]

    def definitions(self, path: str) -> tuple[Block, ...]:
        """What a file defines; of Python, functions end where its own parser says."""
        if path not in self._definitions:
            self._definitions[path] = definitions_of(path, self.text(path), self.lines(path))
        return self._definitions[path]

    def function_at(self, path: str, line: int) -> Block:
        """The function around a line; the lines near it where there is none."""
        return function_at(self.lines(path), line, self.definitions(path))

    def resolve(self, raw: str) -> str | None:
        """The file that a path out of test output means: its longest end that is a file of the tree; of a shorter one, the only file
        that ends so. A file at the top needs the tree's own folder before it: names such as index.js are everywhere."""
        path = raw.replace("\\", "/").removeprefix("file://").removeprefix("./")
        if _FOREIGN.search(path):
            return None
        parts = [p for p in path.split("/") if p not in ("", ".")]
        if not parts or ".." in parts:
            return None
        named = self._by_name.get(parts[-1], [])
        whole = [f for f in named if parts[-len(f.split("/")) :] == f.split("/") and
                 ("/" in f or f == path or parts[-2:-1] == [self._workspace.name])]  # fmt: skip
        if whole:
            return max(whole, key=len)
        tails = [f for f in named if f.split("/")[-len(parts) :] == parts]  # a package of its own, or a bare name
        return tails[0] if len(tails) == 1 and not path.startswith("/") else None

    def places(self, failure: Failure, output: str = "") -> list[tuple[str, int]]:
        """(path, line) of the tree's own files that a failure names, innermost first, each once."""
        raw = [(f.path, f.line) for f in failure.frames]
        text = failure.text or output
        found = list(_placed(raw, self.resolve))
        found += _placed(((m[1] or m[3], int(m[2] or m[4])) for m in _PLACE.finditer(f"{failure.message}\n{text}"[:40_000])), self.resolve)
        # Python's tracebacks end where it was raised, everybody else's begin there.
        found = list(dict.fromkeys(found))
        python = [p for p in found if p[0].endswith(".py")]
        return [*reversed(python), *(p for p in found if not p[0].endswith(".py"))]

    def related(self, path: str) -> list[str]:
        """The project's files that a file imports, includes, or is the test of, by name; nearest folders first."""
        lines = self.lines(path)
        wanted = words_of("\n".join(line[:300] for line in lines[:400] if is_import(line)))
        name = path.rsplit("/", 1)[-1]
        stem, suffix = _stem(name), name.rpartition(".")[2]
        bare = _AFFIX.sub("", stem)
        folder = path.rpartition("/")[0]
        found = []
        for file in self.files:
            own, _, ending = file.rsplit("/", 1)[-1].rpartition(".")
            if file == path or not own or not _akin(suffix, ending):
                continue
            here = file.rpartition("/")[0]
            key = here.rsplit("/", 1)[-1] if own in ("__init__", "index", "mod", "lib") else own
            if key in wanted or own == bare or suffix in ("go", "java", "kt", "c") and here == folder:
                found.append((own != bare, is_test(file), -_shared(folder, here), file))
        return [f for *_, f in sorted(found)[:MOST_RELATED]]


def definitions_of(path: str, text: str, lines: Sequence[str]) -> tuple[Block, ...]:
    """What the file ``path`` with these ``lines`` defines: by its grammar where one reads it without a mistake, else by indentation; of
    Python, functions end where its own parser says."""
    content = "\n".join(lines).encode("utf-8", "replace")  # the grammars end lines at \n alone
    if syntax.knows(path) and not syntax.broken(path, content) and (by_grammar := syntax.definitions(path, content)):
        return tuple(Block(d.first, d.last, d.name, d.kind) for d in by_grammar)
    found = definitions(lines)
    exact = tuple(
        Block(line_of(text, f.start), line_of(text, max(f.end - 1, f.start)), f.qualname.rsplit(".", 1)[-1])
        for f in (functions(path, text) if path.endswith(".py") else ())
        if f.qualname != "<module>"
    )
    return tuple(sorted([*(b for b in found if b.kind != "function"), *exact])) if exact else found


def line_of(text: str, offset: int) -> int:
    """The line (from 1) of a character offset."""
    return len(split_lines(text[:offset] + "."))


def _placed(raw: Iterable[tuple[str, int]], resolve: Callable[[str], str | None]) -> Iterator[tuple[str, int]]:
    seen: dict[str, str | None] = {}
    for name, line in raw:
        if name not in seen:
            seen[name] = resolve(name)
        path = seen[name]
        if path is not None and line > 0:
            yield path, line


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _akin(one: str, other: str) -> bool:
    """Whether files of these suffixes can import each other."""
    families = ({"js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "vue"}, {"c", "h", "cc", "cpp", "cxx", "hpp", "hh"},
                {"java", "kt", "scala"}, {"py", "pyi"})  # fmt: skip
    return one == other or any(one in family and other in family for family in families)


def _shared(one: str, other: str) -> int:
    count = 0
    for a, b in zip(one.split("/"), other.split("/"), strict=False):
        if a != b:
            break
        count += 1
    return count
