"""``ledex adapters``: which versions of the model's adapter there are, and which of them answers. Servers follow within a minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bot.saying import fail
from inference import InferenceError
from inference.adapters import Registry, States
from inference.settings import PREFIX, load_settings

commands = typer.Typer(no_args_is_help=True, help="The model's adapters: list, canary, promote, rollback (LEDEX_INFERENCE_ADAPTERS).")
_SHORT = 12


@commands.command(name="list")
def list_versions() -> None:
    """Show every version, and what state it is in."""
    registry = _registry()
    try:
        cards, states = registry.cards(), registry.states()
    except InferenceError as error:
        raise fail(str(error)) from None
    table = Table(box=None, pad_edge=False)
    for title in ("adapter", "version", "hash", "state", "published", "of"):
        table.add_column(title)
    for card in cards:
        state = ", ".join(name for name in ("active", "canary", "previous") if getattr(states, name) == card.served_name)
        published = f"{datetime.fromtimestamp(card.created, UTC):%Y-%m-%d %H:%M}"
        table.add_row(card.name, str(card.version), card.hash[:_SHORT], state, published, card.base_model)
    Console(highlight=False).print(table if cards else "no adapter is published yet")


@commands.command()
def canary(
    version: Annotated[str, typer.Argument(metavar="NAME@HASH", help="A version; the beginning of its hash is enough.")],
) -> None:
    """Let a version answer for the canary's share of the repositories (LEDEX_INFERENCE_CANARY_SHARE)."""
    _change(lambda registry: registry.start_canary(_served_name(registry, version)))


@commands.command()
def stop() -> None:
    """Take the canary back; the active version answers for all again."""
    _change(Registry.stop_canary)


@commands.command()
def promote() -> None:
    """Let the canary answer for all repositories; what was active is kept for a rollback."""
    _change(Registry.promote)


@commands.command()
def rollback() -> None:
    """Let what was active before the last promotion answer again."""
    _change(Registry.rollback)


def _registry() -> Registry:
    try:
        folder = load_settings().adapters
    except InferenceError as error:
        raise fail(str(error)) from None
    if folder is None:
        raise fail(f"no registry of adapters is set: set {PREFIX}ADAPTERS to its folder")
    return Registry(folder)


def _change(change: Callable[[Registry], States]) -> None:
    try:
        states = change(_registry())
    except InferenceError as error:
        raise fail(str(error)) from None
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"active: {_shown(states.active) or 'the base model'}", markup=False)
    if states.canary is not None:
        console.print(f"canary: {_shown(states.canary)}", markup=False)


def _served_name(registry: Registry, text: str) -> str:
    """The one version that this names; raises what ends the command where there is none, or are several."""
    found = [card.served_name for card in registry.cards() if card.served_name.startswith(text) and "@" in text]
    if len(found) != 1:
        raise fail(f"{text} names {len(found) or 'no'} versions: `ledex adapters list` shows names and hashes, as in NAME@HASH")
    return found[0]


def _shown(served_name: str | None) -> str | None:
    name, _, digest = (served_name or "").partition("@")
    return f"{name}@{digest[:_SHORT]}" if served_name else None
