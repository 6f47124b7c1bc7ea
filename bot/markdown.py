"""Text from outside -> Markdown that says only what it shows: it cannot close its fence, mention, link, nor add HTML. Pure.

GitHub looks for mentions, references and bare links in the rendered text, where backslashes and entities are gone; so these are broken by a
zero-width space, which nothing undoes. What would be invisible is shown as its code point: a reviewer must see what a patch holds.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal
from urllib.parse import quote, urlsplit

ZERO_WIDTH_SPACE = "\u200b"
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()*+][\w%]|[@-Z\\-_])")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PUNCTUATION = re.compile(r"[\\`*_\[\]<>#|~]|^[-+=:]")
_MENTION = re.compile(r"@")
_REFERENCE = re.compile(r"(#|\bGH-)(?=\d)", re.IGNORECASE)
_BARE_LINK = re.compile(r"(\b[a-z][a-z0-9+.-]*:)(?=//)|(\bwww)(?=\.)|(\b(?:mailto|xmpp):)", re.IGNORECASE)
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


def strip_ansi(text: str) -> str:
    """Without terminal colours, cursor movements and window titles."""
    return _ANSI.sub("", text)


def visible(text: str) -> str:
    """Line ends as ``\\n``, no terminal codes, and every control, bidi, zero-width or unassigned character as ``‹U+202E›``."""
    text = strip_ansi(text).replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _HIDDEN else f"‹U+{ord(c):04X}›" for c in text)


def one_line(text: str, limit: int) -> str:
    """Visible text on one line, at most ``limit`` characters, an ellipsis where it was cut."""
    text = " ".join(visible(text).split())
    return text if len(text) <= limit else text[: max(limit - 1, 0)].rstrip() + "…"


def escape(text: str, limit: int = 1000) -> str:
    """Plain text as one line of Markdown."""
    return _escaped(one_line(text, limit))


def code(text: str, limit: int = 200) -> str:
    """An inline code span, whatever backticks the text holds; never empty."""
    text = one_line(text, limit) or " "
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text[0] == "`" or text[-1] == "`" or (text[0] == text[-1] == " " and text.strip()) else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def prose(text: str, limit: int = 1000) -> str:
    """One paragraph in which only code spans keep their meaning; everything else is plain text."""
    text = one_line(text, limit)
    parts: list[str] = []
    at = 0
    for span in _SPAN.finditer(text):
        parts += [_escaped(text[at : span.start()]), code(span.group(2).strip() or " ", limit)]
        at = span.end()
    return "".join([*parts, _escaped(text[at:])])


def fence(
    text: str, language: str = "", lines: int = 60, chars: int = 20_000, keep: Literal["head", "tail"] = "head", width: int = 1000
) -> str:
    """A fenced block of at most ``lines`` lines, ``chars`` characters and ``width`` a line, with a note below it when something was cut."""
    text = visible(text).strip("\n").replace("<!-- ledex:", f"<!-- ledex{ZERO_WIDTH_SPACE}:")  # nobody else writes our marker
    kept, note = cap(text, lines, chars, keep, width)
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", kept)), default=0))
    name = re.sub(r"[^A-Za-z0-9_+-]", "", language)[:30]
    block = f"{ticks}{name}\n{kept}\n{ticks}"
    return f"{block}\n_{note}_" if note else block


def cap(text: str, lines: int, chars: int, keep: Literal["head", "tail"] = "head", width: int = 1000) -> tuple[str, str]:
    """Whole lines of the text that fit, and a sentence on what was cut ("" when nothing was)."""
    every = text.split("\n")
    chosen: list[str] = []
    used = 0
    shortened = 0
    for line in every if keep == "head" else reversed(every):
        if len(line) > width:
            line, shortened = line[: width - 1] + "…", shortened + 1
        if len(chosen) == lines or used + len(line) + 1 > chars:
            break
        chosen.append(line)
        used += len(line) + 1
    if keep == "tail":
        chosen.reverse()
    notes = []
    if len(chosen) < len(every):
        notes.append(f"cut: the {'first' if keep == 'head' else 'last'} {len(chosen)} of {len(every)} lines are shown")
    if shortened:
        notes.append(f"{shortened} long line{'s' if shortened > 1 else ''} cut at {width} characters")
    return "\n".join(chosen), "; ".join(notes)


def link(text: str, url: str, limit: int = 200) -> str:
    """A link to an http(s) address that we know; only its text when the address is none."""
    return _linked(escape(text, limit), url)


def code_link(text: str, url: str, limit: int = 200) -> str:
    """The same with the text as a code span."""
    return _linked(code(text, limit), url)


def _linked(shown: str, url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return shown
    if parts.scheme not in ("http", "https") or not parts.netloc or visible(url) != url or len(url) > 2000:
        return shown
    # A percent sign is kept: GitHub's addresses come quoted. Brackets, blanks and quotes would end the target.
    return f"[{shown}]({quote(url, safe=';/?:@&=+$,#%~!*')})"


def _escaped(text: str) -> str:
    # What would steer the renderer, then what GitHub looks for after rendering.
    text = _BARE_LINK.sub(lambda m: m.group(0) + ZERO_WIDTH_SPACE, text)
    text = _REFERENCE.sub(rf"\1{ZERO_WIDTH_SPACE}", text)
    text = _MENTION.sub(f"@{ZERO_WIDTH_SPACE}", text)
    text = re.sub(r"^(\d{1,9})([.)])", r"\1\\\2", _PUNCTUATION.sub(lambda m: "\\" + m.group(0), text))
    return text.replace("&", "&amp;").replace("$", "&#36;")
