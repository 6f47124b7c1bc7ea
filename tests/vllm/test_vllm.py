"""The samplers and the adapters with a real vLLM: ``make test-vllm``. Minutes long, so they are left out of every other run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inference.adapters import Registry
from inference.attempt import Attempt
from inference.model import Answer, ModelRefused, Options
from inference.model.doctor import examine
from inference.model.lora import list_adapters, load_adapter, synchronize, unload_adapter
from inference.model.openai import OpenAISampler
from inference.model.transformers import TransformersSampler
from inference.proposer import Proposal, Search
from inference.refinement import Effort, ModelProposer
from inference.settings import load_settings
from inference.trajectory import Message
from tests.inference.model.scripted import ScriptedServer
from tests.inference.model.swap import recorded_versions, rounds_over_a_swap
from tests.inference.test_refinement import QUICK, RIGHT, WRONG, Project, make_project
from tests.vllm.serving import served
from tests.vllm.tiny_model import CONTEXT_TOKENS, make_tiny_adapter, make_tiny_model, teach

pytestmark = pytest.mark.vllm

MESSAGES = (Message("system", "You repair code."), Message("user", "def f(x):\n    return x + 1\n" * 20))
GREEDY = Options(temperature=0.0, max_tokens=16, logprobs=True)


def soon(seconds: float = 120) -> float:
    return time.monotonic() + seconds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def registry(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("adapters")
    registry = Registry(folder / "registry")
    for seed in (1, 2):
        registry.publish(make_tiny_adapter(checkpoint, folder / str(seed), seed), "repair", "tiny")
    return registry


@pytest.fixture(scope="module")
def url(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(checkpoint, tmp_path_factory.mktemp("log") / "vllm.log") as address:
        # The first request with log-probabilities takes up to half a minute, whoever asks.
        with OpenAISampler(load_settings(endpoints=address)) as sampler:
            sampler.sample(MESSAGES, GREEDY, soon())
        yield address


@pytest.fixture
def sampler(url: str, registry: Registry) -> Iterator[OpenAISampler]:
    with OpenAISampler(load_settings(endpoints=url), registry) as sampler:
        yield sampler


@pytest.fixture(scope="module")
def local(checkpoint: Path, registry: Registry) -> TransformersSampler:
    return TransformersSampler(checkpoint, registry, device="cpu")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def taught(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A vLLM of a model that was taught, in seconds, a wrong first answer to the project's failure, and the right one to the feedback."""
    with ScriptedServer([WRONG, RIGHT]) as server:
        repair(project, server.url, Effort(samples=1, rounds=1))
        asked = [tuple(Message(one["role"], one["content"]) for one in chat.messages) for chat in server.chats]
    checkpoint = make_tiny_model(tmp_path_factory.mktemp("taught"))
    assert teach(checkpoint, list(zip(asked, [WRONG, RIGHT], strict=True))) < 0.05
    with served(checkpoint, tmp_path_factory.mktemp("log") / "vllm.log") as address:
        yield address


def repair(project: Project, url: str, effort: Effort) -> tuple[Proposal | None, Search]:
    with OpenAISampler(load_settings(endpoints=url)) as sampler:
        search, began = Search(), time.monotonic()
        attempt = Attempt(project.head, project.bench, (ModelProposer(sampler, effort),), QUICK, project.folder, lambda _: None, 1, search,
                          began, began + 120)  # fmt: skip
        return attempt.one(project.reproduction, began + 120)[0], search


def token_ids(answer: Answer) -> list[tuple[int, ...] | None]:
    return [one.token_ids for one in answer.completions]


def test_n_completions_with_a_seed_are_repeated_and_differ_from_each_other(sampler: OpenAISampler) -> None:
    options = Options(n=4, temperature=1.0, max_tokens=24, seed=3, logprobs=True)
    first, again = sampler.sample(MESSAGES, options, soon()), sampler.sample(MESSAGES, options, soon())
    assert token_ids(first) == token_ids(again)
    assert len(set(token_ids(first))) == 4


def test_log_probabilities_come_one_for_each_token_with_the_prompts_ids(sampler: OpenAISampler) -> None:
    answer = sampler.sample(MESSAGES, Options(n=2, temperature=0.8, max_tokens=24, logprobs=True), soon())
    for one in answer.completions:
        assert one.token_ids is not None
        assert one.logprobs is not None
        assert len(one.token_ids) == len(one.logprobs) > 0
    assert answer.prompt_token_ids is not None
    assert len(answer.prompt_token_ids) == answer.usage.prompt_tokens


def test_a_regex_binds_the_text(sampler: OpenAISampler) -> None:
    answer = sampler.sample(MESSAGES, Options(n=8, temperature=1.0, max_tokens=24, regex="(yes|no), [0-9]{3}"), soon())
    assert {one.text[:-3] for one in answer.completions} <= {"yes, ", "no, "}
    assert all(one.text[-3:].isdigit() and one.finish == "stop" for one in answer.completions)


def test_a_regex_that_is_none_is_refused_in_vllms_words(sampler: OpenAISampler) -> None:
    with pytest.raises(ModelRefused, match="invalid regex"):
        sampler.sample(MESSAGES, Options(regex="(["), soon())


def test_the_second_round_finds_the_first_in_the_prefix_cache(sampler: OpenAISampler) -> None:
    begin = (Message("user", f"{time.time_ns()}\n" + "def g(values):\n    return sorted(values)\n" * 40),)
    first = sampler.sample(begin, GREEDY, soon())
    second = sampler.sample((*begin, Message("assistant", first.completions[0].text), Message("user", "It fails.")), GREEDY, soon())
    assert first.usage.cached_tokens < 0.2 * first.usage.prompt_tokens
    assert second.usage.cached_tokens > 0.6 * second.usage.prompt_tokens


def test_the_context_and_the_tokens_of_a_text_are_the_models_own(sampler: OpenAISampler, local: TransformersSampler) -> None:
    assert sampler.context_tokens == CONTEXT_TOKENS
    for text in ("def f(x): return x", "héllo <|end|> \n\n", ""):
        assert sampler.count_tokens(text) == local.count_tokens(text)


def test_too_long_a_prompt_is_refused(sampler: OpenAISampler) -> None:
    with pytest.raises(ModelRefused, match="maximum context length"):
        sampler.sample((Message("user", "word " * 10_000),), GREEDY, soon())


def test_vllm_and_the_sampler_in_this_process_agree_on_tokens_and_log_probabilities(
    sampler: OpenAISampler, local: TransformersSampler, registry: Registry
) -> None:
    for adapter in (None, *(card.served_name for card in registry.cards())):
        there, here = sampler.sample(MESSAGES, GREEDY, soon(), adapter), local.sample(MESSAGES, GREEDY, soon(), adapter)
        assert there.prompt_token_ids == here.prompt_token_ids
        assert token_ids(there) == token_ids(here)
        assert there.completions[0].logprobs == pytest.approx(here.completions[0].logprobs, abs=0.02)


def test_temperature_does_not_change_what_log_probabilities_mean(sampler: OpenAISampler, checkpoint: Path) -> None:
    """They are the model's own on both sides, or training would mix two things."""
    import torch
    from transformers import AutoModelForCausalLM

    answer = sampler.sample(MESSAGES, Options(temperature=0.5, max_tokens=16, seed=1, logprobs=True), soon())
    [one] = answer.completions
    assert one.token_ids is not None
    assert answer.prompt_token_ids is not None
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.inference_mode():
        ids = torch.tensor([[*answer.prompt_token_ids, *one.token_ids]])
        told = torch.log_softmax(model(ids).logits[0, len(answer.prompt_token_ids) - 1 : -1], -1)
    assert one.logprobs == pytest.approx([told[place, token].item() for place, token in enumerate(one.token_ids)], abs=0.02)


def test_a_swap_during_200_requests_fails_none_and_each_is_answered_by_one_version(
    url: str, sampler: OpenAISampler, registry: Registry
) -> None:
    first, second = (card.served_name for card in registry.cards())
    registry.start_canary(first)
    registry.promote()
    client = sampler._pool.endpoints[0].client
    synchronize(client, registry.folders_in_use())
    alone = {name: token_ids(sampler.sample(MESSAGES, GREEDY, soon(), name)) for name in (first, second)}
    assert alone[first] != alone[second]
    synchronize(client, registry.folders_in_use())  # the second is unloaded again: the swap has to load it
    assert list_adapters(client, soon()) == {first}
    done, half = [], threading.Event()

    def ask(number: int) -> tuple[str | None, Answer]:
        name = registry.choose(number, 0.0)
        answer = sampler.sample(MESSAGES, GREEDY, soon(), name)
        done.append(number)
        if len(done) == 80:
            half.set()
        return name, answer

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(ask, number) for number in range(200)]
        assert half.wait(120)
        registry.start_canary(second)
        registry.promote()
        synchronize(client, registry.folders_in_use())
        # As after one more promotion: the old version is taken off while requests are in flight on it.
        synchronize(client, {second: registry.verified_folder(second)})
        answered = [one.result() for one in asked]
    assert len(answered) == 200
    for name, answer in answered:
        assert f"{answer.adapter}@{answer.adapter_hash}" == name
        assert token_ids(answer) == alone[str(name)]
    assert {name for name, _ in answered} == {first, second}


def test_200_requests_of_20_repairs_over_a_swap_are_each_recorded_with_the_one_version_that_answered(
    url: str, sampler: OpenAISampler, registry: Registry, project: Project
) -> None:
    first, second = (card.served_name for card in registry.cards())
    client = sampler._pool.endpoints[0].client
    if registry.states().active != first:
        registry.start_canary(first)
        registry.promote()
    synchronize(client, {first: registry.verified_folder(first)})

    def swap() -> None:
        registry.start_canary(second)
        registry.promote()
        assert sampler.synchronize() == {}
        synchronize(client, {second: registry.verified_folder(second)})

    recorded = rounds_over_a_swap(project, sampler, registry, swap, failures=20, rounds=10, at_once=8)
    assert (sampler.totals.requests, sampler.totals.failures) == (200, 0)
    versions = [recorded_versions(rounds) for rounds in recorded]
    assert {len(one) for one in versions} == {1}
    assert set.union(*versions) == {first, second}
    print(f"200 requests over a swap: {sampler.totals.usage.prompt_tokens} prompt tokens, {sampler.totals.cached_share:.0%} cached")


def test_the_canary_answers_for_its_share_and_a_rollback_brings_the_old_version_back(
    sampler: OpenAISampler, registry: Registry, checkpoint: Path, tmp_path: Path
) -> None:
    active = registry.states().active
    third = registry.publish(make_tiny_adapter(checkpoint, tmp_path, 3), "repair", "tiny").served_name
    registry.start_canary(third)
    assert sampler.synchronize() == {}
    client = sampler._pool.endpoints[0].client
    assert {active, third} <= list_adapters(client, soon())
    by = {number: sampler.sample(MESSAGES, GREEDY, soon(), registry.choose(number, 0.25)) for number in range(40)}
    canaries = [number for number, answer in by.items() if answer.adapter_hash == third.partition("@")[2]]
    assert canaries == [number for number in by if registry.choose(number, 0.25) == third]
    assert 4 <= len(canaries) <= 18
    registry.promote()
    assert registry.choose(0, 0.25) == third
    registry.rollback()
    assert sampler.synchronize() == {}
    assert registry.choose(0, 0.25) == active
    assert third not in list_adapters(client, soon())


def test_a_name_of_somebody_elses_is_replaced_in_place_and_unloaded(sampler: OpenAISampler, registry: Registry) -> None:
    one, two = (registry.verified_folder(card.served_name) for card in registry.cards()[:2])
    client = sampler._pool.endpoints[0].client
    load_adapter(client, "mine", one, soon())
    before = token_ids(sampler.sample(MESSAGES, GREEDY, soon(), "mine"))
    load_adapter(client, "mine", two, soon(), in_place=True)
    after = token_ids(sampler.sample(MESSAGES, GREEDY, soon(), "mine"))
    assert before == token_ids(sampler.sample(MESSAGES, GREEDY, soon(), registry.cards()[0].served_name))
    assert after == token_ids(sampler.sample(MESSAGES, GREEDY, soon(), registry.cards()[1].served_name))
    unload_adapter(client, "mine", soon())
    with pytest.raises(ModelRefused, match=r"not in the registry"):
        sampler.sample(MESSAGES, GREEDY, soon(), "mine")


def test_the_doctor_finds_a_real_vllm_well(url: str, registry: Registry) -> None:
    found = examine(load_settings(endpoints=url, adapters=registry.folder))
    assert [f"{one.name}: {one.detail}" for one in found if not one.ok] == []
    assert len(found) == 6


def test_the_loop_repairs_in_round_2_from_the_feedback_with_a_model_that_learnt_it(project: Project, taught: str) -> None:
    accepted, search = repair(project, taught, Effort(samples=1, rounds=1, temperature=0.0))
    assert [one.completion for one in search.rounds] == [WRONG, RIGHT]
    assert accepted is not None
    assert accepted.verdict is not None
    assert accepted.verdict.level >= 3
    assert search.tokens["cached"] > 0.3 * search.tokens["prompt"]  # most of the second prompt; of the first there is nothing yet
    assert all(one.token_ids and one.logprobs and one.prompt_token_ids for one in search.rounds)


def test_the_loop_repairs_with_structured_output_too(project: Project, taught: str) -> None:
    accepted, search = repair(project, taught, Effort(samples=2, rounds=2, structured=True))
    assert accepted is not None
    assert {one.extra.get("refused") for one in search.rounds} == {None}
