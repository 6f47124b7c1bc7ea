"""What the bot wrote, as GitHub shows it: Markdown -> a page that needs no network. Only the box around the text is ours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from bot.demo.emulator.state import CheckRun, Comment

_STYLE = Path(__file__).with_name("github-markdown.css")
_BOX = """
body { margin: 0; padding: 24px; background: #fff; font-family: -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; }
.box { max-width: 860px; margin: 0 auto; border: 1px solid #d1d9e0; border-radius: 6px; }
.head { display: flex; gap: 8px; align-items: center; padding: 8px 16px; border-bottom: 1px solid #d1d9e0; border-radius: 6px 6px 0 0;
        background: #f6f8fa; font-size: 14px; color: #59636e; }
.head strong { color: #1f2328; }
.label { border: 1px solid #d1d9e0; border-radius: 1em; padding: 0 7px; font-size: 12px; line-height: 18px; }
.success { background: #1f883d; border-color: #1f883d; color: #fff; }
.buttons { margin-left: auto; display: flex; gap: 6px; }
.button { border: 1px solid #d1d9e0; border-radius: 6px; background: #fff; color: #1f2328; padding: 3px 10px; font-size: 12px; }
.part { padding: 16px; }
.part + .part { border-top: 1px solid #d1d9e0; }
.part h3 { margin: 0 0 8px; font-size: 16px; color: #1f2328; font-weight: 600; }
.markdown-body { font-size: 14px; }
.note { margin: 0 0 12px; padding: 8px 12px; border-left: 3px solid #d4a72c; background: #fff8c5; font-size: 13px; }
.note pre { margin: 4px 0 0; white-space: pre-wrap; font: inherit; }
"""


def comment_page(comment: Comment) -> str:
    """A comment on a pull request's conversation."""
    head = f"<strong>{escape(comment.author.login.removesuffix('[bot]'))}</strong><span class='label'>bot</span><span>commented</span>"
    return _page("Comment", head, [f"<div class='markdown-body'>{to_html(comment.body)}</div>"])


def check_run_page(check: CheckRun) -> str:
    """A check run's page: title, buttons, annotations, summary and text."""
    conclusion = check.conclusion or check.status
    buttons = "".join(f"<span class='button' title='{escape(a['description'])}'>{escape(a['label'])}</span>" for a in check.actions)
    kind = "label success" if conclusion == "success" else "label"
    head = f"<strong>{escape(check.name)}</strong><span class='{kind}'>{escape(conclusion)}</span><span class='buttons'>{buttons}</span>"
    parts = [f"<h3>{escape(check.title or '')}</h3><div class='markdown-body'>{to_html(check.summary or '')}</div>"]
    if check.annotations:
        notes = "".join(
            f"<div class='note'><strong>{escape(a.title or a.level)}</strong> · {escape(a.path)}:{a.start_line}"
            f"<pre>{escape(a.message)}</pre></div>" for a in check.annotations)  # fmt: skip
        parts.append(f"<h3>Annotations</h3>{notes}")
    if check.text:
        parts.append(f"<h3>Details</h3><div class='markdown-body'>{to_html(check.text)}</div>")
    return _page(check.title or check.name, head, parts)


def to_html(markdown: str) -> str:
    """GitHub-flavoured Markdown, as far as the bot writes it: tables, strikethrough, ``<details>``; a line end in a comment is one."""
    parser = MarkdownIt("commonmark", {"html": True, "breaks": True}).enable(["table", "strikethrough"])
    parser.add_render_rule("fence", _fence)
    return str(parser.render(markdown))


def _fence(_: RendererHTML, tokens: Sequence[Token], at: int, __: OptionsDict, ___: Any) -> str:
    token = tokens[at]
    text = escape(token.content, quote=False)
    if token.info.strip() == "diff":
        text = "".join(_diff_line(line) for line in text.splitlines(keepends=True))
    return f"<div class='highlight'><pre>{text}</pre></div>\n"


def _diff_line(line: str) -> str:
    kind = "pl-mdr" if line.startswith("@@") else {"+": "pl-mi1", "-": "pl-md"}.get(line[:1], "")
    if line.startswith(("+++ ", "--- ")):
        kind = "pl-mh"
    return f"<span class='{kind}'>{line}</span>" if kind else line


def _page(title: str, head: str, parts: Sequence[str]) -> str:
    inside = "".join(f"<div class='part'>{part}</div>" for part in parts)
    style = f"{_STYLE.read_text(encoding='utf-8')}{_BOX}"
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title><style>{style}</style></head>\n"
        f"<body><div class='box'><div class='head'>{head}</div>{inside}</div></body></html>\n"
    )
