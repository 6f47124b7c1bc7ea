"""CodeBLEU (Ren et al., arXiv 2009.10297): n-grams, n-grams that weigh keywords, syntax and data flow, as one number between 0 and 1.

Our own, because the PyPI package pins a tree-sitter that excludes the grammars in use here. N-grams, weighted n-grams and syntax give
its numbers to the last digit (``tests/training/fixtures/codebleu.json`` holds what it printed). Data flow is read more plainly: a use
comes from the definition of its name, whichever of several and whatever the branches between; the package follows them. Where a reference
has no data flow that part counts as 1, as there; where the candidate has none of it, as 0 (there as 1 too, a slip).
"""

from __future__ import annotations

import keyword
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import tree_sitter
import tree_sitter_go
import tree_sitter_java
import tree_sitter_javascript
import tree_sitter_python
import tree_sitter_rust
from tree_sitter import Node

from sandbox import syntax

_GRAMMARS = {
    "python": tree_sitter_python.language, "javascript": tree_sitter_javascript.language, "go": tree_sitter_go.language,
    "rust": tree_sitter_rust.language, "java": tree_sitter_java.language,
}  # fmt: skip
_KEYWORDS: Mapping[str, frozenset[str]] = {
    "python": frozenset([*keyword.kwlist, "match", "case", "type"]),
    "javascript": frozenset(
        "async await break case catch class const continue debugger default delete do else export extends finally for function if import in"
        " instanceof let new of return static super switch this throw try typeof var void while with yield".split()),
    "go": frozenset(
        "break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select"
        " struct switch type var".split()),
    "rust": frozenset(
        "as async await break const continue crate dyn else enum extern fn for if impl in let loop match mod move mut pub ref return self"
        " static struct super trait type unsafe use where while".split()),
    "java": frozenset(
        "abstract assert boolean break byte case catch char class const continue default do double else enum extends final finally float"
        " for if implements import instanceof int interface long native new package private protected public return short static super"
        " switch synchronized this throw throws transient try void volatile while".split()),
}  # fmt: skip
_ORDER = 4
_ORDINARY_WEIGHT = 0.2
"""Of a word that is no keyword; a keyword weighs 1, five times as much (section 3.1)."""
_EPSILON = 0.1
"""Chen and Cherry's first smoothing: in the place of a count of 0."""
_DEFINING = {  # node type -> (field of what is defined, field of what it is computed from)
    "assignment": ("left", "right"), "augmented_assignment": ("left", "right"), "named_expression": ("name", "value"),
    "for_statement": ("left", "right"), "for_in_clause": ("left", "right"), "for_in_statement": ("left", "right"),
    "assignment_expression": ("left", "right"), "augmented_assignment_expression": ("left", "right"),
    "variable_declarator": ("name", "value"), "short_var_declaration": ("left", "right"), "assignment_statement": ("left", "right"),
    "let_declaration": ("pattern", "value"), "compound_assignment_expr": ("left", "right"),
}  # fmt: skip
_SCANNED_FIRST = frozenset({"for_in_clause"})
_ALSO_READS = frozenset({"augmented_assignment", "augmented_assignment_expression", "compound_assignment_expr"})
Flow = tuple[str, str, tuple[str, ...]]
"""(variable, ``comesFrom`` or ``computedFrom``, the variables that it has its value from), variables by order of appearance."""


@dataclass(frozen=True)
class Weights:
    """Of the four parts; the paper's and the package's default is even."""

    ngrams: float = 0.25
    weighted_ngrams: float = 0.25
    syntax: float = 0.25
    data_flow: float = 0.25


def language_of(patch: str) -> str:
    """The language of a patch's first file that has a grammar here (TypeScript is read as JavaScript); Python where none has: words and
    runs of words are compared in any language, and a tree of errors is one too."""
    for line in patch.split("\n"):
        if line.startswith("+++ "):
            path = line[4:].split("\t")[0].strip()
            language = "python" if path.endswith((".py", ".pyi")) else syntax.language_of(path)
            if language is not None:
                return language
    return "python"


def codebleu(candidate: str, reference: str, language: str = "python", weights: Weights = Weights()) -> float:
    """How like ``reference`` the code is, 0 to 1; 1 for the same code of at least four words that are divided by blanks.

    Raises KeyError for a language that has no grammar here."""
    mine, theirs = candidate.split(), reference.split()
    keywords = _KEYWORDS[language]
    own, other = _root(candidate, language), _root(reference, language)
    flow = data_flow_match(data_flow(own), data_flow(other))
    return (
        weights.ngrams * ngram_match(mine, theirs)
        + weights.weighted_ngrams * weighted_ngram_match(mine, theirs, keywords)
        + weights.syntax * syntax_match(own, other)
        + weights.data_flow * (1.0 if flow is None else flow))  # fmt: skip


def ngram_match(mine: Sequence[str], theirs: Sequence[str]) -> float:
    """BLEU of order 4, smoothed, with the penalty for a candidate that is shorter than its reference."""
    score = _geometric([_precision(mine, theirs, n) for n in range(1, _ORDER + 1)])
    return score * math.exp(min(0.0, 1.0 - len(theirs) / len(mine))) if mine else 0.0


def weighted_ngram_match(mine: Sequence[str], theirs: Sequence[str], keywords: frozenset[str]) -> float:
    """The share of the reference's n-grams that the candidate has, single words weighed. Recall needs no penalty for what is short."""
    return _geometric([_recall(mine, theirs, n, keywords) for n in range(1, _ORDER + 1)])


def _grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1))


def _precision(mine: Sequence[str], theirs: Sequence[str], n: int) -> tuple[float, float]:
    own, other = _grams(mine, n), _grams(theirs, n)
    return sum((own & other).values()), max(1, own.total())


def _recall(mine: Sequence[str], theirs: Sequence[str], n: int, keywords: frozenset[str]) -> tuple[float, float]:
    own, other = _grams(mine, n), _grams(theirs, n)
    weigh = {gram: 1.0 if n > 1 or gram[0] in keywords else _ORDINARY_WEIGHT for gram in other}
    found = own & other
    return sum(weigh[gram] * count for gram, count in found.items()), max(1, sum(weigh[gram] * count for gram, count in other.items()))


def _geometric(shares: Sequence[tuple[float, float]]) -> float:
    """The mean of the orders, smoothed; 0 without a word in common."""
    if not shares[0][0]:
        return 0.0
    return math.exp(math.fsum(math.log((found or _EPSILON) / among) for found, among in shares) / len(shares))


@cache
def _parser(language: str) -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(_GRAMMARS[language]()))


def _root(code: str, language: str) -> Node:
    return _parser(language).parse(code.encode("utf-8", "replace")).root_node


def _subtrees(node: Node) -> Iterator[str]:
    """The shapes of all subtrees that have something below them."""
    pending = [node]
    while pending:
        here = pending.pop()
        yield str(here)
        pending.extend(child for child in here.children if child.child_count)


def syntax_match(candidate: Node, reference: Node) -> float:
    """The share of the reference's subtrees that the candidate has too (section 3.2; names of leaves do not count)."""
    own = set(_subtrees(candidate))
    wanted = list(_subtrees(reference))
    return sum(tree in own for tree in wanted) / len(wanted)


def data_flow(root: Node) -> tuple[Flow, ...]:
    """Where each variable's values come from, in the order of the text (section 3.3)."""
    names: dict[str, str] = {}
    found: list[Flow] = []
    defined: set[str] = set()

    def named(name: str) -> str:
        return names.setdefault(name, f"var_{len(names)}")

    def read(node: Node) -> None:
        for name in _identifiers(node):
            if name in defined:
                found.append((named(name), "comesFrom", (named(name),)))

    def visit(node: Node) -> None:
        fields = _DEFINING.get(node.type)
        target = node.child_by_field_name(fields[0]) if fields is not None else None
        source = node.child_by_field_name(fields[1]) if fields is not None else None
        if target is None or source is None:
            # A comprehension's source is evaluated before what it yields, though it stands behind it.
            ordered = sorted(node.named_children, key=lambda c: (c.type not in _SCANNED_FIRST, c.start_byte))
            if "parameters" in node.type:
                return
            if node.type in ("identifier", "shorthand_property_identifier"):
                read(node)
            for child in ordered:
                visit(child)
            return
        visit(source)
        parents = dict.fromkeys(_identifiers(source))
        for name in dict.fromkeys(_identifiers(target)):
            origins = [*parents, *([name] if node.type in _ALSO_READS and name not in parents else [])]
            if origins:
                found.append((named(name), "computedFrom", tuple(named(o) for o in origins)))
            defined.add(name)
        for child in node.named_children:
            if child.start_byte not in (target.start_byte, source.start_byte):
                visit(child)

    def parameters(node: Node) -> None:
        if "parameters" in node.type or node.type == "lambda_parameters":
            defined.update(_identifiers(node))
        for child in node.named_children:
            parameters(child)

    parameters(root)
    visit(root)
    return tuple(found)


def data_flow_match(candidate: Sequence[Flow], reference: Sequence[Flow]) -> float | None:
    """The share of the reference's flows that the candidate has too; None where the reference has none."""
    if not reference:
        return None
    return sum((Counter(candidate) & Counter(reference)).values()) / len(reference)


def _identifiers(node: Node) -> Iterator[str]:
    pending = [node]
    while pending:
        here = pending.pop()
        if here.type in ("identifier", "shorthand_property_identifier", "shorthand_property_identifier_pattern") and here.text:
            yield here.text.decode("utf-8", "replace")
        # An attribute's name, or a keyword argument's, is no variable.
        skipped = {"attribute": "attribute", "keyword_argument": "name", "field_expression": "field"}.get(here.type)
        field = here.child_by_field_name(skipped) if skipped is not None else None
        pending.extend(c for c in reversed(here.named_children) if field is None or c.start_byte != field.start_byte)
