"""A scripted OpenAI-compatible server with vLLM's shapes: real HTTP on a real port, what it says is up to the test.

::

    with ScriptedServer([["wrong one", "wrong two"], "right"]) as server:     # the first request's choices, then the second's
        sampler = OpenAISampler(load_settings(endpoints=server.url))
        ...
        assert server.chats[1].messages[-1]["content"].startswith("Your patch")

A script is a list with one entry for each chat request, or one entry for all of them:

- a text: all n choices; a list of texts: one choice each (again from the front if n is larger);
- ``Text(text, finish="length")`` in place of a text;
- a callable that takes the ``Chat`` and gives any of these;
- a fault: ``Status``, ``Slow``, ``Raw``, ``Drop``, ``Endless``.

After its end every chat is refused (400), which no client tries again. Tokens are bytes; the prefix cache holds whole blocks of 16 of them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

BLOCK = 16
MOST_RANK = 32
CREATED = 1_795_501_191


@dataclass(frozen=True)
class Text:
    text: str
    finish: str = "stop"


@dataclass(frozen=True)
class Status:
    """An HTTP error in vLLM's form."""

    code: int
    message: str = "it is broken"
    retry_after: str | None = None


@dataclass(frozen=True)
class Slow:
    """Answer ``then``, but only after so many seconds."""

    seconds: float
    then: Any = "late"


@dataclass(frozen=True)
class Raw:
    """Answer these bytes, whatever they are."""

    body: bytes
    content_type: str = "application/json"
    code: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Drop:
    """Close the connection: before the answer, or in the middle of its body."""

    midway: bool = False


@dataclass(frozen=True)
class Endless:
    """A body without end: as fast as it is read, or ``pause`` seconds between two bytes."""

    pause: float = 0.0


Entry = Any
"""str, Text, a sequence of these, a fault, or a callable from Chat to one of them."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: Any
    headers: Mapping[str, str]
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Chat:
    """A chat request as a script's callable sees it; ``number`` counts from 0."""

    number: int
    body: Mapping[str, Any]

    @property
    def messages(self) -> list[dict[str, str]]:
        return list(self.body["messages"])

    @property
    def n(self) -> int:
        return int(self.body.get("n") or 1)

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def seed(self) -> int | None:
        seed = self.body.get("seed")
        return int(seed) if seed is not None else None


class ScriptedServer:
    """``vllm=False`` makes it a plain server without the additions, that refuses parameters which it does not know. ``context_tokens``:
    longer requests are refused. ``latency``: seconds that every chat takes."""

    def __init__(
        self, script: Entry | list[Entry], *, model: str = "tiny", vllm: bool = True, context_tokens: int = 100_000,
        api_key: str | None = None, latency: float = 0.0,
    ) -> None:  # fmt: skip
        self.script, self.model, self.vllm = script, model, vllm
        self.context_tokens, self.api_key, self.latency = context_tokens, api_key, latency
        self.requests: list[Request] = []
        self.adapters: dict[str, str] = {}
        """Served name -> path, as they were loaded."""
        self.most_at_once = 0
        self._at_once, self._chats, self._prefixes = 0, 0, set[bytes]()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.scripted = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def chats(self) -> list[Chat]:
        """The chat requests so far, in order."""
        bodies = [one.body for one in self.requests if one.path == "/v1/chat/completions"]
        return [Chat(number, body) for number, body in enumerate(bodies)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # What the handler asks

    def answer(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Entry:
        """What to send: a fault, or ``Raw``."""
        with self._lock:
            self.requests.append(Request(method, path, body, headers))
        if self.api_key is not None and headers.get("authorization") != f"Bearer {self.api_key}":
            return _json(401, {"error": "Unauthorized"})
        match method, path:
            case "GET", "/v1/models":
                return _json(200, {"object": "list", "data": self._models()})
            case "GET", "/health":
                return Raw(b"")
            case "POST", "/tokenize" if self.vllm:
                tokens = list(str(body["prompt"]).encode())
                return _json(200, {"count": len(tokens), "max_model_len": self.context_tokens, "tokens": tokens, "token_strs": None})
            case "POST", "/v1/load_lora_adapter" if self.vllm:
                return self._load(body)
            case "POST", "/v1/unload_lora_adapter" if self.vllm:
                return self._unload(body)
            case "POST", "/v1/chat/completions":
                return self._chat(body)
        return _json(404, {"detail": "Not Found"})

    def pause(self, seconds: float) -> bool:
        """Sleep, unless the server is being stopped; whether to go on."""
        return not self._stopping.wait(seconds)

    def _models(self) -> list[dict[str, Any]]:
        owner = "vllm" if self.vllm else "somebody"
        base = {"id": self.model, "object": "model", "created": CREATED, "owned_by": owner}
        if not self.vllm:
            return [base]
        with self._lock:
            adapters = list(self.adapters.items())
        permission: list[Any] = [{"id": "modelperm-0", "object": "model_permission"}]
        return [
            base | {"root": f"/models/{self.model}", "parent": None, "max_model_len": self.context_tokens, "permission": permission},
            *(base | {"id": name, "root": path, "parent": self.model, "max_model_len": None, "permission": permission}
              for name, path in adapters),
        ]  # fmt: skip

    def _load(self, body: Any) -> Entry:
        name, path = body["lora_name"], body["lora_path"]
        if not name or not path:
            return _error(400, "Both 'lora_name' and 'lora_path' must be provided.", "InvalidUserInput")
        configuration = Path(path) / "adapter_config.json"
        if configuration.is_file() and (rank := json.loads(configuration.read_bytes()).get("r", 0)) > MOST_RANK:
            told = f"Call to add_lora method failed: Worker failed with error 'LoRA rank {rank} is greater than max_lora_rank {MOST_RANK}.'"
            return _error(500, told, "InternalServerError")
        if not configuration.is_file():
            return _error(404, f"Loading lora {name} failed: No adapter found for <path>", "NotFoundError")
        with self._lock:
            if name in self.adapters and not body.get("load_inplace"):
                return _error(400, f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set "
                                   "'load_inplace' to True.", "InvalidUserInput")  # fmt: skip
            self.adapters[name] = path
        return Raw(f"Success: LoRA adapter '{name}' added successfully.".encode(), "text/plain")

    def _unload(self, body: Any) -> Entry:
        with self._lock:
            if self.adapters.pop(body["lora_name"], None) is None:
                return _error(404, f"The lora adapter '{body['lora_name']}' cannot be found.", "NotFoundError")
        return Raw(f"Success: LoRA adapter '{body['lora_name']}' removed successfully.".encode(), "text/plain")

    def _chat(self, body: Mapping[str, Any]) -> Entry:
        with self._lock:
            known = {self.model, *self.adapters}
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if body["model"] not in known:
                told = f"The model `{body['model']}` does not exist. Valid aliases: {', '.join(sorted(known))}."
                return _error(404, told, "NotFoundError", "model")
            unknown = {"return_token_ids", "structured_outputs"} & set(body)
            if unknown and not self.vllm:
                return _error(400, f"Unrecognized request argument supplied: {', '.join(sorted(unknown))}", "invalid_request_error")
            prompt = "".join(f"<|{one['role']}|>\n{one['content']}" for one in body["messages"]).encode()
            most = int(body["max_tokens"])
            if len(prompt) + most > self.context_tokens:
                told = (f"This model's maximum context length is {self.context_tokens} tokens. However, you requested {most} output tokens "
                        f"and your prompt contains {len(prompt)} input tokens.")  # fmt: skip
                return _error(400, told, "BadRequestError", "max_tokens")
            if self.latency:
                self.pause(self.latency)
            with self._lock:
                number, self._chats = self._chats, self._chats + 1
            return self._scripted(Chat(number, body), prompt)
        finally:
            with self._lock:
                self._at_once -= 1

    def _scripted(self, chat: Chat, prompt: bytes) -> Entry:
        entry: Entry = self.script
        if isinstance(entry, list):
            if chat.number >= len(entry):
                return _error(400, f"the script ended after {len(entry)} requests", "BadRequestError")
            entry = entry[chat.number]
        while isinstance(entry, Slow) or callable(entry):
            if isinstance(entry, Slow):
                self.pause(entry.seconds)
                entry = entry.then
            else:
                entry = entry(chat)
        if isinstance(entry, (Status, Raw, Drop, Endless)):
            return entry
        texts = [entry] if isinstance(entry, (str, Text)) else list(entry)
        return _json(200, self._completion(chat, prompt, [texts[index % len(texts)] for index in range(chat.n)]))

    def _completion(self, chat: Chat, prompt: bytes, texts: Sequence[str | Text]) -> dict[str, Any]:
        wants_logprobs, wants_ids = bool(chat.body.get("logprobs")), bool(chat.body.get("return_token_ids"))
        choices, total = [], 0
        for index, one in enumerate(texts):
            text = one if isinstance(one, Text) else Text(one)
            ids = list(text.text.encode("utf-8", "surrogatepass"))
            finish = text.finish
            if len(ids) > chat.body["max_tokens"]:
                ids, finish = ids[: chat.body["max_tokens"]], "length"
            total += len(ids)
            content = [{"token": f"token_id:{one}", "logprob": -((position + one) % 7) / 8, "bytes": [one], "top_logprobs": []}
                       for position, one in enumerate(ids)]  # fmt: skip
            content_text = bytes(ids).decode("utf-8", "surrogatepass" if finish != "length" else "ignore")
            message: dict[str, Any] = {"role": "assistant", "content": content_text}
            choice: dict[str, Any] = {"index": index, "message": message, "logprobs": {"content": content} if wants_logprobs else None,
                      "finish_reason": finish}  # fmt: skip
            if self.vllm:
                message |= {"refusal": None, "annotations": None, "audio": None, "function_call": None, "reasoning": None}
                choice |= {"stop_reason": None, "token_ids": ids if wants_ids else None, "routed_experts": None}
            choices.append(choice)
        usage: dict[str, Any] = {"prompt_tokens": len(prompt), "total_tokens": len(prompt) + total, "completion_tokens": total}
        answer: dict[str, Any] = {"id": f"chatcmpl-{chat.number}", "object": "chat.completion", "created": CREATED, "model": chat.model,
                                  "choices": choices, "usage": usage}  # fmt: skip
        if self.vllm:
            usage["prompt_tokens_details"] = {"cached_tokens": self._cached(chat.model, prompt), "created_cache_tokens": 0,
                                              "multimodal_tokens": None}  # fmt: skip
            usage["completion_tokens_details"] = None
            answer |= {"prompt_token_ids": list(prompt) if wants_ids else None, "prompt_logprobs": None, "prompt_text": None}
        return answer

    def _cached(self, model: str, prompt: bytes) -> int:
        """Tokens of the prompt that earlier ones began with; the last block is never taken from the cache, as with vLLM."""
        ends = range(BLOCK, len(prompt), BLOCK)
        keys = [model.encode() + b"\0" + prompt[:end] for end in ends]
        with self._lock:
            cached = next((place for place, key in enumerate(keys) if key not in self._prefixes), len(keys))
            self._prefixes.update(keys)
        return cached * BLOCK


def _json(code: int, data: Any) -> Raw:
    return Raw(json.dumps(data).encode(), code=code)


def _error(code: int, message: str, kind: str, parameter: str | None = None) -> Raw:
    return _json(code, {"error": {"message": message, "type": kind, "param": parameter, "code": code}})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    scripted: ScriptedServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, which is what several tests are about, is nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    error_content_type: ClassVar[str] = "application/json"  # type: ignore[misc]

    def do_GET(self) -> None:
        self._respond(None)

    def do_POST(self) -> None:
        self._respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _respond(self, body: Any) -> None:
        scripted = self.server.scripted
        entry = scripted.answer(self.command, self.path, body, {name.lower(): value for name, value in self.headers.items()})
        match entry:
            case Status(code, message, retry_after):
                headers = (("Retry-After", retry_after),) if retry_after is not None else ()
                error = _error(code, message, "InternalServerError" if code >= 500 else "Error")
                self._send(Raw(error.body, code=code, headers=headers))
            case Drop(midway):
                if midway:
                    self._begin(200, "application/json", 1000)
                    self.wfile.write(b'{"choices": [')
                self.close_connection = True
            case Endless(pause):
                self._endless(pause)
            case Raw():
                self._send(entry)

    def _send(self, raw: Raw) -> None:
        self._begin(raw.code, raw.content_type, len(raw.body), raw.headers)
        self.wfile.write(raw.body)

    def _begin(self, code: int, content_type: str, length: int | None, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def _endless(self, pause: float) -> None:
        self._begin(200, "application/json", None)  # without a length it ends when the connection does
        self.close_connection = True
        try:
            while self.server.scripted.pause(pause):
                self.wfile.write(b" " * (1 if pause else 65_536))
        except OSError:
            pass

