"""Training's settings: environment variables ``LEDEX_TRAINING_...``, read once where a command starts. Recipes say what is trained how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from training import DataError

PREFIX = "LEDEX_TRAINING_"


class TrainingSettings(BaseSettings):
    """Where training works and with what."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    work: Path = Field(default=Path("training-work"), description="Folder of checkpoints, logs and evaluations.")
    adapters: Path | None = Field(default=None, description="Folder of the adapter registry; the engine's LEDEX_INFERENCE_ADAPTERS.")
    encoder: str = Field(default="lexical", description="Encoder of explanations: lexical, or a sentence-transformers name or folder.")
    jobs: int = Field(default=1, ge=1, le=256, description="Sandboxes at a time.")
    broker_url: SecretStr | None = Field(default=None, description="Redis of the rollout workers, such as redis://host/1; none: alone.")
    rollout_seconds: int = Field(default=900, ge=1, description="Longest time of one bug's rollouts; then another worker gets it.")
    python: Path | None = Field(default=None, description="Interpreter with pytest for planted single-file bugs; this one when absent.")


def load_settings(**overrides: Any) -> TrainingSettings:
    """The settings of this process. Raises DataError with one line that names the variable."""
    try:
        return TrainingSettings(**overrides)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = PREFIX + str(first["loc"][0]).upper() if first["loc"] else "the settings"
        raise DataError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
