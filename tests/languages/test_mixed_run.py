"""One CI run whose jobs fail in two languages: Python is repaired by the templates, JavaScript by a model, and one comment tells it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bot.demo.emulator import script
from bot.demo.stage import stage
from bot.markdown import visible
from inference.repair import repair_checkout
from inference.settings import load_settings
from sandbox.settings import SandboxSettings
from tests.bot.shop import BROKEN, LOG, SHOP, TESTS
from tests.inference.model.scripted import ScriptedServer
from tests.languages.conftest import needs
from tests.languages.samples import NODE
from tests.languages.test_repairs import edit

JS_LOG = """\
TAP version 13
# Subtest: total
    # Subtest: adds every line
    not ok 1 - adds every line
      ---
      duration_ms: 2.011512
      location: '/home/runner/work/shop/shop/web/test/cart.test.js:6:3'
      failureType: 'testCodeFailure'
      error: |-
        Expected values to be strictly equal:

        125 !== 625

      code: 'ERR_ASSERTION'
      name: 'AssertionError'
      stack: |-
        TestContext.<anonymous> (file:///home/runner/work/shop/shop/web/test/cart.test.js:7:12)
      ...
# tests 3
# fail 1
# duration_ms 80.5
##[error]Process completed with exit code 1.
"""


def test_failures_in_two_languages_become_one_comment(tmp_path: Path, settings: SandboxSettings) -> None:
    needs(NODE)
    web = {f"web/{path}": text for path, text in NODE.files.items()}
    right = {**web, f"web/{NODE.path}": web[f"web/{NODE.path}"].replace(NODE.bug, NODE.fix)}
    with ScriptedServer(edit(NODE, NODE.fix, "The first line is left out.", "web/")) as server:
        inference = load_settings(endpoints=server.url, samples=1, rounds=1)
        repair = partial(repair_checkout, settings=settings, inference=inference)
        with stage(tmp_path / "stage", extra={"repair": repair}, repair_seconds=120.0) as app:
            shop = script.add_repository(app.emulator, "octo/shop", {"shop.py": SHOP, "test_shop.py": TESTS, **right}, writers=("octocat",))
            pull = script.open_pull_request(app.emulator, shop, "cheap", {"shop.py": BROKEN, f"web/{NODE.path}": web[f"web/{NODE.path}"]})
            script.fail_run(app.emulator, pull, [script.CiJob("python", LOG), script.CiJob("web", JS_LOG)])
            app.settle(400.0)
            [comment] = script.comments_of(app.emulator, pull)
    assert "**Fix ready**" in comment.body, visible(comment.body)
    assert "+    return min(prices)" in comment.body
    assert "+  for (let i = 0; i &lt; lines.length; i++) {" in comment.body or "+  for (let i = 0; i < lines.length; i++) {" in comment.body
    assert "The first line is left out." in comment.body
