"""The bot's settings: environment variables ``LEDEX_BOT_...``, read once where a command starts."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot import BotConfigurationError

MEMORY_BROKER = "memory://"
PREFIX = "LEDEX_BOT_"


class BotSettings(BaseSettings):
    """Everything that a server decides. What a repository decides is in its ``.github/ledex.toml``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    webhook_secret: SecretStr | None = Field(
        default=None, description="The secret that GitHub signs deliveries with; without it they are refused."
    )
    webhook_secret_previous: SecretStr | None = Field(
        default=None, description="The secret before it: still accepted while GitHub is told the new one."
    )
    app_id: int | None = Field(default=None, gt=0, description="The App's id, from its settings page.")
    app_slug: str = Field(default="ledex", description="The App's name in addresses: its account is SLUG[bot].")
    account_id: int | None = Field(default=None, gt=0, description="The numeric id of the account SLUG[bot]; asked of GitHub when absent.")
    private_key: SecretStr | None = Field(default=None, description="The App's private key in PEM; line breaks may be written as \\n.")
    private_key_file: Path | None = Field(default=None, description="A file that holds the private key, instead of the key itself.")
    api_url: str = Field(
        default="https://api.github.com", description="Where GitHub's REST API is; https://HOST/api/v3 on GitHub Enterprise Server."
    )
    web_url: str = Field(default="https://github.com", description="Where people read and Git fetches.")
    public_url: str | None = Field(
        default=None, description="Where GitHub and people reach this server: asked by `ledex doctor`; comments link proofs below it."
    )
    server_secret: SecretStr | None = Field(
        default=None, min_length=32,
        description="Keys pseudonyms and links to proofs, one for all machines; default: made once, in the file server-secret of data_dir.",
    )
    data_dir: Path = Field(default=Path("ledex-data"), description="Folder of the database, proof bundles and trajectories.")
    proof_key_file: Path | None = Field(
        default=None, description="A file with an Ed25519 private key (PEM): it signs the statement of every proof bundle."
    )
    database_url: SecretStr | None = Field(
        default=None, description="sqlite:///FILE or postgresql://...; default: ledex.sqlite in data_dir."
    )
    broker_url: SecretStr = Field(
        default=SecretStr(MEMORY_BROKER), description="redis://... or amqp://...; memory:// keeps the worker inside `ledex serve`."
    )
    allowed_bots: Annotated[frozenset[int], NoDecode] = Field(
        default=frozenset(), description="Numeric ids of bot accounts whose pull requests and comments count, separated by commas."
    )
    disabled_installations: Annotated[frozenset[int], NoDecode] = Field(
        default=frozenset(), description="Numeric ids of installations whose events are recorded but not acted on."
    )
    disabled_repositories: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(), description="owner/name of repositories whose events are recorded but not acted on."
    )
    sandbox_socket: Path | None = Field(
        default=None, description="Socket of a `ledex sandbox` that does the repairs without any secret; default: in the worker itself."
    )
    repair_seconds: float = Field(default=120.0, ge=1, description="From a reproduced failure to its verified patch.")
    setup_seconds: float = Field(default=600.0, ge=1, description="For building a project's environment.")
    repair_jobs: int = Field(default=1, ge=1, le=64, description="Candidate servers side by side in one repair.")
    repair_workers: int = Field(default=1, ge=1, le=64, description="Repairs side by side in one worker process.")
    webhook_workers: int = Field(default=2, ge=1, le=64, description="Quick jobs (commands, buttons) side by side in one worker process.")
    feedback_workers: int = Field(default=1, ge=1, le=64, description="Feedback jobs side by side in one worker process.")
    lease_seconds: float = Field(default=60.0, ge=1, description="How long after its worker died a job is taken by another.")
    sweep_seconds: float = Field(default=5.0, gt=0, description="How often jobs whose time has come, and forgotten ones, are looked for.")
    redelivery_seconds: float = Field(
        default=300.0, gt=0, description="How often GitHub is asked for deliveries that never arrived; it never repeats them by itself."
    )
    resend_seconds: float = Field(
        default=120.0, ge=1, description="A job that is queued so long is sent again: the broker may have lost it."
    )
    max_attempts: int = Field(default=5, ge=1, description="How often a job is started before it is given up.")
    backoff_seconds: float = Field(
        default=5.0, gt=0, description="How long after an attempt that failed the next one begins; doubled up to six times."
    )
    job_days: float = Field(default=3.0, gt=0, description="A job that could not run for so long is dropped.")
    delivery_days: float = Field(default=7.0, gt=0, description="How long the bodies of deliveries are kept.")
    proof_days: float = Field(default=90.0, gt=0, description="How long proof bundles are kept.")
    drain_seconds: float = Field(
        default=20.0, ge=0, description="How long a stopping server waits for running jobs; they run again after the next start."
    )

    @field_validator("allowed_bots", "disabled_installations", "disabled_repositories", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return frozenset(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("api_url", "web_url", "public_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with https:// (or http://)")
        return value.rstrip("/") if value else value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(
            (MEMORY_BROKER, "redis://", "rediss://", "redis+socket://", "unix://", "amqp://", "amqps://")
        ):
            raise ValueError("must be memory://, redis://..., rediss://..., amqp://... or amqps://...: other brokers lose jobs")
        return value

    @model_validator(mode="after")
    def _whole(self) -> BotSettings:
        if self.private_key is not None and self.private_key_file is not None:
            raise ValueError(f"set {PREFIX}PRIVATE_KEY or {PREFIX}PRIVATE_KEY_FILE, not both")
        if self.app_id is None and (self.private_key or self.private_key_file):
            raise ValueError(f"a private key needs {PREFIX}APP_ID too")
        return self

    @property
    def is_embedded(self) -> bool:
        """Whether the worker lives inside ``ledex serve``."""
        return self.broker_url.get_secret_value().startswith(MEMORY_BROKER)

    @property
    def is_configured(self) -> bool:
        """Whether there are App credentials, so that GitHub can be asked and answered."""
        return self.app_id is not None and (self.private_key is not None or self.private_key_file is not None)

    @property
    def database(self) -> str:
        """The database's address with its password: never to be shown."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'ledex.sqlite'}"

    @cached_property
    def webhook_secrets(self) -> tuple[bytes, ...]:
        """Every secret that a signature may be made with; empty when none is set."""
        secrets = (self.webhook_secret, self.webhook_secret_previous) if self.webhook_secret else ()
        return tuple(s.get_secret_value().encode() for s in secrets if s is not None and s.get_secret_value())

    def read_private_key(self) -> SecretStr:
        """The App's private key in PEM. Raises BotConfigurationError."""
        if self.private_key is not None:
            return SecretStr(self.private_key.get_secret_value().replace("\\n", "\n"))
        if self.private_key_file is None:
            raise BotConfigurationError(f"no private key: set {PREFIX}PRIVATE_KEY_FILE to the .pem file that GitHub gave for the App")
        try:
            return SecretStr(self.private_key_file.read_text(encoding="ascii"))
        except (OSError, UnicodeError) as error:
            raise BotConfigurationError(f"{self.private_key_file} cannot be read: {error}") from None


def load_settings(**overrides: Any) -> BotSettings:
    """The settings of this process. Raises BotConfigurationError with one line that names the variable, never its value."""
    try:
        return BotSettings(**overrides)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = PREFIX + "_".join(str(part).upper() for part in first["loc"]) if first["loc"] else "the settings"
        raise BotConfigurationError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
