"""The engine's settings: environment variables ``LEDEX_INFERENCE_...``, read once where a command starts."""

from __future__ import annotations

import json
import shlex
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import httpx
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from inference import ConfigurationError
from inference.prompt import Mode
from inference.proposer import Strategy

PREFIX = "LEDEX_INFERENCE_"


class InferenceSettings(BaseSettings):
    """Which model is asked, how patiently, and what it costs. With no endpoints, no vLLM and no checkpoint the templates work alone."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    endpoints: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Addresses of OpenAI-compatible servers of one model, separated by commas, such as http://vllm:8000."
    )
    model: str | None = Field(default=None, description="The base model's name at the endpoints; the first that they serve when absent.")
    api_key: SecretStr | None = Field(default=None, description="Sent to every endpoint as a bearer token.")
    checkpoint: Path | None = Field(
        default=None, description="A folder with a transformers checkpoint to run in this process, instead of endpoints."
    )
    vllm: str | None = Field(
        default=None,
        description="A model, as a folder or a hub's name, that `ledex serve` starts vLLM with on this machine, instead of endpoints.",
    )
    vllm_port: int = Field(default=8100, ge=1, le=65535, description="Port of that vLLM on 127.0.0.1; one that answers there is used.")
    vllm_python: Path | None = Field(default=None, description="Interpreter of an environment that has vLLM; this one's when absent.")
    vllm_arguments: str = Field(
        default="", description="More of vLLM's arguments, such as --max-lora-rank 64 --max-model-len 16384; they win over our own."
    )
    extra_body: Annotated[dict[str, Any], NoDecode] = Field(
        default_factory=dict, description='JSON added to every request, such as {"chat_template_kwargs": {"enable_thinking": false}}.'
    )
    connect_seconds: float = Field(default=5.0, gt=0, description="For a connection to an endpoint.")
    request_seconds: float = Field(default=120.0, gt=0, description="For one answer; then another endpoint is asked, if time is left.")
    attempts: int = Field(default=4, ge=1, le=20, description="How often one request is sent at most, to all endpoints together.")
    quarantine_seconds: float = Field(default=10.0, ge=0, description="How long an endpoint that failed is passed over for others.")
    concurrency: int = Field(default=16, ge=1, le=1024, description="Requests that one process has under way at a time.")
    max_tokens: int = Field(default=1024, ge=1, description="Tokens of one completion.")
    context_tokens: int | None = Field(
        default=None, ge=256, description="Tokens of prompt and completion together; the endpoint's own figure, else 8192, when absent."
    )
    input_price: float = Field(default=0.0, ge=0, description="Price of a million prompt tokens; a prefix cache's are not charged for.")
    output_price: float = Field(default=0.0, ge=0, description="Price of a million completion tokens.")
    gpu_hour_price: float = Field(default=0.0, ge=0, description="Price of an hour in which an endpoint, or this process, samples.")
    adapters: Path | None = Field(default=None, description="Folder of the adapter registry; without it the base model answers alone.")
    served_adapters: Path | None = Field(
        default=None, description="The same folder as the endpoints see it, where that is another path, as in a container."
    )
    samples: int = Field(default=8, ge=1, le=256, description="Explanations and patches sampled in each round of a failure.")
    rounds: int = Field(default=2, ge=0, le=10, description="How often failed patches go back with what happened when they ran.")
    temperature: float = Field(default=0.8, ge=0, le=2, description="Of sampling; 0 makes all samples of a round the same.")
    prompt_tokens: int = Field(default=6000, ge=256, description="Tokens that one prompt may have.")
    failure_tokens: int = Field(default=200_000, ge=1, description="Tokens for one failure, prompts and completions together.")
    mode: Mode = Field(default="explain", description="explain: an explanation, then the patch; refine: the patch alone.")
    strategy: Strategy = Field(
        default="refine", description="refine: later rounds see what failed; resample: they draw from the first prompt again."
    )
    structured: bool = Field(default=False, description="Hold a vLLM to the form of an answer by structured output.")
    canary_share: float = Field(default=0.1, ge=0, le=1, description="Share of the repositories that the canary adapter answers for.")

    @field_validator("endpoints", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("extra_body", mode="before")
    @classmethod
    def _object(cls, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError("must be a JSON object") from None

    @field_validator("api_key")
    @classmethod
    def _header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all(" " < character < "\x7f" for character in value.get_secret_value()):
            raise ValueError("must be printable ASCII without spaces, as it is sent in a header")
        return value

    @field_validator("endpoints")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # With or without /v1, as people copy them from other tools; asked at both /v1/... and vLLM's /tokenize.
        return tuple(dict.fromkeys(_address(one).removesuffix("/v1") for one in value))

    @field_validator("vllm_arguments")
    @classmethod
    def _words(cls, value: str) -> str:
        try:
            shlex.split(value)
        except ValueError:
            raise ValueError("must be words as in a shell, with each quotation mark closed") from None
        return value

    @model_validator(mode="after")
    def _whole(self) -> InferenceSettings:
        named = [name for name in ("endpoints", "vllm", "checkpoint") if getattr(self, name)]
        if len(named) > 1:
            raise ValueError(f"set {' or '.join(PREFIX + name.upper() for name in named)}, not both")
        if self.served_adapters is not None and self.adapters is None:
            raise ValueError(f"{PREFIX}SERVED_ADAPTERS needs {PREFIX}ADAPTERS too")
        return self

    @property
    def is_configured(self) -> bool:
        """Whether there is a model to ask."""
        return bool(self.addresses) or self.checkpoint is not None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the model is asked: the endpoints, or the vLLM of this machine."""
        return self.endpoints or ((f"http://127.0.0.1:{self.vllm_port}",) if self.vllm else ())

    @cached_property
    def headers(self) -> dict[str, str]:
        """What every request to an endpoint carries; holds the key: never to be shown."""
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}"} if self.api_key is not None else {}


def _address(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ValueError("must be addresses such as http://127.0.0.1:8000, separated by commas") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must begin with http:// or https:// and name a host")
    if url.userinfo or url.query or url.fragment:
        raise ValueError(f"must be plain addresses; a key belongs in {PREFIX}API_KEY")
    return str(url).rstrip("/")


def load_settings(**overrides: Any) -> InferenceSettings:
    """The settings of this process. Raises ConfigurationError with one line that names the variable, never its value."""
    try:
        return InferenceSettings(**overrides)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = PREFIX + str(first["loc"][0]).upper() if first["loc"] else "the settings"
        raise ConfigurationError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
