"""Bucket 1: sibling builtins and methods, arguments swapped or dropped, calls unwrapped, slices, small control words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from inference.edits import Edit
from inference.templates.facts import Facts
from inference.templates.kinds import BUILTINS
from inference.templates.operators import Draft
from inference.templates.syntax import precedence
from inference.templates.unit import Site, Statement

BUILTIN_FAMILIES = (
    "any all | min max | min max sum len | sorted reversed list | list set tuple | list tuple sorted | set sorted"
    " | int float str | int str | int round | str repr | str list | sum len | abs int | abs min max | chr ord | ord int"
    " | map filter | range len | enumerate range zip | isinstance issubclass | getattr hasattr setattr | dict set list"
    " | bin hex oct | next iter list | type isinstance | any sum | all bool any"
)
METHOD_FAMILIES = (
    "append extend add insert | append appendleft | pop popleft popitem remove | add update discard remove"
    " | remove pop discard | lower upper title capitalize casefold swapcase | strip lstrip rstrip | find rfind index rindex"
    " | find index count | startswith endswith | split rsplit splitlines partition rpartition | keys values items"
    " | get pop setdefault | union intersection difference symmetric_difference | update union"
    " | issubset issuperset isdisjoint | isdigit isnumeric isdecimal isalnum isalpha"
    " | isupper islower istitle isalpha isspace | ljust rjust center zfill | match search fullmatch findall finditer"
    " | sub subn | group groups groupdict | sort reverse | copy deepcopy | floor ceil trunc sqrt round | sqrt pow"
    " | log log2 log10 log1p | sin cos tan | asin acos atan | heappush heappop heapify heappushpop heapreplace"
    " | nlargest nsmallest | permutations combinations product combinations_with_replacement | read readline readlines"
    " | write writelines | encode decode | loads load dumps dump | append appendleft extend extendleft"
    " | bisect bisect_left bisect_right insort | join split | most_common elements items | now utcnow today"
    " | date time datetime | days seconds total_seconds | start end span | exists isfile isdir | dirname basename | gcd lcm"
    " | replace strip translate | startswith find count | assertEqual assertNotEqual | info debug warning error"
    " | is_file is_dir exists | name stem suffix | parent parents | glob rglob | acquire release"
    " | put get put_nowait get_nowait | seek tell"
)


def _table(families: str) -> dict[str, list[tuple[str, float]]]:
    table: dict[str, list[tuple[str, float]]] = {}
    for family in families.split(" | "):
        words = family.split()
        for word in words:
            row = table.setdefault(word, [])
            row += [(other, 0.4 + 0.15 * len(row)) for other in words if other != word and all(other != known for known, _ in row)]
    return table


BUILTIN_SIBLINGS, METHOD_SIBLINGS = _table(BUILTIN_FAMILIES), _table(METHOD_FAMILIES)
FLAGS = ("re.IGNORECASE", "re.MULTILINE", "re.DOTALL")


def calls(facts: Facts, site: Site) -> Iterator[Draft]:
    node = site.node
    match node:
        case ast.Name(id=name, ctx=ast.Load()) if (
            name in BUILTIN_SIBLINGS and facts.names.get(name) is not None and facts.names[name].rank == 3
        ):
            for new, cost in BUILTIN_SIBLINGS[name]:
                yield cost, "builtin", (facts.unit.splice(site.start, site.end, new),)
        case ast.Attribute(attr=name) if name in METHOD_SIBLINGS:
            start = site.end - len(name)
            if facts.unit.text[start : site.end] == name:
                for new, cost in METHOD_SIBLINGS[name]:
                    yield cost, "method", (facts.unit.splice(start, site.end, new),)
        case ast.Call():
            yield from _call(facts, site, node)
        case ast.Subscript(ctx=ast.Load()):
            yield from _subscript(facts, site, node)
        case ast.IfExp():
            yield from _conditional(facts, site, node)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            yield from _comprehension(facts, site, node)
        case ast.Lambda():
            words = facts.unit.segment(node.body)
            if len(node.args.args) == 0:
                yield 2.0, "drop-lambda", (facts.unit.put(site, words, precedence(node.body, words)),)


def _call(facts: Facts, site: Site, node: ast.Call) -> Iterator[Draft]:
    unit = facts.unit
    plain = [argument for argument in node.args if not isinstance(argument, ast.Starred | ast.GeneratorExp)]
    if len(plain) == len(node.args):
        for left, right in pairwise(plain):
            (start, end), (then, until) = unit.source.span(left), unit.source.span(right)
            yield 1.0, "swap-arguments", (unit.splice(start, end, unit.text[then:until]), unit.splice(then, until, unit.text[start:end]))
    for argument in plain:
        words = unit.segment(argument)
        place = node.func.id if isinstance(node.func, ast.Name) else ""
        cost = 0.9 if len(node.args) == 1 and place in BUILTINS else 1.6 if len(node.args) == 1 else 2.2
        yield cost, "unwrap", (unit.put(site, words, precedence(argument, words)),)
    if isinstance(node.func, ast.Attribute):
        words = unit.segment(node.func.value)
        if not isinstance(node.func.value, ast.Name) or node.func.value.id not in facts.modules:
            yield 1.3, "unwrap", (unit.put(site, words, precedence(node.func.value, words)),)
        if not node.args and not node.keywords:
            yield 1.5, "drop-call", (unit.splice(unit.source.span(node.func)[1], site.end, ""),)
        receiver = node.func.value
        if isinstance(receiver, ast.Name) and receiver.id == "re" and not node.keywords and node.args:
            for at, flag in enumerate(FLAGS):
                yield 1.8 + at * 0.2, "flag", (Edit(site.end - 1, site.end - 1, f", flags={flag}"),)
    every: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
    for at, item in enumerate(every):
        start, end = unit.source.span(item)
        if len(every) == 1:
            if not isinstance(item, ast.GeneratorExp) and not unit.source.enclosed(start - 1, end + 1):
                yield 2.4, "drop-argument", (Edit(start, end, ""),)
        elif at and not _bracketed(facts, every[at - 1]) and not _bracketed(facts, item):
            yield 1.3 if isinstance(item, ast.keyword) else 1.5, "drop-argument", (Edit(unit.source.span(every[at - 1])[1], end, ""),)
        elif not at and not _bracketed(facts, item) and not _bracketed(facts, every[1]):
            yield 1.9, "drop-argument", (Edit(start, unit.source.span(every[1])[0], ""),)


def _bracketed(facts: Facts, item: ast.expr | ast.keyword) -> bool:
    return isinstance(item, ast.expr) and facts.unit.source.enclosed(*facts.unit.source.span(item))


def _subscript(facts: Facts, site: Site, node: ast.Subscript) -> Iterator[Draft]:
    unit = facts.unit
    base = unit.segment(node.value)
    yield 1.8, "drop-index", (unit.put(site, base, precedence(node.value, base)),)
    start, end = unit.source.span(node.slice)
    if not isinstance(node.slice, ast.Slice):
        if facts.kind(node.slice) in ("num", "") and not isinstance(node.slice, ast.Tuple):
            words = unit.text[start:end]
            yield 2.0, "index-to-slice", (Edit(start, end, f"{words}:"),)
            yield 2.0, "index-to-slice", (Edit(start, end, f":{words}"),)
        return
    lower, upper, step = (unit.segment(part) if part is not None else "" for part in (node.slice.lower, node.slice.upper, node.slice.step))
    tail = f":{step}" if step else ""
    if any(mark in lower + upper + step for mark in "\r\n#"):
        return
    variants: list[tuple[str, float]] = [(f"{upper}:{lower}{tail}", 2.0)]
    if not lower and not step:
        variants += [(f"1:{upper}", 1.0), (f"{upper}:", 1.2), *([(f"-{upper}:", 2.0)] if upper.isidentifier() else [])]
    if not upper and not step:
        variants += [(f"{lower}:-1", 1.0), (f":{lower}", 1.2)]
    if lower:
        variants.append((f":{upper}{tail}", 1.4))
    if upper:
        variants.append((f"{lower}:{tail}", 1.3))
    if not step:
        variants += [(f"{lower}:{upper}:-1", 1.8), (f"{lower}:{upper}:2", 2.6)]
    else:
        variants.append((f"{lower}:{upper}", 1.2))
    for new, cost in variants:
        if ":" in new and "::" not in f"{lower}{upper}":
            yield cost, "slice", (Edit(start, end, new),)


def _conditional(facts: Facts, site: Site, node: ast.IfExp) -> Iterator[Draft]:
    unit = facts.unit
    (start, end), (then, until) = unit.source.span(node.body), unit.source.span(node.orelse)
    body, other = unit.text[start:end], unit.text[then:until]
    if not isinstance(node.orelse, ast.IfExp | ast.Lambda):
        yield 1.0, "swap-branches", (unit.splice(start, end, other), unit.splice(then, until, body))
    yield 1.6, "drop-branch", (unit.put(site, body, precedence(node.body, body)),)
    yield 1.7, "drop-branch", (unit.put(site, other, precedence(node.orelse, other)),)


def _comprehension(facts: Facts, site: Site, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Iterator[Draft]:
    unit = facts.unit
    for generator in node.generators:
        for condition in generator.ifs:
            start, end = unit.source.span(condition)
            if unit.source.enclosed(start, end):
                continue
            at = unit.text.rfind("if", site.start, start)
            if at > 0 and unit.text[at:start].strip() == "if":
                while unit.text[at - 1] in " \t":
                    at -= 1
                yield 1.2, "drop-filter", (unit.splice(at, end, ""),)
    if isinstance(node, ast.ListComp | ast.SetComp) and not node.generators[0].ifs and isinstance(node.elt, ast.Name):
        words = unit.segment(node.generators[0].iter)
        yield 2.2, "unwrap", (unit.put(site, words, precedence(node.generators[0].iter, words)),)
    if isinstance(node, ast.ListComp):
        yield 1.6, "brackets", (Edit(site.start, site.start + 1, "{"), Edit(site.end - 1, site.end, "}"))
    elif isinstance(node, ast.SetComp):
        yield 1.2, "brackets", (Edit(site.start, site.start + 1, "["), Edit(site.end - 1, site.end, "]"))


def control(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """break, continue and pass for each other; return and yield; a loop's or a function's end."""
    node, unit = statement.node, facts.unit
    words = {ast.Break: "break", ast.Continue: "continue", ast.Pass: "pass"}
    old = words.get(type(node))
    if old is not None:
        for new in ("break", "continue", "pass"):
            if new != old and (new == "pass" or statement.loop):
                yield 0.7 if new != "pass" else 1.6, "control", (unit.splice(statement.start, statement.end, new),)
        if statement.within is not None:
            yield 2.0, "control", (unit.splice(statement.start, statement.end, "return"),)
    match node:
        case ast.Return(value=ast.expr() as value) if statement.within is not None:
            yield 2.6, "return-to-yield", (unit.splice(statement.start, statement.start + 6, "yield"),)
            if isinstance(statement.within, ast.FunctionDef) and not isinstance(value, ast.Tuple):
                yield 3.0, "return-to-yield", (unit.splice(statement.start, statement.start + 6, "yield from"),)
        case ast.Expr(value=ast.Yield(value=ast.expr())):
            yield 1.6, "yield-to-return", (unit.splice(statement.start, statement.start + 5, "return"),)
            if isinstance(statement.within, ast.FunctionDef):
                yield 1.2, "yield-from", (unit.splice(statement.start, statement.start + 5, "yield from"),)
        case ast.Expr(value=ast.YieldFrom()):
            at = unit.text.find("from", statement.start)
            yield 1.2, "yield-from", (unit.splice(statement.start, at + 4, "yield"),)
        case ast.Expr(value=ast.Call()) if statement.within is not None and statement is statement.block[-1]:
            yield 1.6, "missing-return", (unit.splice(statement.start, statement.start, "return "),)
        case ast.Expr(value=ast.Compare() | ast.BinOp() | ast.Name() | ast.Subscript()) if statement.within is not None:
            yield 0.8, "missing-return", (unit.splice(statement.start, statement.start, "return "),)
        case ast.If() if not statement.is_elif:
            yield 1.7, "if-while", (unit.splice(statement.start, statement.start + 2, "while"),) if not node.orelse else ()
        case ast.While() if statement.loop or not any(isinstance(inner, ast.Break | ast.Continue) for inner in ast.walk(node)):
            yield 1.7, "if-while", (unit.splice(statement.start, statement.start + 5, "if"),)
    if isinstance(node, ast.If) and statement.is_elif:
        yield 1.4, "elif-to-if", (unit.splice(statement.start, statement.start + 4, "if"),)
    elif isinstance(node, ast.If) and statement.block.index(statement):
        before = statement.block[statement.block.index(statement) - 1].node
        if isinstance(before, ast.If) and not before.orelse:
            yield 1.4, "if-to-elif", (unit.splice(statement.start, statement.start + 2, "elif"),)
