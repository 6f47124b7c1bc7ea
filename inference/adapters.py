"""The registry of adapters: which versions there are, which one answers, which one is on trial. A folder that can be copied and read.

::

    FOLDER/registry.json              states: active, canary, previous; replaced as a whole, under registry.lock
    FOLDER/NAME/VERSION/card.json     what a version is; never changed
                        adapter_config.json, adapter_model.safetensors    as PEFT writes them

A version is known to servers by its *served name*, ``NAME@HASH``: the hash of its bytes, so that one name never means two sets of weights.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from inference.adapter_card import (
    FORMAT,
    WEIGHTS,
    AdapterError,
    Card,
    hash_weights,
    is_name,
    is_served_name,
    read_card,
    read_json,
    split_served_name,
    write_json,
)

__all__ = ["WEIGHTS", "AdapterError", "Card", "Registry", "States", "hash_weights", "is_served_name", "split_served_name"]


@dataclass(frozen=True)
class States:
    """Served names. ``active`` answers for all repositories but the canary's share; None: the base model does."""

    active: str | None = None
    canary: str | None = None
    previous: str | None = None

    def with_canary(self, served_name: str) -> States:
        if served_name == self.active:
            raise AdapterError(f"{served_name} is active already: there is nothing to try out")
        return replace(self, canary=served_name)

    def without_canary(self) -> States:
        return replace(self, canary=None)

    def promoted(self) -> States:
        """The canary answers for all; what was active is kept for a rollback."""
        if self.canary is None:
            raise AdapterError("no adapter is on trial, so none can be promoted: make one the canary first")
        return States(active=self.canary, canary=None, previous=self.active)

    def rolled_back(self) -> States:
        """What was active before the last promotion answers again (the base model, if there was none); a canary stays on trial."""
        if self.active is None:
            raise AdapterError("no adapter is active, so there is nothing to roll back")
        return States(active=self.previous, canary=self.canary, previous=None)

    def choose(self, repository_id: int | str, share: float) -> str | None:
        """Who answers for a repository: always the same while states and share are; a larger share only adds to the canary's."""
        if self.canary is not None and _fraction(repository_id) < share:
            return self.canary
        return self.active

    @property
    def in_use(self) -> tuple[str, ...]:
        """What servers should have: the previous one too, for dialogues that began with it and for a rollback without delay."""
        return tuple(dict.fromkeys(name for name in (self.active, self.canary, self.previous) if name is not None))


def _fraction(repository_id: int | str) -> float:
    """In [0, 1), evenly spread."""
    return int.from_bytes(hashlib.sha256(f"canary:{repository_id}".encode()).digest()[:7], "big") / (1 << 56)


class Registry:
    """The only reader and writer of the folder; several processes and threads may use it at a time."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or made yet."""
        self.folder = folder
        self._verified: dict[str, tuple[int, ...]] = {}

    def publish(
        self, weights: Path, name: str, base_model: str, *, parent: str | None = None, data: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> Card:  # fmt: skip
        """Copy an adapter in as the next version of ``name``, in no state yet. The same bytes again give the card that they have.

        Raises AdapterError.
        """
        if not is_name(name):
            raise AdapterError(f"{name!r} is no name for an adapter: use small letters, digits, dots, dashes and underscores")
        with self._locked():
            home = self.folder / name
            home.mkdir(exist_ok=True)
            cards = {card.hash: card for card in self._cards(name)}
            with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as scratch:
                copy = Path(scratch) / "adapter"
                copy.mkdir()
                for part in WEIGHTS:
                    if (weights / part).is_file() and not (weights / part).is_symlink():
                        shutil.copyfile(weights / part, copy / part)
                digest = hash_weights(copy)  # of the copy: what is published is what was hashed
                if digest in cards:
                    return cards[digest]
                version = max((card.version for card in cards.values()), default=0) + 1
                card = Card(name, version, base_model, digest, time.time(), parent, data or {}, metrics or {})
                write_json(copy / "card.json", {"format": FORMAT, **asdict(card)})
                copy.rename(home / str(version))
            return card

    def cards(self) -> tuple[Card, ...]:
        """Every version, by name and number. Raises AdapterError."""
        if not self.folder.is_dir():
            return ()
        names = sorted(path.name for path in self.folder.iterdir() if path.is_dir() and is_name(path.name))
        return tuple(card for name in names for card in self._cards(name))

    def card(self, served_name: str) -> Card:
        """The version with this served name. Raises AdapterError."""
        name, digest = split_served_name(served_name)
        for card in self._cards(name) if digest is not None else ():
            if card.hash == digest:
                return card
        raise AdapterError(f"the adapter {served_name[:140]} is not in the registry {self.folder}")

    def states(self) -> States:
        """Raises AdapterError where registry.json cannot be read; a registry without one has no states yet."""
        path = self.folder / "registry.json"
        if not path.exists():
            return States()
        data = read_json(path)
        values = {name: data.get(name) for name in ("active", "canary", "previous")}
        if not all(value is None or (isinstance(value, str) and is_served_name(value)) for value in values.values()):
            raise AdapterError(f"{path} holds something other than served names: restore it from a copy, or delete it for the base model")
        return States(**values)

    def choose(self, repository_id: int | str, canary_share: float) -> str | None:
        """The served name that answers for a repository; None for the base model. Raises AdapterError."""
        return self.states().choose(repository_id, canary_share)

    def start_canary(self, served_name: str) -> States:
        """Let a version answer for the canary's share. Raises AdapterError, also where its weights are not those of its card."""
        self.verified_folder(served_name)
        return self._change(lambda states: states.with_canary(served_name))

    def stop_canary(self) -> States:
        return self._change(States.without_canary)

    def promote(self) -> States:
        """See ``States.promoted``. Raises AdapterError."""
        return self._change(States.promoted)

    def rollback(self) -> States:
        """See ``States.rolled_back``. Raises AdapterError."""
        return self._change(States.rolled_back)

    def verified_folder(self, served_name: str) -> Path:
        """The folder of a version whose files are, byte for byte, those that its card names; looked at again when they were touched.

        Raises AdapterError.
        """
        card = self.card(served_name)
        folder = self.folder / card.name / str(card.version)
        try:
            touched = tuple(value for part in WEIGHTS for value in _stamp(folder / part))
            if self._verified.get(served_name) != touched:
                if hash_weights(folder) != card.hash:
                    raise AdapterError(f"the weights in {folder} are not those of its card: publish the adapter again")
                self._verified[served_name] = touched
        except OSError as error:
            raise AdapterError(f"the adapter in {folder} cannot be read: {error.strerror or error}") from None
        return folder

    def folders_in_use(self) -> dict[str, Path]:
        """Served name -> folder of what servers should have; see ``inference.model.lora.synchronize``. Raises AdapterError."""
        return {name: self.verified_folder(name) for name in self.states().in_use}

    def _cards(self, name: str) -> list[Card]:
        home = self.folder / name
        versions = (path for path in home.iterdir() if re.fullmatch("[1-9][0-9]{0,8}", path.name)) if home.is_dir() else ()
        return [read_card(path / "card.json", name, int(path.name)) for path in sorted(versions, key=lambda path: int(path.name))]

    def _change(self, change: Callable[[States], States]) -> States:
        with self._locked():
            states = change(self.states())
            write_json(self.folder / "registry.json", {"format": FORMAT, **asdict(states)})
            return states

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among all processes and threads: each opens the file anew, and the lock belongs to what was opened."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "registry.lock").open("a")
        except OSError as error:
            raise AdapterError(f"the adapter registry {self.folder} cannot be written: {error.strerror or error}") from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
