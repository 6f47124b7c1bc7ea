"""``ledex fix`` with a model behind a real HTTP endpoint whose answers are scripted: in Python, in JavaScript, and where there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest

from tests.end_to_end.checkouts import ROOT, Checkout, Run, command, fix
from tests.inference.model.scripted import Chat, ScriptedServer

SCHEMA = json.loads((ROOT / "inference" / "outcome.schema.json").read_text(encoding="utf-8"))
SLUG = """\
def slug(title):
    return title


def initials(name):
    return "".join(part[0] for part in name.split())
"""
SLUG_FIX = """\
The title comes back as it is: nothing makes it lower case or joins its words.

slugs.py
<<<<<<< SEARCH
    return title
=======
    words = "".join(c.lower() if c.isalnum() else " " for c in title).split()
    return "-".join(words)
>>>>>>> REPLACE
"""
SLUG_TESTS = """\
from slugs import initials, slug


def test_slug():
    assert slug("Hello, World! It is 7") == "hello-world-it-is-7"
    assert slug("a  b") == "a-b"


def test_initials():
    assert initials("Ada King") == "AK"
"""
CART = """\
'use strict';

function total(items) {
  let sum = 0;
  for (const item of items) {
    sum -= item.price * item.count;
  }
  return sum;
}

function names(items) {
  return items.map((item) => item.name);
}

module.exports = { total, names };
"""
CART_TESTS = """\
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { total, names } = require('../src/cart.js');

test('adds prices', () => {
  assert.strictEqual(total([{ name: 'a', price: 2, count: 3 }, { name: 'b', price: 1, count: 1 }]), 7);
});

test('an empty cart', () => {
  assert.strictEqual(total([]), 0);
});

test('names', () => {
  assert.deepStrictEqual(names([{ name: 'a' }]), ['a']);
});
"""
CART_WRONG = CART.split("function names", maxsplit=1)[0].split("\n\n")[1].replace("-=", "=")
CART_RIGHT = "The loop subtracts.\n\n```diff\n--- a/src/cart.js\n+++ b/src/cart.js\n@@ -5,3 +5,3 @@\n   for (const item of items) {\n" \
    "-    sum -= item.price * item.count;\n+    sum += item.price * item.count;\n   }\n```\n"  # fmt: skip


def refined(chat: Chat) -> str:
    """A whole function that is wrong; then, told what it did, the right line as a diff."""
    if chat.number == 0:
        return f"The sum has to be set.\n\nsrc/cart.js\n```javascript\n{CART_WRONG}\n```\n"
    return CART_RIGHT if "adds prices" in chat.messages[-1]["content"] else "no feedback came"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Run:
    scratch = tmp_path_factory.mktemp("model")
    checkout = Checkout(folder(scratch, "slugs"), options=["--budget", "20"])
    checkout.files({"slugs.py": SLUG, "test_slugs.py": SLUG_TESTS}).commit()
    with ScriptedServer([SLUG_FIX]) as server:
        checkout.variables |= {"LEDEX_INFERENCE_ENDPOINTS": server.url, "LEDEX_INFERENCE_SAMPLES": "1"}
        return fix(checkout, scratch)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, list[Chat]]]:
    if shutil.which("node") is None:
        pytest.skip("node is not here: apt-get install nodejs")
    scratch = tmp_path_factory.mktemp("node")
    checkout = Checkout(folder(scratch, "cart"), own_python=True, options=["--engine", "model"]).files({
        "src/cart.js": CART, "test/cart.test.js": CART_TESTS,
        "package.json": json.dumps({"name": "cart", "version": "1.0.0", "scripts": {"test": "node --test"}})}).commit()  # fmt: skip
    with ScriptedServer(refined) as server:
        checkout.variables |= {"LEDEX_INFERENCE_ENDPOINTS": server.url, "LEDEX_INFERENCE_SAMPLES": "1",
                               "LEDEX_SANDBOX_CACHE_FOLDER": str(scratch / "cache")}  # fmt: skip
        yield fix(checkout, scratch), server.chats


def folder(scratch: Path, name: str) -> Path:
    (scratch / name).mkdir()
    return scratch / name


def test_the_model_repairs_what_the_templates_cannot(python: Run) -> None:
    assert python.code == 0, python.stdout + python.stderr
    assert (python.best["origin"], python.best["model"], python.best["verdict"]["refused_by"]) == ("model", "tiny", None)
    assert python.best["explanation"] == SLUG_FIX.split("\n\n", maxsplit=1)[0]


def test_the_outcome_tells_what_the_model_was_asked(python: Run) -> None:
    assert python.outcome is not None
    jsonschema.validate(python.outcome, SCHEMA)
    asked = python.outcome["model"]
    assert (asked["names"], asked["answers"], asked["rounds"], asked["refused"]) == (["tiny"], 1, 0, {})
    assert asked["tokens"]["completion"] == len(SLUG_FIX)
    assert asked["prefix_cache_hit_rate"] == 0


def test_the_model_is_named_where_the_patch_is_shown(python: Run) -> None:
    assert "Written by an AI model: tiny" in python.stdout


def test_a_javascript_project_is_repaired_at_round_2_on_nodes_own_runner(node: tuple[Run, list[Chat]]) -> None:
    run, chats = node
    assert run.code == 0, run.stdout + run.stderr
    assert (run.best["origin"], run.best["path"], run.best["line"]) == ("model", "src/cart.js", 6)
    assert run.best["verdict"]["level"] in ("V3", "V4")
    assert b"+    sum += item.price * item.count;" in run.patch
    assert len(chats) == 2
    assert run.outcome is not None
    assert run.outcome["model"]["rounds"] == 1


def test_the_javascript_prompt_shows_the_function_and_its_failing_test(node: tuple[Run, list[Chat]]) -> None:
    task, code, feedback = (one["content"] for one in node[1][0].messages)
    assert "test('adds prices', () => {" in task
    assert code.startswith("src/cart.js, from line 3")
    assert "function total(items) {" in code
    assert "7" in feedback


Setting = Callable[[dict[str, str]], Checkout]


@pytest.mark.parametrize(("variables", "policy", "words"), [
    ({}, "", "no model is configured: set LEDEX_INFERENCE_ENDPOINTS"),
    ({"LEDEX_INFERENCE_ENDPOINTS": "http://127.0.0.1:9"}, "[limits]\ngpu_seconds = 0\n", "set gpu_seconds above 0"),
    ({"LEDEX_INFERENCE_ENDPOINTS": "localhost"}, "", "LEDEX_INFERENCE_ENDPOINTS: must begin with http://"),
    ({"LEDEX_INFERENCE_CHECKPOINT": "/nowhere"}, "", "/nowhere is no checkpoint"),
], ids=["nothing", "policy", "address", "checkpoint"])  # fmt: skip
def test_asking_for_a_model_that_cannot_be_had_is_wrong_use(tmp_path: Path, variables: dict[str, str], policy: str, words: str) -> None:
    checkout = Checkout(folder(tmp_path, "slugs")).files({"slugs.py": SLUG, ".github/ledex.toml": policy}).commit()
    done = command("fix", checkout.folder, "--engine", "model", variables=variables)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
