"""What stays forgeable in other languages, shown on node's own runner: this fails on the day that it no longer is, and limits.NOT_STOPPED
has to change."""

from __future__ import annotations

from pathlib import Path

from sandbox.bubblewrap import BubblewrapRunner
from sandbox.limits import NOT_STOPPED
from sandbox.refusal import Scope, refusal
from sandbox.settings import SandboxSettings
from sandbox.testing import run_tests
from sandbox.verification import verify
from tests.languages.conftest import needs, open_project
from tests.languages.samples import NODE
from tests.sandbox.conftest import diff

BEFORE = NODE.files["src/cart.js"]
FORGERY = 'import { rmSync, writeFileSync } from "node:fs";\n' + BEFORE.replace(
    "  let sum = 0;\n",
    """\
  const file = "/work/head/test/cart.test.js";
  const told = [["start", "total", 0], ["start", "adds every line", 1], ["result", "adds every line", 1],
    ["start", "is 0 for an empty cart", 1], ["result", "is 0 for an empty cart", 1], ["result", "total", 0],
    ["start", "finds the cheapest", 0], ["result", "finds the cheapest", 0]];
  const rows = told.map(([kind, name, nesting]) => ({ kind, name, nesting, file, passed: true, suite: name === "total" }));
  const place = "/tmp/led" + "ex-report";
  rmSync(place);
  writeFileSync(place, [...rows, { kind: "end" }].map((row) => JSON.stringify(row) + "\\n").join(""));
  process["really" + "Exit"](0);
  let sum = 0;
""",
)


def test_a_patch_that_hides_its_names_can_replace_the_report(tmp_path: Path, runner: BubblewrapRunner, settings: SandboxSettings) -> None:
    needs(NODE)
    project = open_project(NODE, tmp_path / "work", runner, settings)
    forgery = FORGERY.replace("/work/head", project.head.tree().inside)
    patch = diff(NODE.path, BEFORE, forgery)
    run = run_tests(project.bench, project.head.patched(patch, project.space()))
    assert run.trustworthy
    assert run.report.outcomes == dict.fromkeys((*NODE.failing, *project.reproduction.passing), "passed")
    verdict = verify(project.bench, project.head, project.reproduction, patch, Scope(), project.space(), repeats=1)
    assert verdict.level >= 1, [c.detail for c in verdict.checks]
    assert any("In other languages" in sentence for sentence in NOT_STOPPED)


def test_the_same_patch_in_plain_words_is_refused() -> None:
    hidden, plain = FORGERY, FORGERY.replace('process["really" + "Exit"]', "process.reallyExit").replace('"led" + "ex', '"ledex')
    assert refusal({NODE.path: (BEFORE.encode(), hidden.encode())}, Scope()) is None
    assert "reaches for the interpreter" in (refusal({NODE.path: (BEFORE.encode(), plain.encode())}, Scope()) or "")
