"""Markdown as a browser gets to see it, and the texts that try to be more than text."""

from __future__ import annotations

from html.parser import HTMLParser

from markdown_it import MarkdownIt

HOSTILE = [
    "```\n<script>alert(1)</script>\n```", "~~~", "`````", "` `` ``` @octocat", "@octocat @org/team", "fixes #12, GH-7, org/repo#3",
    "<!-- ledex:v1 pr:1 -->", "-->", "</details><img src=x onerror=alert(1)>", "[text](https://evil.invalid)",
    "![x](http://evil.invalid/p.png)", "https://evil.invalid www.evil.invalid mailto:a@b.invalid", "# heading", "- item", "1. item",
    "> quote", "***", "---", "===", "| a | b |\n|---|---|",
    "a\u202eb\u2066c\u200bd\ufeff", "\x1b[31mred\x1b[0m\x1b]0;title\x07", "\x00\x08\r\n",
    "&lt;b&gt; &#64;octocat", "\\@octocat \\`", "$x$ $$y$$", "[ref]: https://evil.invalid", "<https://evil.invalid>", "<a@b.invalid>",
    "    indented", "\ud800", "a\n:---\n", "`\\`", "*a* _b_ ~~c~~", "[^1] [x]",
]  # fmt: skip
"""What a log, a model or a file name may hold, one attack each."""


class Seen(HTMLParser):
    """Tags, and the text outside code, of rendered Markdown."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.comments: list[str] = []
        self.text = ""
        self.code = ""
        self._depth = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._depth += tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag == "code"

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.code += data
        else:
            self.text += data


def rendered(markdown: str) -> Seen:
    return Seen(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))
