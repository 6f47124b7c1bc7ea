"""The one comment of a pull request: CommentView -> Markdown. Pure.

At most 25 lines can be seen before anything is unfolded, and the body stays below 60,000 characters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from bot import comment_sections as sections
from bot.comment_view import CommentView

MAX_CHARACTERS = 60_000
MAX_VISIBLE_LINES = 25
_COLUMNS = 100
_UNSEEN = re.compile(r"\]\([^)\s]*\)|</?sub>|\*\*|\\(?=[^\w\s])|(?<=&)(?:amp|#36);")


def marker(pr_number: int) -> str:
    """The hidden first line by which the bot finds its comment again."""
    return f"<!-- ledex:v1 pr:{pr_number} -->"


def render(view: CommentView) -> str:
    """The comment's Markdown. Sections that do not fit are left out from the end, and the comment says so."""
    head = [marker(view.pr_number), sections.state_line(view)]
    why, fix = sections.why(view), sections.fix(view, inline=True)
    actions = sections.actions(view)
    proven = [sections.failing_tests(view), sections.apply_details(view), sections.regression_test(view), sections.proof_details(view),
              sections.unchecked(view)]  # fmt: skip
    details = [d for d in (sections.whole_explanation(view), *proven) if d]
    body = _body([*head, why, *fix, actions], details, sections.footer(view))
    for explained in (sections.EXPLANATION, 400, 200):  # first the patch is folded, then the explanation shortened
        if visible_lines(body) > MAX_VISIBLE_LINES:
            why, fix = sections.why(view, explained), sections.fix(view, inline=False)
            details = [d for d in (sections.whole_explanation(view, explained), *proven) if d]
            body = _body([*head, why, *fix, actions], details, sections.footer(view))
    left_out: list[str] = []
    while len(body) > MAX_CHARACTERS and (details or fix):
        title = re.search(r"<summary>(.*?)</summary>", details.pop() if details else fix.pop())
        left_out.append(title.group(1) if title else "the patch")
        note = f"_Left out, since the comment would be too long: {', '.join(left_out)}._"
        body = _body([*head, why, *fix, actions, note], details, sections.footer(view))
    return body


def visible_lines(body: str) -> int:
    """Lines that are seen while every ``<details>`` is folded, at 100 columns; blank lines between paragraphs do not count, nor do the
    targets of links, tags and escapes."""
    count, folded, ticks = 0, 0, ""
    for line in body.split("\n"):
        if ticks:
            if not folded and line != ticks:
                count += max(1, math.ceil(len(line) / _COLUMNS))
            ticks = "" if line == ticks else ticks
        elif opened := re.match(r"^(`{3,})", line):
            ticks = opened.group(1)
        elif line == "</details>":
            folded -= 1
        elif line.startswith("<details>"):
            count += 0 if folded else 1
            folded += 1
        elif not folded and line and not line.startswith("<!--"):
            count += math.ceil(len(_UNSEEN.sub("", line)) / _COLUMNS)
    return count


def _body(paragraphs: Sequence[str], details: Sequence[str], footer: str) -> str:
    return "\n\n".join([p for p in paragraphs if p] + [*details, footer]) + "\n"
