"""Bucket 5: arguments missing, too many or misnamed, as a TypeError tells."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from difflib import get_close_matches

from inference.edits import Edit, FunctionSource
from inference.templates.facts import Facts
from inference.templates.operators import Draft
from inference.templates.unit import Site, Statement


def wrong_arguments(facts: Facts, function: FunctionSource, statements: list[Statement]) -> Iterator[Draft]:
    """Arguments missing, too many or misnamed at the call, or in the definition it reaches."""
    if function.exception.rpartition(".")[2] != "TypeError" or "argument" not in function.message:
        return
    missing = re.findall(r"'(\w+)'", function.message) if "missing" in function.message else []
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", function.message)
    unit = facts.unit
    for statement in statements:
        for site in statement.sites:
            if not isinstance(site.node, ast.Call) or unit.text[site.end - 1] != ")":
                continue
            close = site.end - 1
            inside = unit.text[unit.source.span(site.node.func)[1] : close].rstrip()
            lead = "" if inside.endswith(("(", ",")) else ", "
            for name in missing:
                ways = [name] if name in facts.names else []
                for at, value in enumerate([*ways, f"{name}=None", "None", f"{name}=0", f"{name}=[]", *facts.values(statement)[:4]]):
                    yield 0.4 + 0.15 * at, "add-argument", (Edit(close, close, lead + value),)
            if re.search(r"missing|at least|expected|takes exactly", function.message):
                yield from _one_more(facts, site, site.node, close, lead)
            for keyword in site.node.keywords if unexpected else ():
                if unexpected and keyword.arg is not None and keyword.arg == unexpected.group(1):
                    start, _ = unit.source.span(keyword)
                    definition = site.node.func.id if isinstance(site.node.func, ast.Name) else getattr(site.node.func, "attr", "")
                    names = _parameters(unit.source.tree, definition)
                    for at, new in enumerate(get_close_matches(keyword.arg, names, n=3, cutoff=0.3)):
                        yield 0.3 + 0.2 * at, "near-name", (Edit(start, start + len(keyword.arg), new),)
    node = unit.node
    if node is not None and unit.owner is not None and "positional argument" in function.message and "self" not in facts.parameters:
        at = unit.text.find("(", unit.source.span(node)[0]) + 1
        yield 0.5, "missing-self", (Edit(at, at, "self, " if node.args.args else "self"),)


def _one_more(facts: Facts, site: Site, call: ast.Call, close: int, lead: str) -> Iterator[Draft]:
    """A value in scope as one more argument, at each place; what nothing else in the file uses comes first."""
    starts = [facts.unit.source.span(argument)[0] for argument in call.args]
    grouped = len(call.args) > 1 and any(facts.unit.source.enclosed(*facts.unit.source.span(argument)) for argument in call.args)
    if grouped or any(isinstance(argument, ast.Starred) for argument in call.args):
        starts = []
    used = {argument.id for argument in call.args if isinstance(argument, ast.Name)}
    names = [*sorted(facts.unread_globals), *site.bound, *facts.values(site.statement), *facts.parameters]
    literals = [text for text in facts.literals if text[0] in "'\"0123456789"]
    for at, value in enumerate(dict.fromkeys([name for name in names if name not in ("self", "cls")][:8] + literals[:4])):
        forgotten = value in facts.unread_globals or value in facts.idle
        cost = (0.4 if forgotten else 1.4 if value in used else 0.9) + 0.08 * at
        if not call.keywords:
            yield cost + 0.1, "add-argument", (Edit(close, close, lead + value),)
        for start in starts:
            yield cost, "add-argument", (Edit(start, start, f"{value}, "),)


def _parameters(tree: ast.Module, name: str) -> list[str]:
    """Parameters of a function or of any class's constructor in the file."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in (name, "__init__")]
    return [argument.arg for node in found for argument in node.args.args]
