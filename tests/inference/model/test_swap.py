"""Adapters are swapped while failures are being repaired: no request fails, and each trajectory names the one version that wrote it."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from inference.adapters import Registry
from inference.attempt import Attempt
from inference.model.lora import synchronize
from inference.model.openai import OpenAISampler
from inference.proposer import Search
from inference.refinement import ModelProposer
from inference.settings import load_settings
from tests.inference.model.scripted import ScriptedServer
from tests.inference.model.swap import recorded_versions, rounds_over_a_swap
from tests.inference.model.test_adapters import publish
from tests.inference.test_refinement import QUICK, Project, make_project

FAILURES, ROUNDS = 12, 4


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "project").mkdir()
    return make_project(tmp_path / "project")


def test_each_trajectory_names_the_one_version_that_wrote_all_of_its_rounds(project: Project, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    first, second = publish(registry, "a"), publish(registry, "b")
    registry.start_canary(first)
    registry.promote()
    with (
        ScriptedServer(lambda chat: f"by {chat.model}", latency=0.02) as server,
        OpenAISampler(load_settings(endpoints=server.url), registry) as sampler,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):  # fmt: skip

        def swap() -> None:
            registry.start_canary(second)
            registry.promote()
            assert sampler.synchronize() == {}
            # As after one more promotion: the old version is taken off the server while dialogues are under way on it.
            synchronize(client, {second: registry.verified_folder(second)})

        recorded = rounds_over_a_swap(project, sampler, registry, swap, FAILURES, ROUNDS)
        assert sampler.totals.failures == 0
        assert sampler.totals.requests == FAILURES * ROUNDS
    versions = [recorded_versions(rounds) for rounds in recorded]
    assert {len(one) for one in versions} == {1}
    assert set.union(*versions) == {first, second}
    for rounds, [version] in zip(recorded, versions, strict=True):
        assert {one.completion for one in rounds} == {f"by {version}"[:16]}


def test_a_registry_that_cannot_be_read_ends_the_models_part_with_a_sentence(project: Project, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    publish(registry, "a")
    (registry.folder / "registry.json").write_text("{", encoding="utf-8")
    with ScriptedServer([]) as server, OpenAISampler(load_settings(endpoints=server.url), registry) as sampler:
        search, began = Search(), time.monotonic()
        model = ModelProposer(sampler, adapter=lambda: registry.choose(1, 0.1))
        attempt = Attempt(project.head, project.bench, (model,), QUICK, project.folder, lambda _: None, 1, search, began, began + 20)
        assert attempt.one(project.reproduction, began + 20) == (None, [])
        assert server.chats == []
    assert "registry.json is no JSON" in search.notes[-1]
