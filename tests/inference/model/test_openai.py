"""The sampler over HTTP, against a scripted server: what it asks, what it makes of answers, how it bears what can go wrong."""

from __future__ import annotations

import gc
import json
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import ConfigurationError
from inference.model import Completion, ModelRefused, ModelUnavailable, Options, Usage
from inference.model.chat import parse_chat
from inference.model.http import EndpointFault, Reply
from inference.model.openai import DEFAULT_CONTEXT_TOKENS, OpenAISampler, estimate_tokens
from inference.model.spending import Prices, cost
from inference.settings import load_settings
from inference.trajectory import Message
from tests.inference.model.scripted import Chat, Drop, Endless, Raw, ScriptedServer, Slow, Status, Text

MESSAGES = (Message("system", "You repair code."), Message("user", "def f(x): return x"))
VLLM: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures" / "vllm.json").read_text(encoding="utf-8"))


def soon(seconds: float = 20) -> float:
    return time.monotonic() + seconds


def sampler_of(*servers: ScriptedServer | str, **settings: Any) -> OpenAISampler:
    urls = [one if isinstance(one, str) else one.url for one in servers]
    return OpenAISampler(load_settings(endpoints=",".join(urls), **settings))


def free_address() -> str:
    """Where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


# What is asked


def test_the_options_are_sent_as_vllm_knows_them() -> None:
    options = Options(n=2, temperature=0.5, top_p=0.9, max_tokens=64, seed=7, stop=("###",), logprobs=True, regex="a+")
    with ScriptedServer([["x", "y"]]) as server:
        sampler_of(server).sample(MESSAGES, options, soon())
        assert server.chats[0].body == {
            "model": "tiny", "n": 2, "temperature": 0.5, "top_p": 0.9, "max_tokens": 64, "stream": False, "seed": 7, "stop": ["###"],
            "logprobs": True, "return_token_ids": True, "structured_outputs": {"regex": "a+"},
            "messages": [{"role": "system", "content": "You repair code."}, {"role": "user", "content": "def f(x): return x"}],
        }  # fmt: skip


def test_a_server_that_is_no_vllm_is_not_asked_for_vllms_additions() -> None:
    with ScriptedServer(["x"], vllm=False) as server:
        answer = sampler_of(server).sample(MESSAGES, Options(logprobs=True, regex="a+"), soon())
        assert answer.completions[0].text == "x"
        assert answer.completions[0].token_ids is None
        assert answer.completions[0].logprobs is not None


def test_a_server_that_gives_one_choice_whatever_n_is_gets_asked_until_there_are_n() -> None:
    with ScriptedServer(lambda chat: _chat_of(chat, [f"seed {chat.seed}"])) as server:
        answer = sampler_of(server).sample(MESSAGES, Options(n=3, seed=10), soon())
    assert [one.text for one in answer.completions] == ["seed 10", "seed 11", "seed 12"]
    assert answer.usage.completion_tokens == 3


def _chat_of(chat: Chat, texts: list[str]) -> Raw:
    choices = [{"index": 0, "message": {"role": "assistant", "content": one}, "finish_reason": "stop"} for one in texts]
    usage = {"prompt_tokens": 5, "completion_tokens": len(texts)}
    return Raw(json.dumps({"model": chat.model, "choices": choices, "usage": usage}).encode())


def test_the_key_is_sent_and_never_said() -> None:
    with ScriptedServer(["x"], api_key="secret-key") as server:
        assert sampler_of(server, api_key="secret-key").sample(MESSAGES, Options(), soon()).completions[0].text == "x"
        with pytest.raises(ModelRefused, match="refused the key: set LEDEX_INFERENCE_API_KEY") as refused:
            sampler_of(server, api_key="wrong-key", model="tiny").sample(MESSAGES, Options(), soon())
        assert "wrong-key" not in str(refused.value)


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with ScriptedServer("x") as other, ScriptedServer([Raw(b"", code=307, headers=(("Location", other.url),))]) as server:
        with pytest.raises(ModelUnavailable, match="redirects elsewhere"):
            sampler_of(server, api_key="secret-key").sample(MESSAGES, Options(), soon())
        assert other.requests == []


def test_extra_json_is_added_and_gives_way_to_the_options() -> None:
    with ScriptedServer(["x"]) as server:
        extra = '{"chat_template_kwargs": {"enable_thinking": false}, "n": 9}'
        sampler_of(server, extra_body=extra).sample(MESSAGES, Options(), soon())
        body = server.chats[0].body
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["n"] == 1


# What comes back


def test_completions_come_with_their_token_ids_log_probabilities_and_ends() -> None:
    with ScriptedServer([["ab", Text("c", finish="length")]]) as server:
        answer = sampler_of(server).sample(MESSAGES, Options(n=2, logprobs=True), soon())
    first, second = answer.completions
    assert (first.text, first.finish, first.token_ids) == ("ab", "stop", (97, 98))
    assert first.logprobs == (-6 / 8, -1 / 8)
    assert (second.text, second.finish) == ("c", "length")
    assert answer.prompt_token_ids == tuple(b"<|system|>\nYou repair code.<|user|>\ndef f(x): return x")
    assert (answer.model, answer.adapter, answer.adapter_hash) == ("tiny", None, None)


def test_the_second_round_of_a_dialogue_is_mostly_in_the_prefix_cache() -> None:
    with ScriptedServer("text") as server:
        sampler = sampler_of(server)
        first = sampler.sample(MESSAGES, Options(), soon()).usage
        second = sampler.sample((*MESSAGES, Message("assistant", "text"), Message("user", "No.")), Options(), soon()).usage
        assert first.cached_tokens == 0
        assert second.cached_tokens >= first.prompt_tokens - 16
        assert sampler.totals.cached_share == second.cached_tokens / (first.prompt_tokens + second.prompt_tokens)


@pytest.mark.parametrize("name", ["chat", "chat, prefix cached", "chat without log-probabilities"])
def test_what_vllm_really_answers_is_read(name: str) -> None:
    recorded = VLLM[name]
    answer = parse_chat(json.loads(recorded["body"]), Options(n=2, logprobs="without" not in name))
    assert recorded["status"] == 200
    assert len(answer.completions) == 2
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert answer.usage.cached_tokens == 256  # the first time too: the second completion finds the first one's prompt
    for one in answer.completions:
        if "without" in name:
            assert (one.token_ids, one.logprobs) == (None, None)
        else:
            assert one.token_ids is not None
            assert one.logprobs is not None
            assert len(one.token_ids) == len(one.logprobs) == 6


@pytest.mark.parametrize("name", VLLM)
def test_the_scripted_server_answers_with_the_keys_and_statuses_of_a_real_vllm(name: str, tmp_path: Path) -> None:
    """Each exchange that was recorded, made again here; values differ, shapes may not."""
    from inference.model.http import exchange, open_client
    from tests.vllm.record import exchanges

    for folder, rank in (("one", 8), ("wide", 64)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "adapter_config.json").write_text(json.dumps({"r": rank}), encoding="utf-8")
    refused = {"too many tokens": 5000, "too long a prompt": 5000}
    with ScriptedServer(lambda chat: ["yes", "no"], context_tokens=refused.get(name, 100_000)) as server, ExitStack() as stack:
        client = stack.enter_context(open_client(server.url, {}, 5, 5))
        for done, method, path, body in exchanges(tmp_path / "one"):
            if done == "bad regex":  # nothing here knows regular expressions
                continue

            def ask(method: str = method, path: str = path, body: Any = body) -> Reply:
                return exchange(client, "GET" if method == "GET" else "POST", path, body, soon(), json_expected=False)

            if VLLM[done]["status"] == 500:
                with pytest.raises(EndpointFault, match="it failed with Call to add_lora"):
                    ask()
                continue
            reply = ask()
            if done == name:
                assert reply.status == VLLM[name]["status"]
                try:
                    real = json.loads(VLLM[name]["body"])
                except ValueError:
                    assert reply.data is None
                else:
                    assert _missing(reply.data, real) == []


def _missing(scripted: Any, real: Any, where: str = "") -> list[str]:
    """Paths in the scripted answer that a real one does not have, or has with another type."""
    if isinstance(scripted, dict) and isinstance(real, dict):
        return [wrong for key, value in scripted.items()
                for wrong in (_missing(value, real[key], f"{where}.{key}") if key in real else [f"{where}.{key}"])]  # fmt: skip
    if isinstance(scripted, list) and isinstance(real, list):
        return _missing(scripted[0], real[0], f"{where}[0]") if scripted and real else []
    return [] if isinstance(scripted, type(real)) or {type(scripted), type(real)} <= {int, float} else [where]


# What may be wrong with an answer

CHOICE: dict[str, Any] = {"message": {"content": "x"}, "finish_reason": "stop"}


def with_logprob(text: bytes) -> bytes:
    return b'{"choices": [{"message": {"content": "x"}, "finish_reason": "stop", "logprobs": {"content": [{"logprob": %s}]}}]}' % text


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no JSON but empty"),
        (b"<!doctype html><title>Welcome</title>", "no JSON but a web page"),
        (b'{"choices": [', "no JSON but broken JSON"),
        (b"[" * 100_000, "no JSON but broken JSON"),
        (b"hello", "no JSON but something else"),
        (b"\xff\xfe\x00", "no JSON but something else"),
        (b"[]", "is no JSON object"),
        (b"{}", "has no choices"),
        (b'{"choices": []}', "has no choices"),
        (b'{"choices": {}}', "has no choices"),
        (b'{"choices": [5]}', "a choice without a message"),
        (json.dumps({"choices": [CHOICE, CHOICE]}).encode(), "2 choices where 1 were asked for"),
        (json.dumps({"choices": [CHOICE | {"message": {"content": ["x"]}}]}).encode(), "content is no text"),
        (json.dumps({"choices": [CHOICE | {"finish_reason": None}]}).encode(), "ended for no known reason"),
        (json.dumps({"choices": [CHOICE | {"finish_reason": "tool_calls"}]}).encode(), "ended for no known reason"),
        (json.dumps({"choices": [CHOICE | {"token_ids": ["1"]}]}).encode(), "token_ids that are no list of numbers"),
        (with_logprob(b'-1}, {"logprob": -2').replace(b'"message"', b'"token_ids": [1], "message"'), "1 token ids with 2"),
        (with_logprob(b"NaN"), "no number"),
        (with_logprob(b"-1e999"), "no number"),
        (with_logprob(b"true"), "no number"),
        (with_logprob(b'"-1"'), "no number"),
        (json.dumps({"choices": [CHOICE], "usage": {"prompt_tokens": -1}}).encode(), "usage that counts no tokens"),
    ],
)  # fmt: skip
def test_nonsense_is_one_clear_sentence_and_is_not_asked_for_again(body: bytes, told: str) -> None:
    with ScriptedServer(lambda chat: Raw(body)) as server:
        with pytest.raises(ModelUnavailable, match=told) as unavailable:
            sampler_of(server).sample(MESSAGES, Options(logprobs=True), soon())
        assert len(server.chats) == 1
    assert str(unavailable.value).startswith(f"the model at {server.url} could not be had: its answer ")
    assert "\n" not in str(unavailable.value)


def test_an_answer_by_another_adapter_than_was_asked_is_not_taken(tmp_path: Path) -> None:
    name = f"repair@{'a' * 64}"
    with ScriptedServer(lambda chat: _chat_of(Chat(0, chat.body | {"model": "tiny"}), ["x"])) as server:
        server.adapters[name] = "/adapters/a"
        with pytest.raises(ModelUnavailable, match="answered by 'tiny' where 'repair@a"):
            sampler_of(server).sample(MESSAGES, Options(), soon(), name)


def test_a_web_server_that_is_no_model_server_is_told_by_its_page() -> None:
    page = Raw(b"<h1>Not Found</h1>", "text/html", 404)
    with ScriptedServer([page]) as server, pytest.raises(ModelUnavailable, match="address of a model server"):
        sampler_of(server).sample(MESSAGES, Options(), soon())


def test_half_a_surrogate_pair_becomes_a_character_that_can_be_written() -> None:
    [one] = parse_chat({"choices": [CHOICE | {"message": {"content": "a\ud800b"}}]}, Options()).completions
    assert one.text == "a?b"


def test_a_reasoning_model_that_was_cut_before_its_answer_said_nothing() -> None:
    answer = parse_chat({"choices": [CHOICE | {"message": {"content": None}, "finish_reason": "length"}]}, Options())
    assert answer.completions == (Completion("", "length"),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["choices", "message", "content", "finish_reason", "logprobs", "logprob", "token_ids", "usage",
                                       "prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "model"]), inner),
    max_leaves=12)  # fmt: skip


@given(JSON)
def test_no_json_whatever_makes_the_reader_crash(data: Any) -> None:
    assert read_or_refused(data)


@given(JSON)
def test_no_json_in_a_whole_answer_makes_the_reader_crash(part: Any) -> None:
    for key in ("message", "finish_reason", "logprobs", "token_ids"):
        assert read_or_refused({"choices": [CHOICE | {key: part}]})
    assert read_or_refused({"choices": [CHOICE], "usage": part, "prompt_token_ids": part})


def read_or_refused(data: Any) -> bool:
    """Whether an answer was either read or told to be nonsense; every other error is raised."""
    try:
        return len(parse_chat(data, Options(n=2, logprobs=True)).completions) > 0
    except EndpointFault as fault:
        return fault.kind == "nonsense"


# What a server may do instead of answering


@pytest.mark.parametrize(
    "fault", [Status(500), Status(503), Status(429, retry_after="0"), Status(429), Drop(), Drop(midway=True), Slow(1.5)], ids=repr
)  # fmt: skip
def test_a_passing_fault_is_tried_again(fault: Any) -> None:
    with ScriptedServer([fault, "well"]) as server:
        answer = sampler_of(server, request_seconds=0.7).sample(MESSAGES, Options(), soon())
        assert answer.completions[0].text == "well"


@pytest.mark.parametrize(
    ("fault", "told"), [(Status(500), "failed with it is broken"), (Drop(), "disconnected"), (Status(429), "too many")]
)
def test_a_lasting_fault_ends_after_the_attempts(fault: Any, told: str) -> None:
    with ScriptedServer(lambda chat: fault) as server:
        with pytest.raises(ModelUnavailable, match=told):
            sampler_of(server, attempts=3).sample(MESSAGES, Options(), soon())
        assert len(server.chats) == 3


@pytest.mark.parametrize("code", [400, 404, 413, 422])
def test_a_refusal_is_not_tried_again_and_said_in_the_servers_words(code: int) -> None:
    with ScriptedServer(lambda chat: Status(code, "too much of it\n\x1b[31m")) as server:
        with pytest.raises(ModelRefused, match="too much of it") as refused:
            sampler_of(server).sample(MESSAGES, Options(), soon())
        assert len(server.chats) == 1
    assert str(refused.value).isprintable()


def test_a_refusal_of_any_length_is_cut() -> None:
    with ScriptedServer([Status(400, "long " * 10_000)]) as server, pytest.raises(ModelRefused) as refused:
        sampler_of(server).sample(MESSAGES, Options(), soon())
    assert len(str(refused.value)) < 500


def test_too_long_a_prompt_is_refused() -> None:
    with ScriptedServer("x", context_tokens=100) as server, pytest.raises(ModelRefused, match="maximum context length is 100"):
        sampler_of(server).sample(MESSAGES, Options(max_tokens=90), soon())


def test_a_dead_endpoint_is_told_by_its_address() -> None:
    url = free_address()
    with pytest.raises(ModelUnavailable, match=rf"the model at {re.escape(url)} could not be had: .*refused"):
        sampler_of(url, attempts=2).sample(MESSAGES, Options(), soon())


def test_the_deadline_holds_where_a_server_is_silent() -> None:
    with ScriptedServer([Slow(20)]) as server:
        began = time.monotonic()
        with pytest.raises(ModelUnavailable, match="no answer in"):
            sampler_of(server).sample(MESSAGES, Options(), soon(0.5))
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("fault", [Endless(), Endless(pause=0.05)], ids=repr)
def test_an_endless_body_ends_at_its_cap_or_at_the_deadline(fault: Endless) -> None:
    with ScriptedServer([fault]) as server:
        began = time.monotonic()
        with pytest.raises(ModelUnavailable, match=r"larger than the|did not end in time"):
            sampler_of(server, attempts=1).sample(MESSAGES, Options(max_tokens=10), soon(1))
        assert time.monotonic() - began < 3


def test_a_body_without_end_is_cut_long_before_it_fills_the_memory() -> None:
    with ScriptedServer([Endless()]) as server, pytest.raises(ModelUnavailable, match="larger than the 1034 KiB"):
        sampler_of(server, attempts=1).sample((Message("user", "1234"),), Options(max_tokens=10), soon())


def test_a_compressed_answer_is_not_unpacked() -> None:
    packed = Raw(b"\x1f\x8b", headers=(("Content-Encoding", "gzip"),))
    with ScriptedServer([packed]) as server, pytest.raises(ModelUnavailable, match="compressed"):
        sampler_of(server).sample(MESSAGES, Options(), soon())


def test_retry_after_is_kept_to() -> None:
    with ScriptedServer([Status(429, retry_after="1"), "well"]) as server:
        sampler_of(server).sample(MESSAGES, Options(), soon())
        first, second = (one.at for one in server.requests if one.path == "/v1/chat/completions")
    assert second - first >= 1


def test_a_rest_that_is_longer_than_the_deadline_is_not_waited_for() -> None:
    with ScriptedServer([Status(429, retry_after="3600")]) as server:
        began = time.monotonic()
        with pytest.raises(ModelUnavailable, match="too many requests"):
            sampler_of(server).sample(MESSAGES, Options(), soon(10))
        assert time.monotonic() - began < 2


# Several endpoints


def test_a_dead_endpoint_is_passed_over_and_then_left_alone() -> None:
    with ScriptedServer("well") as server:
        sampler = sampler_of(free_address(), server)
        for number in range(20):
            dialogue = (Message("user", f"dialogue {number}"),)
            assert sampler.sample(dialogue, Options(), soon()).completions[0].text == "well"
        assert len(server.chats) == 20


@pytest.mark.parametrize("fault", [Status(500), Status(429, retry_after="60"), Drop(midway=True), Raw(b"<html>"), Endless()], ids=repr)
def test_the_other_endpoint_answers_for_one_that_does_not(fault: Any) -> None:
    with ScriptedServer(lambda chat: fault) as bad, ScriptedServer("well") as good:
        sampler = sampler_of(bad, good, quarantine_seconds=60)
        texts = [sampler.sample((Message("user", str(number)),), Options(max_tokens=5), soon()).completions[0].text for number in range(12)]
        assert texts == ["well"] * 12
        assert len(bad.chats) == 1


def test_an_endpoint_comes_back_after_its_quarantine() -> None:
    failing = True

    def reply(chat: Chat) -> Any:
        return Status(500) if failing else "well"

    with ScriptedServer(reply) as first, ScriptedServer(reply) as second:
        sampler = sampler_of(first, second, attempts=2, quarantine_seconds=0.2)
        with pytest.raises(ModelUnavailable, match=r"(http://127\.0\.0\.1.*){2}"):
            sampler.sample(MESSAGES, Options(), soon())
        failing = False
        time.sleep(0.5)
        for number in range(20):
            sampler.sample((Message("user", str(number)),), Options(), soon())
        assert len(first.chats) > 1
        assert len(second.chats) > 1


def test_all_rounds_of_a_dialogue_go_to_the_endpoint_that_has_its_prefix() -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(ScriptedServer("text")) for _ in range(3)]
        sampler = sampler_of(*servers)
        for number in range(40):
            begin = (Message("system", "You repair code."), Message("user", f"dialogue {number}"))
            for rounds in range(3):
                sampler.sample((*begin, *(Message("assistant", "a"), Message("user", "b")) * rounds), Options(), soon())
        first_words = [{chat.messages[1]["content"] for chat in server.chats} for server in servers]
        assert sum(map(len, first_words)) == 40
        assert all(first_words)  # the ports are drawn, so are the shares: one of 40 is empty once in ten million


def test_no_more_requests_are_under_way_than_the_limit() -> None:
    with ScriptedServer("text", latency=0.03) as server:
        sampler = sampler_of(server, concurrency=3)
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda number: sampler.sample((Message("user", str(number)),), Options(), soon()), range(24)))
        assert server.most_at_once == 3


def test_who_finds_no_place_in_time_is_told_so() -> None:
    with ScriptedServer(lambda chat: Slow(1.5, "text")) as server:
        sampler = sampler_of(server, concurrency=1)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(sampler.sample, MESSAGES, Options(), soon())
            while not server.chats:
                time.sleep(0.01)
            with pytest.raises(ModelUnavailable, match="busy with 1 other requests"):
                sampler.sample(MESSAGES, Options(), soon(0.2))
            assert first.result().completions[0].text == "text"


# Tokens, context, money


def test_tokens_are_counted_by_vllm_once_for_each_text() -> None:
    with ScriptedServer([]) as server:
        sampler = sampler_of(server)
        assert [sampler.count_tokens(text) for text in ("héllo", "héllo", "x")] == [6, 6, 1]
        assert len([one for one in server.requests if one.path == "/tokenize"]) == 2


def test_without_vllm_tokens_are_estimated_and_nobody_is_asked_for_each_text() -> None:
    with ScriptedServer([], vllm=False) as server:
        sampler = sampler_of(server)
        for number in range(5):
            assert sampler.count_tokens(f"text {number}") == estimate_tokens(f"text {number}")
        assert [one.path for one in server.requests] == ["/v1/models"]


def test_a_dead_endpoint_is_not_asked_again_for_each_text() -> None:
    sampler = sampler_of(free_address())
    began = time.monotonic()
    for number in range(2000):
        sampler.count_tokens(f"text {number}")
    assert time.monotonic() - began < 2


def test_the_estimate_is_above_what_a_trained_tokenizer_counts() -> None:
    """The recorded prompt is Python, counted by a tokenizer of only 2,048 words, which splits more than larger ones do."""
    from tests.vllm.record import MESSAGES as RECORDED

    body = json.loads(VLLM["chat"]["body"])
    assert sum(estimate_tokens(one["content"]) for one in RECORDED) > body["usage"]["prompt_tokens"] * 0.9


@given(st.text())
def test_the_estimate_counts_something_for_every_text_and_never_more_than_its_bytes(text: str) -> None:
    assert (0 if not text else 1) <= estimate_tokens(text) <= len(text.encode("utf-8", "surrogatepass")) + 1


def test_the_context_is_what_the_endpoint_says_unless_it_is_set() -> None:
    with ScriptedServer([], context_tokens=5000) as server:
        assert sampler_of(server).context_tokens == 5000
        assert sampler_of(server, context_tokens=3000).context_tokens == 3000


def test_the_context_of_a_server_that_does_not_say_and_of_a_dead_one_is_a_careful_guess() -> None:
    with ScriptedServer([], vllm=False) as server:
        assert sampler_of(server).context_tokens == DEFAULT_CONTEXT_TOKENS
    assert sampler_of(free_address()).context_tokens == DEFAULT_CONTEXT_TOKENS


def test_totals_add_up_over_threads_and_overlapping_requests_share_their_gpu_seconds() -> None:
    with ScriptedServer("12345", latency=0.1) as server:
        sampler = sampler_of(server, concurrency=8)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: sampler.sample((Message("user", str(number)),), Options(n=2), soon()), range(24)))
        totals = sampler.totals
    assert (totals.requests, totals.failures, totals.completions) == (24, 0, 48)
    assert totals.usage.completion_tokens == 24 * 10
    assert totals.usage.prompt_tokens == sum(one.usage.prompt_tokens for one in answers)
    assert totals.gpu_seconds < totals.usage.seconds / 2


def test_failures_are_counted() -> None:
    with ScriptedServer([Status(400), "x"]) as server:
        sampler = sampler_of(server)
        with pytest.raises(ModelRefused):
            sampler.sample(MESSAGES, Options(), soon())
        sampler.sample(MESSAGES, Options(), soon())
        assert (sampler.totals.requests, sampler.totals.failures) == (2, 1)


def test_cost_is_tokens_that_were_not_cached_and_gpu_hours() -> None:
    usage = Usage(prompt_tokens=3_000_000, completion_tokens=500_000, cached_tokens=1_000_000, seconds=7200)
    assert cost(usage, Prices(input_million=2, output_million=10)) == 2 * 2 + 0.5 * 10
    assert cost(usage, Prices(gpu_hour=3)) == 6
    assert cost(usage, Prices(gpu_hour=3), gpu_seconds=3600) == 3


def test_without_endpoints_there_is_no_sampler() -> None:
    with pytest.raises(ConfigurationError, match="LEDEX_INFERENCE_ENDPOINTS"):
        OpenAISampler(load_settings())


def test_a_sampler_that_was_forgotten_leaves_no_connection_open() -> None:
    with ScriptedServer("x") as server:

        def use() -> Callable[[], object]:
            sampler = sampler_of(server)
            sampler.sample(MESSAGES, Options(), soon())
            return sampler._closing.peek

        peek = use()
        gc.collect()
        assert peek() is None
