"""A broken sample project of each language, from its checkout to the verified patch, with a model whose answers are scripted."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.policy import Policy, VerifyPolicy
from inference.proposer import Report
from inference.repair import RepairRequest, repair_checkout
from inference.settings import load_settings
from sandbox.settings import SandboxSettings
from tests.git_repository import GitRepository
from tests.inference.model.scripted import Chat, ScriptedServer
from tests.languages.conftest import REPOSITORY, needs
from tests.languages.samples import GO, NODE, SAMPLES, Sample


def edit(sample: Sample, new: str, why: str, folder: str = "") -> str:
    """A completion that changes the lines of the sample's bug."""
    lines = sample.files[sample.path].splitlines()
    line = next(x for x in lines if sample.bug.strip("\n") in x)
    changed = line.replace(sample.bug.strip("\n"), new.strip("\n"))
    return f"{why}\n\n{folder}{sample.path}\n<<<<<<< SEARCH\n{line}\n=======\n{changed}\n>>>>>>> REPLACE\n"


def repaired(  # type: ignore[no-untyped-def]
    folder: Path, files: dict[str, str], script: object, settings: SandboxSettings, report: Report = lambda _: None, **request: object
):  # fmt: skip
    folder.mkdir()
    repository = GitRepository(folder).files(files).commit()
    policy = Policy(verify=VerifyPolicy(repeats=2))
    with ScriptedServer(script) as server:
        outcome = repair_checkout(
            RepairRequest(repository.folder, repository=REPOSITORY, engine="model", policy=policy, budget=900.0, **request),  # type: ignore[arg-type]
            report, settings=settings, inference=load_settings(endpoints=server.url, samples=1, rounds=1))  # fmt: skip
        return outcome, server.chats


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_broken_project_is_repaired_after_one_refinement(tmp_path: Path, settings: SandboxSettings, name: str) -> None:
    sample = SAMPLES[name]
    needs(sample)
    _, old, new, _ = sample.wrong["breaks another"] if "breaks another" in sample.wrong else sample.wrong["does not compile"]
    wrong = edit(sample, new if old == sample.bug else sample.bug.replace(" ", "  "), "It may be this.")
    outcome, chats = repaired(tmp_path / "shop", dict(sample.files), [wrong, edit(sample, sample.fix, "One line is wrong.")], settings)
    assert outcome.status == "fixed", outcome.reason
    assert outcome.best is not None
    assert outcome.best.verdict is not None
    assert (outcome.best.origin, outcome.best.verdict.level, outcome.best.explanation) == ("model", 4, "One line is wrong.")
    prompt = "\n".join(m["content"] for m in chats[0].messages)
    assert sample.bug.strip("\n") in prompt, "the wrong line is shown"
    assert sample.failing[0] in prompt
    assert sample.message.split("\n")[0] in prompt
    assert len(chats) == 2


def test_a_model_that_edits_the_test_is_refused_and_nothing_is_offered(tmp_path: Path, settings: SandboxSettings) -> None:
    needs(NODE)
    path, old, new, _ = NODE.wrong["edits the test"]
    line = next(x for x in NODE.files[path].splitlines() if old in x)
    cheat = f"The test is wrong.\n\n{path}\n<<<<<<< SEARCH\n{line}\n=======\n{line.replace(old, new)}\n>>>>>>> REPLACE\n"
    outcome, chats = repaired(tmp_path / "shop", dict(NODE.files), cheat, settings)
    assert (outcome.status, outcome.best) == ("unfixed", None)
    assert "changes a test" in "\n".join(m["content"] for m in chats[-1].messages)


def test_a_tree_with_two_languages_is_repaired_by_one_patch(tmp_path: Path, settings: SandboxSettings) -> None:
    needs(NODE)
    needs(GO)
    files = {f"{place}/{path}": text for place, sample in (("api", GO), ("web", NODE)) for path, text in sample.files.items()}

    def answer(chat: Chat) -> str:
        place, sample = ("api", GO) if "TestMean" in "\n".join(m["content"] for m in chat.messages) else ("web", NODE)
        return edit(sample, sample.fix, f"{place} is wrong.", f"{place}/")

    near = ("stats/mean_test.go", "/home/runner/work/shop/shop/web/test/cart.test.js")
    outcome, _ = repaired(tmp_path / "shop", files, answer, settings, near=near)
    assert outcome.status == "fixed", outcome.reason
    assert outcome.best is not None
    assert outcome.best.explanation == "1. api is wrong.\n\n2. web is wrong."
    assert (outcome.best.patch.count(b"diff --git"), outcome.test_command) == (2, "cd api && go test ./...; cd web && node --test test/")


def test_of_a_tree_only_the_project_that_the_log_names_is_built(tmp_path: Path, settings: SandboxSettings) -> None:
    needs(NODE)
    web = {f"web/{path}": text for path, text in NODE.files.items()}
    other = '{"scripts": {"test": "jest"}, "devDependencies": {"jest": "0.0.0-there-is-no-such-version"}}\n'
    told: list[str] = []
    outcome, _ = repaired(
        tmp_path / "shop", {"site/package.json": other, "site/cart.test.js": "test('x', () => {});\n", **web},
        edit(NODE, NODE.fix, "One line is wrong.", "web/"), settings, report=lambda p: told.append(p.detail),
        near=("/home/runner/work/shop/shop/web/test/cart.test.js",))  # fmt: skip
    assert (outcome.status, outcome.test_command) == ("fixed", "cd web && node --test test/"), outcome.reason
    assert outcome.notes == ()
    assert not any("site" in detail for detail in told)
