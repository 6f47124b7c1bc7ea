"""Settings of the sandbox, read from ``LEDEX_SANDBOX_*`` when an entry point builds them; nothing is read at import."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ledexbot" / "sandbox"


class SandboxSettings(BaseSettings):
    """How environments are built and kept. Lists are written with commas."""

    model_config = SettingsConfigDict(env_prefix="LEDEX_SANDBOX_", frozen=True, extra="ignore")

    cache_folder: Path = Field(default_factory=_cache_folder)
    """Where built environments and the installers' downloads are kept; closed to other users."""

    cache_bytes: int = Field(default=10 * 1024**3, ge=0)
    """Above this, environments that were not used for longest are deleted, never one in use."""

    build_bytes: int = Field(default=8 * 1024**3, gt=0)
    """What one build may write to disk (environment, downloads and files left in the tree) before it is killed."""

    build_memory_bytes: int = Field(default=8 * 1024**3, gt=0)
    """Memory of all processes of one build together."""

    extra_index_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """More ``host`` or ``host:port`` that builds may reach, beside PyPI and the indexes of pip's configuration; port 443 if none."""

    allowed_private_indexes: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses (not names) of package indexes on a private network or this machine, which are refused otherwise."""

    interpreters: Annotated[tuple[str, ...], NoDecode] = ()
    """Python executables to choose from before those that are found on PATH, in /usr, by pyenv or by uv."""

    @field_validator("extra_index_hosts", "allowed_private_indexes", "interpreters", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("allowed_private_indexes")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_address(text)) for text in value)

    @field_validator("extra_index_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            host, _, port = text.partition(":")
            if not host or "/" in text or (port and not port.isdigit()):
                raise ValueError(f"{text!r} is no host or host:port: write for example pypi.example.org or pypi.example.org:8080")
        return value
