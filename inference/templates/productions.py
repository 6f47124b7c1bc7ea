"""How each head of the expressions' grammar is written, of those that can be written where a function stands: operators, displays, calls of
what is in scope and of common Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from inference.templates.facts import Facts
from inference.templates.idioms import Idioms
from inference.templates.kinds import BUILTINS
from inference.templates.syntax import AND, ATOM, COMPARE, FACTOR, NOT, OR, STRENGTH, TEST

_CALL = re.compile(r"(\.?)([A-Za-z_][\w.]*)/(\d)((?:,\w+)*)$")
_SLICE = re.compile(r"\[(a?):(b?)(:c)?\]$")
_COMPARISONS = frozenset("== != < > <= >= in is".split()) | {"not in", "is not"}
_BRACKETS = {"list": ("[", "]"), "set": ("{", "}"), "iter": ("(", ")")}
_DISPLAYS = {
    "#list/0": "[]", "#list/1": "[{}]", "#list/2": "[{}, {}]", "#tuple/1": "({},)", "#tuple/2": "({}, {})", "#tuple/3": "({}, {}, {})",
}  # fmt: skip
_MORE = (
    "abs/1 round/1 round/2 bool/1 ord/1 chr/1 bin/1 any/1 all/1 sum/1 reversed/1 enumerate/1 zip/2 set/1 tuple/1 dict/1 "
    "iter/1 next/1 isinstance/2 .lower/0 .upper/0 .strip/0 .title/0 .capitalize/0 .copy/0 .items/0 .keys/0 .values/0 .get/1 "
    ".get/2 .split/0 .pop/0 .index/1 .count/1 .find/1 .startswith/1 .endswith/1 .isalpha/0 .isupper/0 .islower/0 .isspace/0 "
    ".isalnum/0 .union/1 .intersection/1 .elements/0 .most_common/0 .most_common/1 .setdefault/2 .sort/0 .reverse/0 .add/1 "
    ".extend/1 math.sqrt/1 math.ceil/1 math.floor/1 math.gcd/2 math.pow/2 math.factorial/1 math.log/1 math.log2/1 "
    "math.log10/1 math.sin/1 math.cos/1 math.tan/1 math.radians/1 re.match/2 re.search/2 re.findall/2 re.split/2 re.sub/3 "
    "re.compile/1 re.fullmatch/2 heapq.nlargest/2 heapq.nsmallest/2 bisect.bisect_left/2 bisect.bisect_right/2 "
    "bisect.bisect/2 sys.getsizeof/1 collections.Counter/1 itertools.chain/2 itertools.groupby/1 Counter/1 OrderedDict/1 "
    "defaultdict/1 deque/1 chain/2 combinations/2 permutations/1 product/2 reduce/2 itemgetter/1 bisect_left/2 sqrt/1 "
    "heapq.heapify/1 heapq.heappop/1 heapq.heappush/2 copy.deepcopy/1 deepcopy/1 [::c] [a:b] [:b] [a:] [:]"
).split()
"""Heads of common Python that a small corpus may lack; each is as likely as one never seen."""
_FRESH_NAMES = ("x", "y", "z")


@dataclass(frozen=True)
class Production:
    """A way to write a head: ``form`` takes the parts, each bracketed unless it binds as strongly as ``needs`` says."""

    head: str
    form: str
    needs: tuple[int, ...]
    strength: int
    binds: str = ""
    """A name that all parts but the second may read (a comprehension's, a lambda's)."""


def productions(facts: Facts, idioms: Idioms) -> Iterator[Production]:
    """The heads of the corpus, then of common Python, then calls of the function's own names; their order decides between equal costs."""
    taken: set[str] = set()
    for what in dict.fromkeys((*idioms.heads(), *_MORE)):
        production = _production(facts, what)
        if production is not None:
            taken.add(what.split("/")[0])
            yield production
    for name, about in facts.names.items():
        if name not in taken and about.called and about.rank in (1, 2) and name.isidentifier():
            yield from (Production(f"{name}/{n}", f"{name}({', '.join(['{}'] * n)})", (TEST,) * n, ATOM) for n in (1, 2))


def _production(facts: Facts, what: str) -> Production | None:
    if what in STRENGTH:
        level = STRENGTH[what]
        left, right = (level + 1, level) if what == "**" else (level, level + 1)
        return Production(what, f"{{}} {what} {{}}", (left, right), level)
    if what in _COMPARISONS:
        return Production(what, f"{{}} {what} {{}}", (COMPARE + 1, COMPARE + 1), COMPARE)
    if what in ("and", "or"):
        level = AND if what == "and" else OR
        return Production(what, f"{{}} {what} {{}}", (level + 1, level + 1), level)
    if what in ("-/1", "~/1", "not/1"):
        level = NOT if what == "not/1" else FACTOR
        return Production(what, "not {}" if level == NOT else what[0] + "{}", (level,), level)
    if what == "[]":
        return Production(what, "{}[{}]", (ATOM, TEST), ATOM)
    if what == "if else":
        return Production(what, "{} if {} else {}", (OR, OR, TEST), TEST)
    if match := _SLICE.match(what):
        form = "{}[" + ("{}" if match[1] else "") + ":" + ("{}" if match[2] else "") + (":{}" if match[3] else "") + "]"
        return Production(what, form, (ATOM, *(TEST,) * (form.count("{}") - 1)), ATOM)
    if what.endswith((" for", " for if")):
        opening, closing = _BRACKETS[what.split()[0]]
        name = next(n for n in (*_FRESH_NAMES, "_x") if n not in facts.names)
        condition, needs = (" if {}", (OR,)) if what.endswith("if") else ("", ())
        opening, closing = (opening * 2, closing * 2) if opening == "{" else (opening, closing)
        return Production(what, f"{opening}{{}} for {name} in {{}}{condition}{closing}", (TEST, OR, *needs), ATOM, name)
    return _called(facts, what)


def _called(facts: Facts, what: str) -> Production | None:
    if what in _DISPLAYS:
        form = _DISPLAYS[what]
        return Production(what, form, (TEST,) * (form.count("{}")), ATOM)
    match = _CALL.match(what)
    if match is None:
        return None
    dot, name, given, words = match[1], match[2], int(match[3]), match[4].split(",")[1:]
    if name == "lambda":
        fresh = next(n for n in (*_FRESH_NAMES, "_x") if n not in facts.names)
        return Production(what, f"lambda {fresh}: {{}}", (TEST,), TEST, fresh) if given == 1 else None
    known = name in BUILTINS or name in facts.names or name.split(".")[0] in facts.modules and "." in name
    if not dot and not known:
        return None
    parts = ["{}"] * given + [f"{word}={{}}" for word in words]
    needs = (TEST,) * len(parts)
    return Production(what, f"{'{}' if dot else ''}{dot}{name}({', '.join(parts)})", (ATOM, *needs) if dot else needs, ATOM)
