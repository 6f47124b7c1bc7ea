"""What became of a posted fix, judged from the texts of its files before and after. Pure.

A posted hunk is followed to where its lines stand now, and what stands there is compared with what was there and with what was posted.
An edited fix is told from another one by the words that change: more than half of what the posted patch changes must be in what landed.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from inference.patch import unified_diff
from inference.trajectory import Feedback

Kind = Literal["applied", "edited", "superseded", "ignored", "reverted"]
REVERT_DAYS = 14.0
"""A fix that is taken back later than this is a change like any other."""
PER_ACTOR = 50
"""What one person said of more fixes than these is left out: nobody teaches the model alone."""
KEPT = 0.5
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_REVERTS = re.compile(r"\bThis reverts commit ([0-9a-f]{7,64})\b")
_WORDS = re.compile(r"\w+|\n[ \t]*|[^\w\s]")
_MOST_WORDS = 4000
Texts = Mapping[str, str | None]
"""Path -> the file's text, None where it does not exist."""
Blocks = Sequence[tuple[str, int, int, int, int]]
"""As difflib gives them: what became of old lines i to j, which are new lines k to m."""


@dataclass(frozen=True)
class Hunk:
    """Lines ``start`` to ``end`` (0-based, ``end`` excluded) of the verified head, and what the patch puts there. Without context."""

    path: str
    start: int
    end: int
    new: tuple[str, ...]


@dataclass(frozen=True)
class Region:
    """The lines around a hunk at three moments: on the verified head, as posted, and now. Each is one text."""

    before: str
    posted: str
    now: str


@dataclass(frozen=True)
class Fate:
    """What became of a fix. ``human_patch``: what people made of its files, a diff against the verified head."""

    kind: Kind
    reason: str | None = None
    edit_distance: float | None = None
    human_patch: str | None = None


def patch_hunks(patch: str) -> tuple[Hunk, ...]:
    """The hunks of one of our own patches, context taken off. Paths that git would quote are left out: nothing is decided on them."""
    return tuple(_hunks(patch.split("\n")))


def _hunks(lines: Sequence[str]) -> Iterator[Hunk]:
    path = ""
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("--- "):
            old = line[4:].rstrip("\t")
            new = lines[at][4:].rstrip("\t") if at < len(lines) else ""
            name = new if old == "/dev/null" else old
            path = name[2:] if name.startswith(("a/", "b/")) else ""
            at += 1
        elif found := _HUNK.match(line):
            left = [int(found.group(n) or 1) for n in (2, 4)]
            body: list[str] = []
            while at < len(lines) and (left[0] > 0 or left[1] > 0 or lines[at].startswith("\\")):
                mark = lines[at][:1] or " "
                left[0] -= mark in " -"
                left[1] -= mark in " +"
                if mark in " -+":
                    body.append(lines[at] or " ")
                at += 1
            if path:
                # An empty range stands behind the line that it names.
                yield from _changes(path, int(found.group(1)) - (found.group(2) != "0"), body)


def _changes(path: str, number: int, body: Sequence[str]) -> Iterator[Hunk]:
    """Each run of changed lines of a hunk."""
    start, end, new = number, number, list[str]()
    for line in [*body, " "]:
        if line[0] == " ":
            if new or end > start:
                yield Hunk(path, start, end, tuple(new))
            start = end = end + 1
            new = []
        elif line[0] == "-":
            end += 1
        else:
            new.append(line[1:])


def reverted_commits(messages: Collection[str]) -> tuple[str, ...]:
    """The commits that ``git revert`` and GitHub's button say to take back."""
    return tuple(dict.fromkeys(sha for message in messages for sha in _REVERTS.findall(message)))


def is_among(sha: str | None, named: Collection[str]) -> bool:
    """Whether a commit is one of those named; a name may be cut short."""
    return sha is not None and any(sha.startswith(name) for name in named)


def regions(hunks: Sequence[Hunk], before: Texts, now: Texts) -> tuple[Region, ...] | None:
    """Where each hunk's lines stand now; None where the verified head cannot be read any more."""
    found: list[Region] = []
    for path in dict.fromkeys(h.path for h in hunks):
        here = [h for h in hunks if h.path == path]
        old, new = _lines(before.get(path)), _lines(now.get(path))
        if max(h.end for h in here) > len(old):
            return None
        found += _regions(here, old, new)
    return tuple(found)


def _regions(hunks: Sequence[Hunk], old: Sequence[str], new: Sequence[str]) -> Iterator[Region]:
    """Of one file, compared as it was and as it was posted: a line may stand in several places, and the better match counts."""
    posted = list(_with(hunks, old, 0, len(old)))
    from_old = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    from_posted = difflib.SequenceMatcher(None, posted, new, autojunk=False).get_opcodes()
    closer = _likeness(from_posted) > _likeness(from_old)
    offset = 0
    for hunk in hunks:
        a, b, c, d = _follow(from_old, hunk.start, hunk.end)
        region = Region(_text(old[a:b]), _text(_with(hunks, old, a, b)), _text(new[c:d]))
        begin, end = hunk.start + offset, hunk.start + offset + len(hunk.new)
        offset += len(hunk.new) - (hunk.end - hunk.start)
        if _stands(from_posted, begin, end) and (closer or region.now != region.before):
            region = Region(_text(old[hunk.start : hunk.end]), _text(hunk.new), _text(hunk.new))
        yield region


def _likeness(blocks: Blocks) -> float:
    """1 for the same lines. Few long stretches in common are more than many short ones."""
    longer = max((max(j, m) for _, _, j, _, m in blocks), default=1)
    return sum((j - i) ** 2 for tag, i, j, _, _ in blocks if tag == "equal") / longer**2


def _stands(blocks: Blocks, start: int, end: int) -> bool:
    """Whether these lines, or the joint between two, are found again unbroken."""
    if start == end:
        return all(tag == "equal" for tag, i, j, _, _ in blocks if i <= start <= j)
    return any(tag == "equal" and i <= start and end <= j for tag, i, j, _, _ in blocks)


def _with(hunks: Sequence[Hunk], old: Sequence[str], start: int, end: int) -> Iterator[str]:
    """The lines ``start`` to ``end`` with every hunk that lies in them."""
    at = start
    for hunk in hunks:
        if start <= hunk.start and hunk.end <= end:
            yield from old[at : hunk.start]
            yield from hunk.new
            at = hunk.end
    yield from old[at:end]


def _follow(blocks: Blocks, start: int, end: int) -> tuple[int, int, int, int]:
    """The smallest range of old lines that holds ``start`` to ``end`` and whose borders can be found among the new lines, and those."""
    a, b, c, d = start, end, -1, -1
    for tag, i, j, k, m in blocks:
        if not (i <= start <= j if start == end else i < end and start < j):
            continue
        if tag == "equal":
            low, high = k + max(start, i) - i, k + min(end, j) - i
        else:
            low, high = k, m
            a, b = min(a, i), max(b, j)
        c, d = (low, high) if c < 0 else (c, high)
    return (a, b, c, d) if c >= 0 else (start, end, 0, 0)


def fate(hunks: Sequence[Hunk], before: Texts, now: Texts, still_failing: bool = False) -> Fate:
    """What became of a fix. ``before`` and ``now`` hold the files that the fix touches, and those that the pull request changes.

    ``still_failing``: the same failure was seen again on the last commit, so that nothing else can have repaired it.
    """
    found = regions(hunks, before, now)
    if not found:
        return Fate("ignored", "unreadable")
    if all(r.now == r.posted for r in found):
        return Fate("applied", edit_distance=0.0)
    kinds = {PurePosixPath(h.path).suffix for h in hunks}
    changed = {path for path, text in now.items() if text != before.get(path) and PurePosixPath(path).suffix in kinds}
    human = diff({path: before.get(path) for path in changed}, now)
    if any(r.now == r.posted for r in found) or _kept(found) > KEPT:
        return Fate("edited", None, distance(found), human)
    return Fate("ignored") if still_failing or not changed else Fate("superseded", human_patch=human)


def is_restored(hunks: Sequence[Hunk], before: Texts, now: Texts) -> bool:
    """Whether the lines that the fix replaced are all back."""
    found = regions(hunks, before, now)
    return bool(found) and all((now[p] is None) == (before.get(p) is None) for p in now) and all(r.now == r.before for r in found or ())


def distance(found: Sequence[Region]) -> float:
    """Edit distance between what was posted and what stands there, in words: 0 the same, 1 nothing in common."""
    posted = [word for region in found for word in _words(region.posted)][:_MOST_WORDS]
    now = [word for region in found for word in _words(region.now)][:_MOST_WORDS]
    return round(1.0 - difflib.SequenceMatcher(None, posted, now, autojunk=False).ratio(), 4)


def _kept(found: Sequence[Region]) -> float:
    """How much of the words that the posted patch takes away and puts in, people took away and put in too."""
    ours: Counter[tuple[bool, str, str]] = Counter()
    theirs: Counter[tuple[bool, str, str]] = Counter()
    for region in found:
        ours += _change(region.before, region.posted)
        theirs += _change(region.before, region.now)
    return (ours & theirs).total() / ours.total() if ours else 0.0


def _change(before: str, after: str) -> Counter[tuple[bool, str, str]]:
    """Pairs of neighbouring words that come in (True) and go (False): pairs, so that a swap of two words is a change."""
    old, new = (Counter(itertools.pairwise(_words(text))) for text in (before, after))
    return Counter({(come, *pair): n for come, part in ((True, new - old), (False, old - new)) for pair, n in part.items()})


def _words(text: str) -> list[str]:
    return _WORDS.findall(f"\n{text}")


def diff(before: Texts, now: Texts) -> str:
    """A unified diff of texts."""
    changes = {path: (_bytes(text), _bytes(now.get(path))) for path, text in before.items()}
    return unified_diff(changes).decode("utf-8", "replace").replace("\0", "\ufffd")


def capped(feedback: Sequence[Feedback], counted: Counter[str]) -> tuple[Feedback, ...]:
    """The feedback that is passed on: what a person says beyond PER_ACTOR is left out; ``ignored`` only where nothing else is known.

    ``counted`` is what each person has had so far, and is brought up to date.
    """
    said = [f for f in feedback if f.kind != "ignored"] or list(feedback)
    kept = []
    for one in said:
        if one.actor_hash is not None:
            counted[one.actor_hash] += 1
            if counted[one.actor_hash] > PER_ACTOR:
                continue
        kept.append(one)
    return tuple(kept)


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _lines(text: str | None) -> list[str]:
    return text.split("\n") if text else []


def _bytes(text: str | None) -> bytes | None:
    return text.encode("utf-8", "surrogateescape") if text is not None else None
