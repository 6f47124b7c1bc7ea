"""The demonstration's parts that need no sandbox; the whole of it is shown in ``tests/end_to_end``."""

from __future__ import annotations

import ast
from pathlib import Path

from bot import demo
from bot.demo.emulator.state import CheckRun, CheckSuite, Comment, Pull, Repository, User
from bot.demo.page import check_run_page, comment_page, to_html
from bot.demo.show import folded


def a_comment(body: str) -> Comment:
    author = User(2, "ledex[bot]", "Bot")
    repository = a_repository()
    pull = Pull(1, 1, repository, repository, "topic", "a" * 40, "main", "b" * 40, "t", None, author, 0.0, 0.0)
    return Comment(5, pull, author, body, 0.0, 0.0, by_app=True)


def a_repository() -> Repository:
    return Repository(1, User(3, "octo"), "shop", Path("/nowhere"), "main", False)


def test_the_sound_sample_differs_from_the_broken_one_in_each_planted_file_alone() -> None:
    broken, sound = demo.broken_files(), demo.sound_files()
    assert [p for p in broken if broken[p] != sound[p]] == sorted(demo.planted())
    assert broken.keys() == sound.keys()


def test_the_sound_sample_still_compiles() -> None:
    for path, text in demo.sound_files().items():
        if path.endswith(".py"):
            ast.parse(text, path)


def test_a_terminal_shows_what_github_folds_as_one_line() -> None:
    body = "<!-- ledex:v1 pr:1 -->\n\n**Fix ready**\n\n<details><summary>Proof</summary>\n\n- base `b`\n\n</details>\n\n<sub>by `x`</sub>\n"
    assert folded(body) == "**Fix ready**\n\n▸ Proof\n\n\nby `x`"


def test_a_diff_is_coloured_line_by_line() -> None:
    html = to_html("```diff\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a < b\n+a <= b\n c\n```\n")
    assert "<span class='pl-md'>-a &lt; b\n</span><span class='pl-mi1'>+a &lt;= b\n</span> c\n" in html


def test_other_fenced_text_is_not_coloured_and_cannot_become_html() -> None:
    assert to_html("```sh\n<script>+x\n```\n") == "<div class='highlight'><pre>&lt;script&gt;+x\n</pre></div>\n"


def test_the_page_of_a_comment_needs_nothing_from_elsewhere() -> None:
    page = comment_page(a_comment("**Fix ready** & done\n"))
    assert "<strong>Fix ready</strong> &amp; done" in page
    assert "<strong>ledex</strong>" in page
    assert not [word for word in ("src=", "<link", "@import", "url(http") if word in page]


def test_the_page_of_a_check_run_shows_its_buttons_and_conclusion() -> None:
    suite = CheckSuite(1, a_repository(), "a" * 40, "topic", "ours", 0.0, 0.0)
    check = CheckRun(2, suite, "ledex", "completed", "success", title="<Fix>", summary="**yes**", text="details")
    check.actions = [{"label": "Apply fix", "description": "Commit it", "identifier": "apply"}]
    page = check_run_page(check)
    assert all(part in page for part in ("&lt;Fix&gt;", "<strong>yes</strong>", "Apply fix", ">success<", "details"))
