"""From a trained adapter to one that answers: gate, registry, canary, running servers; and back where a server refuses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from inference.adapters import Card, Registry, States
from inference.model import ModelError
from inference.model.lora import synchronize
from training import NotPromoted
from training.statistics import Promotion


@dataclass(frozen=True)
class Published:
    """``loaded``: what each server took, by its address."""

    card: Card
    states: States
    loaded: Mapping[str, frozenset[str]]


def publish(
    registry: Registry, weights: Path, name: str, base_model: str, promotion: Promotion | None, *, force: bool = False,
    promote: bool = False, data: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None, servers: Sequence[httpx.Client] = (), served: Path | None = None,
) -> Published:  # fmt: skip
    """Put an adapter into the registry and on trial as canary, or with ``promote`` in everyone's answers, and load it on the servers.

    ``promotion``: what the gate said; without its consent nothing is published unless ``force``, and the card says so. Where a server
    refuses the adapter, the registry's states are taken back and the servers that had it are put back too. ``served``: the registry's
    folder as the servers see it, where that is another path. Raises NotPromoted, AdapterError, ModelError.
    """
    if not force and (promotion is None or not promotion.promoted):
        raise NotPromoted(f"not published: {promotion.reason if promotion is not None else 'it was not evaluated'} (--force overrides)")
    before = registry.states()
    verdict = {"promoted": promotion.promoted, "reason": promotion.reason,
               "differences": {k: asdict(v) for k, v in promotion.differences.items()}} if promotion is not None else None  # fmt: skip
    figures = {**(metrics or {}), "gate": verdict, "forced": promotion is None or not promotion.promoted}
    card = registry.publish(weights, name, base_model, parent=before.active, data=data or {}, metrics=figures)
    states = before
    if card.served_name != before.active:
        states = registry.start_canary(card.served_name)
        states = registry.promote() if promote else states
    try:
        loaded = load_on(servers, registry, served)
    except ModelError:
        _restore(registry, before, states)
        for server in servers:
            try:
                load_on([server], registry, served)
            except ModelError:
                continue  # it is the one that is away; when it is back it is synchronized with the registry as it stands
        raise
    return Published(card, states, loaded)


def load_on(servers: Sequence[httpx.Client], registry: Registry, served: Path | None = None) -> dict[str, frozenset[str]]:
    """Every server gets what the registry has in use, and loses what it has not. Raises ModelError."""
    folders = registry.folders_in_use().items()
    wanted = {name: served / one.relative_to(registry.folder) if served is not None else one.resolve() for name, one in folders}
    return {str(server.base_url): synchronize(server, wanted)[0] for server in servers}


def _restore(registry: Registry, before: States, now: States) -> None:
    if now.active != before.active:
        registry.rollback()
    elif now.canary is not None:
        registry.stop_canary()
    if before.canary is not None and registry.states().canary != before.canary:
        registry.start_canary(before.canary)
