"""What one version of an adapter is: its card, its name on servers, and the hash over its weights. Also how the registry's files are
read and written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from inference import InferenceError

FORMAT: Final = "1.0"
WEIGHTS: Final = ("adapter_config.json", "adapter_model.safetensors")
"""What an adapter is made of. Pickled weights (``.bin``) are refused: reading them runs code."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SERVED = re.compile(rf"({_NAME.pattern})@([0-9a-f]{{64}})")


class AdapterError(InferenceError):
    """The registry, or an adapter in it, cannot be used as asked; one sentence."""

    reason = "adapter"


@dataclass(frozen=True)
class Card:
    """One version. ``parent``: the served name of the version that it was trained on from, None for the base model. ``data``: what it was
    trained on. ``hash``: SHA-256 over the names and bytes of ``WEIGHTS``. ``created``: seconds since 1970."""

    name: str
    version: int
    base_model: str
    hash: str
    created: float
    parent: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def served_name(self) -> str:
        return f"{self.name}@{self.hash}"


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def is_served_name(text: str) -> bool:
    return _SERVED.fullmatch(text) is not None


def split_served_name(text: str) -> tuple[str, str | None]:
    """Name and hash; another name than a served one is given back without a hash."""
    found = _SERVED.fullmatch(text)
    return (found[1], found[2]) if found else (text, None)


def hash_weights(folder: Path) -> str:
    """The hash of an adapter's files. Raises AdapterError where one is missing, or is a link."""
    digest = hashlib.sha256()
    for name in WEIGHTS:
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise AdapterError(f"{folder} holds no adapter: {name} is not there as a plain file")
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def read_card(path: Path, name: str, version: int) -> Card:
    """The card of version ``version`` of ``name``. Raises AdapterError."""
    data = read_json(path)
    known: dict[str, Any] = {one.name: data[one.name] for one in fields(Card) if one.name in data}
    types: dict[str, Any] = {"name": str, "version": int, "base_model": str, "hash": str, "created": (int, float), "data": dict,
                             "metrics": dict}  # fmt: skip
    if not all(isinstance(known.get(key), kind) for key, kind in types.items()) or not isinstance(known.get("parent"), str | None):
        raise AdapterError(f"{path} is no card of an adapter: a field is missing or of the wrong type")
    card = Card(**known)
    if (card.name, card.version) != (name, version) or not is_served_name(card.served_name):
        raise AdapterError(f"{path} is the card of something else, {card.name[:80]} version {card.version}")
    return card


def read_json(path: Path) -> dict[str, Any]:
    """A file of our format. Raises AdapterError."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise AdapterError(f"{path} is no JSON") from None
    if not isinstance(data, dict) or str(data.get("format", "")).partition(".")[0] != FORMAT.partition(".")[0]:
        raise AdapterError(f"{path} is of another format than {FORMAT.partition('.')[0]}.x: upgrade ledexbot, or restore the file")
    return data


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a file: a reader sees the old text or the new one, also after a power cut."""
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False, encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # vLLM may run as somebody else
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
