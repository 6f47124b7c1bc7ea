"""The repository's policy, ``.github/ledex.toml``, as a model with its JSON schema (``inference/policy.schema.json``)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference import ConfigurationError
from sandbox.limits import MIB, Limits
from sandbox.refusal import Scope


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class EnvironmentPolicy(_Table):
    """How the tests get their environment."""

    setup: tuple[str, ...] = Field(default=(), description="Commands that build the environment, instead of what is detected.")
    test: str | None = Field(default=None, description="The command that runs the tests; detected when absent.")
    report: str | None = Field(default=None, description="JUnit XML that the test command writes, relative to the repository.")
    python: str | None = Field(default=None, pattern=r"^3\.\d{1,2}$", description="The version of Python to build with, such as '3.12'.")
    network: Literal["off", "setup-only"] = Field(
        default="setup-only", description="Package indexes are reachable during set-up only, or never."
    )
    timeout_minutes: float = Field(default=15.0, gt=0, le=360, description="Time that set-up, and each run of the tests, may take.")
    image: str | None = Field(default=None, description="A container image; needs the container runner.")
    services: tuple[str, ...] = Field(default=(), description="Services such as 'postgres:16'; need the container runner.")
    variables: dict[str, str] = Field(default_factory=dict, description="Environment variables for the tests.")

    @property
    def reaches_indexes(self) -> bool:
        """Whether a build may ask the package indexes."""
        return self.network != "off"


class VerifyPolicy(_Table):
    """How hard a fix is tested before it is shown."""

    level: Literal["V3", "V4"] = Field(default="V3", description="The rung a fix must reach.")
    repeats: int = Field(default=3, ge=2, le=100, description="How often the repaired tests must pass.")
    full_suite: bool = Field(default=True, description="Run every test, not only those of the failing files.")
    regression_test: Literal["off", "offer", "require"] = Field(
        default="offer", description="Whether a regression test comes with the fix: require takes no fix without."
    )
    confidence: float = Field(
        default=0.1, ge=0, le=1,
        description="How probably right a fix must be estimated to be; less is not shown. 0 shows whatever the checks accept.")  # fmt: skip


class LimitsPolicy(_Table):
    """What a fix may change and what a run may use."""

    attempts_per_failure: int = Field(default=2, ge=1, le=20, description="How often one failure is worked on.")
    max_files: int = Field(default=3, ge=1, le=100, description="Files that a fix may change.")
    max_changed_lines: int = Field(default=60, ge=1, le=10_000, description="Lines that a fix may remove and add together.")
    gpu_seconds: float = Field(default=120.0, ge=0, description="Time of a model's GPU for one failure.")
    daily_runs: int = Field(default=50, ge=0, description="Failures of this repository worked on in a day.")
    memory_mb: int = Field(default=4096, ge=64, description="Memory of all processes of a test run together.")
    tree_mb: int = Field(default=1024, ge=16, description="Size of the work tree's tmpfs.")
    processes: int = Field(default=256, ge=8, description="Processes and threads of a test run at one time.")


class ScopePolicy(_Table):
    """Where a fix may reach."""

    allow_paths: tuple[str, ...] = Field(default=(), description="Globs; empty allows every path that is not refused.")
    deny_paths: tuple[str, ...] = Field(default=(), description="Globs that a fix may never touch, beside the built-in ones.")


class Policy(_Table):
    """The tables that repairing reads; the bot reads more of the same file."""

    version: Literal[1] = 1
    environment: EnvironmentPolicy = EnvironmentPolicy()
    verify: VerifyPolicy = VerifyPolicy()
    limits: LimitsPolicy = LimitsPolicy()
    scope: ScopePolicy = ScopePolicy()

    def patch_scope(self) -> Scope:
        return Scope(self.scope.allow_paths, self.scope.deny_paths, self.limits.max_files, self.limits.max_changed_lines)

    def run_limits(self) -> Limits:
        seconds = self.environment.timeout_minutes * 60
        return Limits(
            wall_seconds=seconds, cpu_seconds=int(seconds) + 60, memory_bytes=self.limits.memory_mb * MIB,
            processes=self.limits.processes, tree_bytes=self.limits.tree_mb * MIB)  # fmt: skip


def read_policy(text: str, source: str, warn: Callable[[str], None] | None = None) -> Policy:
    """Read a policy from TOML. Unknown keys are left alone; ``warn`` gets a sentence for each. Raises ConfigurationError naming key and
    line."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source} is no valid TOML: {error}") from error
    try:
        policy = Policy.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(p) for p in first["loc"])
        raise ConfigurationError(f"{source}: {key}: {first['msg']}") from error
    if warn is not None:
        for name in unknown_keys(data):
            warn(f"{source}: {_told(name)} is no known key and is left alone; {_known_beside(name)}")
    return policy


def load_policy(path: Path, warn: Callable[[str], None] | None = None) -> Policy:
    """Read a policy file as ``read_policy`` does. Raises ConfigurationError when it is absent, unreadable or invalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8: save it as UTF-8") from error
    return read_policy(text, str(path), warn)


def schema() -> dict[str, Any]:
    """The JSON schema of a policy file; ``inference/policy.schema.json`` ships it for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:ledexbot:policy:1", **Policy.model_json_schema()}


def unknown_keys(data: dict[str, Any], model: type[BaseModel] = Policy, prefix: str = "") -> list[str]:
    """Dotted names of keys that the model does not know."""
    found: list[str] = []
    for key, value in data.items():
        field = model.model_fields.get(key)
        if field is None:
            found.append(prefix + key)
        elif isinstance(value, dict) and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += unknown_keys(value, field.annotation, f"{prefix}{key}.")
    return found


def _known_beside(name: str) -> str:
    """What could stand in the place of an unknown key; its own name may hold dots, those of the tables above it do not."""
    table, field = name.partition(".")[0], Policy.model_fields.get(name.partition(".")[0])
    if field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return f"[{table}] knows {', '.join(field.annotation.model_fields)}"
    return f"the file knows {', '.join(Policy.model_fields)}"


def _told(name: str) -> str:
    """A key is the repository's text: one line of it, and nothing that steers a terminal."""
    shown = name if name.isprintable() else ascii(name)
    return shown if len(shown) <= 80 else shown[:79] + "…"


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2, ensure_ascii=False))
