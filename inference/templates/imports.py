"""Bucket 5 for names: near misses and missing imports for NameError, AttributeError and ImportError."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches

from inference.edits import Edit, FunctionSource
from inference.templates.calls import METHOD_SIBLINGS
from inference.templates.facts import Facts
from inference.templates.layout import before, is_docstring
from inference.templates.operators import Draft
from inference.templates.unit import Statement

TYPES: dict[str, type] = {
    "str": str, "list": list, "dict": dict, "set": set, "tuple": tuple, "int": int, "float": float, "bytes": bytes, "frozenset": frozenset,
    "bytearray": bytearray, "complex": complex, "generator": type(_ for _ in ()),
}  # fmt: skip
RENAMED = dict(
    pair.split(":")
    for pair in (
        "iteritems:items itervalues:values iterkeys:keys clock:perf_counter getargspec:getfullargspec letters:ascii_letters "
        "lowercase:ascii_lowercase uppercase:ascii_uppercase isAlive:is_alive izip:zip imap:map ifilter:filter "
        "tostring:tobytes fromstring:frombytes encodestring:encodebytes decodestring:decodebytes maxint:maxsize unicode:str "
        "xrange:range raw_input:input basestring:str long:int unichr:chr reduce:functools.reduce warn:warning "
        "izip_longest:zip_longest getcwdu:getcwd add:append push:append trim:strip toLowerCase:lower append:add next:__next__"
    ).split()
)
"""Names of other versions and other languages."""
ABSTRACT = frozenset(
    "Mapping MutableMapping Iterable Iterator Callable Sequence MutableSequence Set MutableSet Hashable Container Sized Generator".split()
)
EXPORTS = {
    "collections": "defaultdict Counter OrderedDict deque namedtuple ChainMap",
    "functools": "reduce partial wraps lru_cache cached_property total_ordering cmp_to_key",
    "itertools": "chain combinations permutations product groupby accumulate count "
    "cycle repeat islice zip_longest takewhile dropwhile starmap",
    "math": "sqrt floor ceil pi gcd log factorial isclose inf sin cos exp hypot comb prod",
    "typing": "List Dict Set Tuple Optional Union Any Callable Iterable Iterator Sequence Mapping TypeVar Generic",
    "datetime": "datetime timedelta date timezone",
    "pathlib": "Path PurePath",
    "dataclasses": "dataclass field asdict replace",
    "enum": "Enum IntEnum auto",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "copy": "deepcopy",
    "contextlib": "contextmanager suppress",
    "collections.abc": " ".join(sorted(ABSTRACT)),
    "operator": "itemgetter attrgetter mul add",
    "heapq": "heappush heappop heapify nlargest nsmallest",
    "bisect": "bisect_left bisect_right insort",
    "abc": "ABC abstractmethod",
    "string": "ascii_letters ascii_lowercase digits punctuation",
    "random": "randint choice shuffle",
    "json": "dumps loads",
    "time": "sleep perf_counter",
    "io": "StringIO BytesIO",
    "uuid": "uuid4",
    "urllib.parse": "urlparse urljoin quote unquote urlencode parse_qs",
    "textwrap": "dedent",
    "statistics": "mean median mode stdev",
}
HOME = {name: module for module, names in EXPORTS.items() for name in names.split()}


def missing_names(facts: Facts, function: FunctionSource, statements: list[Statement]) -> Iterator[Draft]:
    name, message = function.exception.rpartition(".")[2], function.message
    quoted = re.findall(r"'([^']+)'", message)
    if name in ("NameError", "UnboundLocalError") and quoted:
        yield from _undefined(facts, quoted[0], statements, name)
    elif name == "AttributeError" and quoted:
        yield from _attributes(facts, quoted, statements)
    elif name in ("ImportError", "ModuleNotFoundError") and quoted:
        yield from _imports(facts, quoted[0])
    elif name == "KeyError":
        yield from _keys(facts, message.strip(), statements)


def _undefined(facts: Facts, missing: str, statements: list[Statement], exception: str) -> Iterator[Draft]:
    unit = facts.unit
    known = {name for name, about in facts.names.items() if about.rank < 3} | {name for name in dir(builtins) if not name.startswith("_")}
    known |= {name for site in unit.sites for name in site.bound}
    close = get_close_matches(missing, sorted(known - {missing}), n=6, cutoff=0.5)
    renamed = [RENAMED[missing]] if missing in RENAMED else []
    for statement in statements:
        for site in statement.sites:
            if isinstance(site.node, ast.Name) and site.node.id == missing:
                for at, new in enumerate([*renamed, *close]):
                    yield 0.3 + 0.2 * at, "near-name", (unit.splice(site.start, site.end, new),)
                if missing in facts.attributes.get("self", ()) and "self" in facts.parameters:
                    yield 0.1, "missing-self", (unit.splice(site.start, site.start, "self."),)
                if unit.owner is not None:
                    yield 0.8, "missing-self", (unit.splice(site.start, site.start, f"{unit.owner.name}."),)
                if isinstance(site.node.ctx, ast.Load) and isinstance(site.parent, ast.Call | ast.Subscript) and site.role != "func":
                    yield 1.2, "quote", (unit.splice(site.start, site.end, f"'{missing}'"),)
    yield from _import_lines(facts, missing)
    body = [one for one in unit.statements if one.parent is not None and one.parent.node is unit.node and not is_docstring(one)]
    places = [*body[:1], *(one for one in body if isinstance(one.node, ast.For | ast.While | ast.If | ast.Try) and one is not body[0])][:4]
    values = ("0", "[]", "None", "''", "{}", "1", "False", "set()", "True")
    uses = {type(site.parent).__name__ for site in unit.sites if isinstance(site.node, ast.Name) and site.node.id == missing}
    for at, place in enumerate(places):
        for order, value in enumerate(values):
            edit = before(unit, place, f"{missing} = {value}")
            if edit is not None and missing.isidentifier():
                extra = 0.0 if exception == "UnboundLocalError" or "AugAssign" in uses else 0.8
                yield 0.5 + 0.1 * order + 0.3 * at + extra, "initialise", (edit,)
    if exception == "UnboundLocalError" and body:
        for word in ("global", "nonlocal"):
            edit = before(unit, body[0], f"{word} {missing}")
            outer = any(
                isinstance(node, ast.Assign) and missing in {target.id for target in node.targets if isinstance(target, ast.Name)}
                for node in unit.source.tree.body
            )
            if edit is not None and outer and word == "global":
                yield 0.2, "global", (edit,)


def _import_lines(facts: Facts, missing: str) -> Iterator[Draft]:
    """The import of a standard-library module or of a well-known name in one, put behind the file's other imports."""
    at = _import_place(facts)
    end = facts.unit.source.line_end(0)
    lead = "" if at == 0 or facts.unit.text[at - 1] in "\r\n\ufeff" else end
    if missing in sys.stdlib_module_names and not missing.startswith("_"):
        yield 0.1, "import", (Edit(at, at, f"{lead}import {missing}{end}"),)
    if missing in HOME:
        yield 0.2, "import", (Edit(at, at, f"{lead}from {HOME[missing]} import {missing}{end}"),)


def _import_place(facts: Facts) -> int:
    source, place = facts.unit.source, source_start(facts)
    for node in facts.unit.source.tree.body:
        first = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node is source.tree.body[0]
        if isinstance(node, ast.Import | ast.ImportFrom) or first:
            place = source.next_line(source.span(node)[1] - 1)
        else:
            break
    return place


def source_start(facts: Facts) -> int:
    """Behind a byte-order mark, a ``#!`` line and the comments that open a file."""
    body = facts.unit.source.tree.body
    return facts.unit.source.line_start(facts.unit.source.span(body[0])[0]) if body else 0


def _attributes(facts: Facts, quoted: list[str], statements: list[Statement]) -> Iterator[Draft]:
    owner, missing = quoted[0], quoted[1] if len(quoted) > 1 else quoted[0]
    suggested = quoted[2:3]
    known: set[str] = {name for name in dir(TYPES[owner]) if not name.startswith("_")} if owner in TYPES else set()
    for node in ast.walk(facts.unit.source.tree):
        if isinstance(node, ast.ClassDef) and node.name == owner:
            known |= {member.name for member in node.body if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)}
            known |= {
                inner.attr
                for inner in ast.walk(node)
                if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "self"
            }
    if owner == "NoneType":
        return
    if not known:
        known = {name for names in facts.attributes.values() for name in names}
    siblings = [name for name, _ in METHOD_SIBLINGS.get(missing, ()) if owner not in TYPES or name in known]
    renamed = [RENAMED[missing]] if missing in RENAMED and (owner not in TYPES or RENAMED[missing] in known) else []
    close = [*suggested, *renamed, *siblings[:4], *get_close_matches(missing, sorted(known - {missing}), n=6, cutoff=0.5)]
    for statement in statements:
        for site in statement.sites:
            if isinstance(site.node, ast.Attribute) and site.node.attr == missing:
                start = facts.unit.source.span(site.node)[1] - len(missing)
                for at, new in enumerate(dict.fromkeys(close)):
                    yield 0.2 + 0.15 * at, "near-attribute", (facts.unit.splice(start, start + len(missing), new),)
                if missing in ABSTRACT and isinstance(site.node.value, ast.Name):
                    yield 0.2, "near-attribute", (facts.unit.splice(start, start, "abc."),)


def _imports(facts: Facts, missing: str) -> Iterator[Draft]:
    source = facts.unit.source
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == missing:
                    start, _ = source.span(alias)
                    close = [*([HOME[missing]] if missing in HOME else []), *(["collections.abc"] if missing in ABSTRACT else [])]
                    if node.module is not None:
                        at = source.text.find(node.module, source.span(node)[0])
                        for home in close:
                            yield 0.2, "import", (Edit(at, at + len(node.module), home),)
                    other = RENAMED.get(missing)
                    names = [
                        *([other] if other and other.isidentifier() else []),
                        *get_close_matches(missing, sorted(set(HOME) - {missing}), n=3),
                    ]
                    for place, new in enumerate(names):
                        yield (
                            0.5 + 0.2 * place,
                            "import",
                            (Edit(start, start + len(missing), f"{new} as {missing}" if alias.asname is None else new),),
                        )
            if node.module is not None and node.module.split(".")[0] == missing.split(".")[0] and node.level == 0:
                at = source.text.find(node.module, source.span(node)[0] + 4)
                yield 0.4, "import", (Edit(at, at, "."),)
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                if isinstance(node, ast.Import) and alias.name == missing:
                    start, _ = source.span(alias)
                    for place, new in enumerate(get_close_matches(missing, sorted(sys.stdlib_module_names), n=3, cutoff=0.7)):
                        yield (
                            0.3 + 0.2 * place,
                            "import",
                            (Edit(start, start + len(missing), f"{new} as {missing}" if alias.asname is None else new),),
                        )


def _keys(facts: Facts, message: str, statements: list[Statement]) -> Iterator[Draft]:
    """A key of the raising statement for one of the same spelling but a little."""
    literals = sorted({text for text in facts.literals if text[0] in "'\""} | _module_strings(facts))
    for statement in statements:
        for site in statement.sites:
            if isinstance(site.node, ast.Constant) and isinstance(site.node.value, str) and repr(site.node.value) == message:
                words = facts.unit.words(site)
                for at, new in enumerate(get_close_matches(words, [text for text in literals if text != words], n=5, cutoff=0.5)):
                    yield 0.3 + 0.15 * at, "near-key", (facts.unit.splice(site.start, site.end, new),)
        node = statement.node
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript) and isinstance(node.op, ast.Add):
            target = facts.unit.segment(node.target)
            base, key = facts.unit.segment(node.target.value), facts.unit.segment(node.target.slice)
            value = facts.unit.segment(node.value)
            for at, default in enumerate(("0", "[]", "''")):
                if "\n" not in target + value and "\r" not in target + value:
                    yield (
                        0.3 + 0.2 * at,
                        "default",
                        (Edit(statement.start, statement.end, f"{target} = {base}.get({key}, {default}) + ({value})"),),
                    )
        if isinstance(node, ast.Delete) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Subscript):
            base, key = facts.unit.segment(node.targets[0].value), facts.unit.segment(node.targets[0].slice)
            yield 0.3, "default", (Edit(statement.start, statement.end, f"{base}.pop({key}, None)"),)


def _module_strings(facts: Facts) -> set[str]:
    source = facts.unit.source
    found = set()
    for node in ast.walk(source.tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and len(node.value) < 40
            and node.lineno == node.end_lineno
            and node.value.isprintable()
        ):
            found.add(repr(node.value))
    return found
