"""Comment text -> a command for the bot, and its short answers. Pure.

A command is ``/ledex`` as the first word of a line, outside code, quotes and HTML comments; the first one of a comment counts. Who may give
it is asked of GitHub (write access), never read from the comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from bot.markdown import code, one_line

Name = Literal["fix", "explain", "apply", "pr", "reject", "retry", "rerun", "proof", "off", "on", "help"]
Reason = Literal["wrong", "incomplete", "unsafe", "style", "not-wanted"]
NAMES: tuple[Name, ...] = get_args(Name)
REASONS: tuple[Reason, ...] = get_args(Reason)
_COMMAND = re.compile(r"^ {0,3}/ledex(?:[ \t]+(\S+)(?:[ \t]+(.*))?)?[ \t]*$", re.IGNORECASE)
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_MAX_TEXT = 1000
_HELP: dict[Name, str] = {
    "fix": "look for a fix now",
    "explain": "explain the failure, without a fix",
    "apply": "commit the verified patch to this branch, if the head is still the one it was verified on",
    "pr": "open a stacked pull request with the verified patch",
    "reject": "say why the patch is no good: `wrong`, `incomplete`, `unsafe`, `style` or `not-wanted`, and words of your own",
    "retry": "look again, with a hint in your words",
    "rerun": "repeat the failing tests in the sandbox, to see whether they are flaky",
    "proof": "show how the patch was verified",
    "off": "leave this pull request alone",
    "on": "work on this pull request again",
    "help": "show this list",
}


@dataclass(frozen=True)
class Command:
    """``reason`` belongs to ``reject``; ``text`` is what follows: the words of a rejection, the hint of a retry. It is from outside."""

    name: Name
    reason: Reason | None = None
    text: str = ""


@dataclass(frozen=True)
class Unknown:
    """``/ledex`` with a word that is none of ours."""

    word: str


def parse(body: str) -> Command | Unknown | None:
    """The first command of a comment; None when it has none."""
    for line in _own_lines(body):
        found = _COMMAND.match(line)
        if found is None:
            continue
        word, rest = (found.group(1) or "help").lower(), (found.group(2) or "").strip()[:_MAX_TEXT]
        name = next((n for n in NAMES if n == word), None)
        if name is None:
            return Unknown(one_line(word, 40))
        if name == "reject":
            head, _, tail = rest.partition(" ")
            reason = next((r for r in REASONS if r == head.lower().replace("_", "-").rstrip(":,.")), None)
            return Command(name, reason, tail.strip() if reason else rest)
        return Command(name, text=rest if name in ("retry", "fix", "explain") else "")
    return None


def _own_lines(body: str) -> Iterator[str]:
    """Lines outside code and HTML comments. A quoted line begins with its mark, so that no command stands first in it."""
    fence = ""
    commented = False
    for line in body.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark.group(1)[0] == fence[0] and len(mark.group(1)) >= len(fence) and not mark.group(2).strip():
                fence = ""
        elif commented:
            commented = "-->" not in line
        elif mark and not (mark.group(1)[0] == "`" and "`" in mark.group(2)):
            fence = mark.group(1)
        elif "<!--" in line:
            commented = "-->" not in line.rpartition("<!--")[2]
        elif not line.startswith(("    ", "\t")):
            yield line


def unknown_reply(unknown: Unknown) -> str:
    """One short answer to a word that is no command."""
    return f"{code('/ledex ' + unknown.word, 60)} is no command; `/ledex help` lists them."


def help_reply(available: tuple[str, ...] = NAMES) -> str:
    """The list of commands that can be used here."""
    rows = [f"- `/ledex {name}`: {_HELP[name]}" for name in NAMES if name in available]
    return "\n".join(["Commands, for people with write access, at the start of a line:", "", *rows])


def refused_reply(command: Command, why: str) -> str:
    """Why a command is not carried out; ``why`` is a clause of ours, such as "the head has moved on"."""
    return f"`/ledex {command.name}` was not carried out: {why}."
