"""The registry on disk, and its versions on a server that is scripted like vLLM."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.adapters import AdapterError, Registry, States, hash_weights, is_served_name, split_served_name
from inference.model import ModelRefused, Options
from inference.model.lora import list_adapters, load_adapter, synchronize, unload_adapter
from inference.model.openai import OpenAISampler
from inference.settings import load_settings
from inference.trajectory import Message
from tests.inference.model.scripted import Chat, ScriptedServer

ASKED = (Message("user", "what is wrong?"),)


def weights(folder: Path, content: str = "weights", rank: int = 8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank}), encoding="utf-8")
    (folder / "adapter_model.safetensors").write_text(content, encoding="utf-8")
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def publish(registry: Registry, content: str, name: str = "repair") -> str:
    return registry.publish(weights(registry.folder.parent / f"w-{content}", content), name, "tiny").served_name


# Cards


def test_a_published_version_is_read_back_as_it_was(registry: Registry, tmp_path: Path) -> None:
    card = registry.publish(weights(tmp_path / "w"), "repair", "tiny", parent=None, data={"mbpp": 374}, metrics={"pass@1": 0.4})
    assert registry.cards() == (card,)
    assert registry.card(card.served_name) == card
    assert (card.name, card.version, card.base_model) == ("repair", 1, "tiny")
    assert (card.data, card.metrics) == ({"mbpp": 374}, {"pass@1": 0.4})


def test_versions_of_a_name_are_counted_and_other_names_count_for_themselves(registry: Registry) -> None:
    for content, name in (("a", "repair"), ("b", "repair"), ("c", "other")):
        publish(registry, content, name)
    assert [(card.name, card.version) for card in registry.cards()] == [("other", 1), ("repair", 1), ("repair", 2)]


def test_the_tenth_version_comes_after_the_ninth(registry: Registry) -> None:
    for number in range(11):
        publish(registry, f"w{number}")
    assert [card.version for card in registry.cards()] == list(range(1, 12))


def test_the_same_bytes_are_one_version(registry: Registry) -> None:
    assert publish(registry, "a") == publish(registry, "a")
    assert len(registry.cards()) == 1


def test_the_hash_is_of_the_configuration_too(tmp_path: Path) -> None:
    assert hash_weights(weights(tmp_path / "a", rank=8)) != hash_weights(weights(tmp_path / "b", rank=16))


def test_what_is_published_does_not_change_with_its_source(registry: Registry, tmp_path: Path) -> None:
    card = registry.publish(weights(tmp_path / "w", "before"), "repair", "tiny")
    weights(tmp_path / "w", "after")
    assert hash_weights(registry.verified_folder(card.served_name)) == card.hash


def test_changed_weights_are_refused_also_after_they_were_once_verified(registry: Registry) -> None:
    name = publish(registry, "a")
    folder = registry.verified_folder(name)
    (folder / "adapter_model.safetensors").write_text("A", encoding="utf-8")
    with pytest.raises(AdapterError, match="not those of its card"):
        registry.verified_folder(name)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "a@b", ".hidden", "x" * 65, "a\n"])
def test_a_name_that_could_be_a_path_is_refused(name: str, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no name for an adapter"):
        registry.publish(weights(tmp_path / "w"), name, "tiny")


def test_pickled_weights_are_refused(registry: Registry, tmp_path: Path) -> None:
    folder = weights(tmp_path / "w")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors is not there"):
        registry.publish(folder, "repair", "tiny")
    assert registry.cards() == ()


def test_a_link_in_place_of_the_weights_is_refused(registry: Registry, tmp_path: Path) -> None:
    folder = weights(tmp_path / "w")
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.safetensors").symlink_to("/etc/hostname")
    with pytest.raises(AdapterError, match="plain file"):
        registry.publish(folder, "repair", "tiny")


@pytest.mark.parametrize(
    "change",
    [{"hash": "short"}, {"hash": 3}, {"version": 2}, {"name": "other"}, {"parent": 5}, {"format": "2.0"}, {"metrics": None}],
    ids=lambda change: next(iter(change)),
)
def test_a_card_that_was_tampered_with_is_an_error_that_names_the_file(change: dict[str, object], registry: Registry) -> None:
    publish(registry, "a")
    path = registry.folder / "repair" / "1" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(AdapterError, match=r"card\.json"):
        registry.cards()


def test_a_field_of_a_later_minor_version_is_passed_over(registry: Registry) -> None:
    name = publish(registry, "a")
    path = registry.folder / "repair" / "1" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"format": "1.7", "licence": "x"}), encoding="utf-8")
    assert registry.card(name).served_name == name


def test_an_unknown_served_name_is_an_error(registry: Registry) -> None:
    for name in ("repair", f"repair@{'0' * 64}", "../../etc@" + "0" * 64):
        with pytest.raises(AdapterError, match="not in the registry"):
            registry.verified_folder(name)


def test_a_served_name_is_taken_apart_and_other_names_are_left_whole() -> None:
    assert split_served_name(f"repair@{'a' * 64}") == ("repair", "a" * 64)
    assert split_served_name("my-lora") == ("my-lora", None)
    assert not is_served_name("repair@abc")


# States


def test_a_canary_is_promoted_and_rolled_back(registry: Registry) -> None:
    first, second = publish(registry, "a"), publish(registry, "b")
    registry.start_canary(first)
    assert registry.promote() == States(active=first)
    registry.start_canary(second)
    assert registry.states() == States(active=first, canary=second)
    assert registry.promote() == States(active=second, previous=first)
    assert registry.rollback() == States(active=first)
    assert registry.rollback() == States()


def test_a_canary_is_taken_back_and_the_active_one_stays(registry: Registry) -> None:
    first, second = publish(registry, "a"), publish(registry, "b")
    registry.start_canary(first)
    registry.promote()
    registry.start_canary(second)
    assert registry.stop_canary() == States(active=first)


def test_nothing_is_promoted_without_a_canary_nor_rolled_back_without_an_active_one(registry: Registry) -> None:
    with pytest.raises(AdapterError, match="none can be promoted"):
        registry.promote()
    with pytest.raises(AdapterError, match="nothing to roll back"):
        registry.rollback()


def test_a_version_that_is_not_what_its_card_says_is_never_made_a_canary(registry: Registry) -> None:
    name = publish(registry, "a")
    (registry.folder / "repair" / "1" / "adapter_model.safetensors").write_text("x", encoding="utf-8")
    with pytest.raises(AdapterError, match="not those of its card"):
        registry.start_canary(name)
    assert registry.states() == States()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": "9.0"}', '{"format": "1.0", "active": "../x"}', "[" * 100_000])
def test_a_broken_registry_file_is_one_clear_error(text: str, registry: Registry) -> None:
    publish(registry, "a")
    (registry.folder / "registry.json").write_text(text, encoding="utf-8")
    with pytest.raises(AdapterError, match=r"registry\.json"):
        registry.states()


A, B = f"repair@{'a' * 64}", f"repair@{'b' * 64}"


@given(st.integers(0, 10**12), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_only_adds_repositories(repository: int, one: float, other: float) -> None:
    states = States(active=A, canary=B)
    if states.choose(repository, min(one, other)) == B:
        assert states.choose(repository, max(one, other)) == B


def test_the_canary_answers_for_its_share_of_the_repositories() -> None:
    states = States(active=A, canary=B)
    chosen = [states.choose(repository, 0.2) for repository in range(5000)]
    assert 900 < chosen.count(B) < 1100
    assert chosen.count(A) + chosen.count(B) == 5000


def test_the_shares_none_and_all_are_exact() -> None:
    states = States(active=A, canary=B)
    assert {states.choose(repository, 0.0) for repository in range(500)} == {A}
    assert {states.choose(repository, 1.0) for repository in range(500)} == {B}


def test_without_a_canary_everyone_gets_the_active_one_and_without_that_the_base_model() -> None:
    assert States(active=A).choose(1, 1.0) == A
    assert States().choose(1, 1.0) is None


def _start_and_stop(folder: str, name: str) -> None:
    registry = Registry(Path(folder))
    for _ in range(20):
        registry.start_canary(name)
        registry.stop_canary()


def test_writers_in_several_processes_leave_a_whole_file_and_readers_never_see_another(registry: Registry) -> None:
    names = [publish(registry, "a"), publish(registry, "b")]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_start_and_stop, args=(str(registry.folder), name)) for name in names]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        assert registry.states().canary in (None, *names)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert registry.states() == States()
    assert not [path for path in registry.folder.iterdir() if path.name.startswith(".")]


def test_versions_published_at_once_all_get_numbers_of_their_own(registry: Registry, tmp_path: Path) -> None:
    folders = [weights(tmp_path / f"w{number}", str(number)) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        cards = list(pool.map(lambda folder: Registry(registry.folder).publish(folder, "repair", "tiny"), folders))
    assert sorted(card.version for card in cards) == list(range(1, 9))


# On a server


def soon() -> float:
    return time.monotonic() + 20


def test_loading_twice_is_no_error_and_unloading_twice_neither(tmp_path: Path) -> None:
    folder = weights(tmp_path / "w")
    with ScriptedServer([]) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        for _ in range(2):
            load_adapter(client, A, folder, soon())
        assert list_adapters(client, soon()) == {A}
        for _ in range(2):
            unload_adapter(client, A, soon())
        assert list_adapters(client, soon()) == frozenset()


def test_in_place_replaces_what_a_name_means(tmp_path: Path) -> None:
    one, two = weights(tmp_path / "1"), weights(tmp_path / "2")
    with ScriptedServer([]) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        load_adapter(client, "mine", one, soon())
        load_adapter(client, "mine", two, soon(), in_place=True)
        assert server.adapters == {"mine": str(two)}


def test_a_folder_that_the_server_cannot_see_is_refused_in_its_words(tmp_path: Path) -> None:
    with (
        ScriptedServer([]) as server, httpx.Client(base_url=server.url, trust_env=False) as client,
        pytest.raises(ModelRefused, match="No adapter found"),
    ):  # fmt: skip
        load_adapter(client, A, tmp_path / "absent", soon())


def test_a_rank_above_the_servers_is_refused_at_once_in_its_words(tmp_path: Path) -> None:
    """A real vLLM answers 500 there, which means a passing fault anywhere else."""
    with (
        ScriptedServer([]) as server, httpx.Client(base_url=server.url, trust_env=False) as client,
        pytest.raises(ModelRefused, match="LoRA rank 64 is greater than max_lora_rank 32"),
    ):  # fmt: skip
        load_adapter(client, A, weights(tmp_path / "wide", rank=64), soon())


def test_a_server_without_adapters_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with (
        ScriptedServer([], vllm=False) as server, httpx.Client(base_url=server.url, trust_env=False) as client,
        pytest.raises(ModelRefused, match="--enable-lora"),
    ):  # fmt: skip
        load_adapter(client, A, weights(tmp_path / "w"), soon())


def test_synchronizing_loads_what_is_in_use_unloads_what_is_not_and_leaves_strangers(registry: Registry, tmp_path: Path) -> None:
    first, second, third = (publish(registry, content) for content in "abc")
    with ScriptedServer([]) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        load_adapter(client, "somebody-elses", weights(tmp_path / "s"), soon())
        for name in (first, second, third):
            registry.start_canary(name)
            registry.promote()
            synchronize(client, registry.folders_in_use())
        # The one before the last is kept: dialogues that began with it go on, and a rollback finds it there.
        assert set(server.adapters) == {"somebody-elses", second, third}
        assert synchronize(client, registry.folders_in_use()) == (frozenset(), frozenset())


def test_a_sampler_puts_an_adapter_on_a_server_that_was_started_anew(registry: Registry) -> None:
    name = publish(registry, "a")
    with ScriptedServer(lambda chat: f"by {chat.model}") as server:
        sampler = OpenAISampler(load_settings(endpoints=server.url), registry)
        for _ in range(2):
            assert sampler.sample(ASKED, Options(), soon(), name).completions[0].text == f"by {name}"
            server.adapters.clear()
        answer = sampler.sample(ASKED, Options(), soon(), name)
        assert (answer.model, answer.adapter, answer.adapter_hash) == ("tiny", "repair", name.partition("@")[2])


def test_weights_that_are_not_those_of_the_card_never_reach_a_server(registry: Registry) -> None:
    name = publish(registry, "a")
    (registry.folder / "repair" / "1" / "adapter_model.safetensors").write_text("x", encoding="utf-8")
    with ScriptedServer("text") as server:
        with pytest.raises(ModelRefused, match="not those of its card"):
            OpenAISampler(load_settings(endpoints=server.url), registry).sample(ASKED, Options(), soon(), name)
        assert server.adapters == {}


def test_the_folder_is_named_as_the_server_sees_it(registry: Registry, tmp_path: Path) -> None:
    name = publish(registry, "a")
    (tmp_path / "mounted").symlink_to(registry.folder)
    settings = {"adapters": registry.folder, "served_adapters": tmp_path / "mounted"}
    with ScriptedServer("text") as server:
        OpenAISampler(load_settings(endpoints=server.url, **settings), registry).sample(ASKED, Options(), soon(), name)
        assert server.adapters == {name: str(tmp_path / "mounted" / "repair" / "1")}


def test_a_swap_under_load_fails_no_request_and_each_is_answered_by_the_version_it_asked_for(registry: Registry) -> None:
    first, second = publish(registry, "a"), publish(registry, "b")
    registry.start_canary(first)
    registry.promote()

    def reply(chat: Chat) -> str:
        return f"by {chat.model}"

    with ScriptedServer(reply, latency=0.01) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        sampler = OpenAISampler(load_settings(endpoints=server.url, concurrency=16), registry)
        half = threading.Event()
        done: list[int] = []

        def ask(number: int) -> tuple[str | None, str, str]:
            name = registry.choose(number, 0.0)
            answer = sampler.sample(ASKED, Options(), soon(), name)
            done.append(number)
            if len(done) == 100:
                half.set()
            return name, answer.completions[0].text, f"{answer.adapter}@{answer.adapter_hash}"

        with ThreadPoolExecutor(16) as pool:
            results = [pool.submit(ask, number) for number in range(200)]
            assert half.wait(20)
            registry.start_canary(second)
            registry.promote()
            synchronize(client, registry.folders_in_use())
            answered = [one.result() for one in results]
    assert all(text == f"by {asked}" == f"by {recorded}" for asked, text, recorded in answered)
    assert {asked for asked, _, _ in answered} == {first, second}
