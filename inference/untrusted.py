"""Text that somebody else wrote, as it goes into a prompt: fenced by a mark that it does not hold, and with nothing in it that a chat
template or a tokenizer would take for a turn of the dialogue. ``restored`` undoes that in what the model copies out of it. Pure.
"""

from __future__ import annotations

import re

_JOINER = "\u2060"
_SPECIAL = re.compile(
    r"<(?=\|[^|<>\s]{1,60}\|>|\uff5c[^\uff5c<>]{1,60}\uff5c>|/?(?:s|bos|eos|pad|unk|mask|think|tool_call|tool_response|fim_\w{1,12})>"
    r"|(?:start|end)_of_(?:turn|text)>|\|?end_?of_?text\|?>|<SYS>>|</SYS>>|\w{1,20}_token>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])", re.I)  # fmt: skip
"""Where one of the marks begins by which the common chat templates part their turns."""
_RESTORED = re.compile(rf"([<\[]){_JOINER}")
_UNSEEN = re.compile("[\U000e0000-\U000e007f\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]")
"""Characters that a person does not see and a model reads: tags, turns of direction, controls."""


def neutralised(text: str) -> str:
    """The text without anything that is more to a model than to a person."""
    return _SPECIAL.sub(lambda found: found[0] + _JOINER, _UNSEEN.sub("\ufffd", text))


def restored(text: str) -> str:
    """A model's text with the marks as they stood before ``neutralised``."""
    return _RESTORED.sub(r"\1", text) if _JOINER in text else text


def fenced(text: str, language: str = "") -> str:
    """The text between two lines of backticks, more of them than it has anywhere in a row (three at least)."""
    text = neutralised(text)
    mark = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{mark}{language}\n{text}\n{mark}"


def one_line(text: str, most: int = 400) -> str:
    """The text as part of a sentence of ours: no line end, no backtick, bounded."""
    text = " ".join(neutralised(text).replace("`", "'").split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
