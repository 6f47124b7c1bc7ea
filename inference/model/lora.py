"""Adapters on a running vLLM: what it has, load, swap, unload.

A version has a served name of its own (``name@hash``), so a swap is: load the new name, ask for it from now on, unload the old one later. A
request in flight keeps the weights that it was begun with, and no name ever means two sets of weights, which vLLM's prefix cache relies on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import httpx

from inference.adapters import is_served_name
from inference.model import ModelRefused
from inference.model.endpoints import read_facts
from inference.model.http import EndpointFault, exchange

_SECONDS = 60.0


def list_adapters(client: httpx.Client, deadline: float) -> frozenset[str]:
    """Names of the adapters that the server has. Raises EndpointFault."""
    facts = read_facts(exchange(client, "GET", "/v1/models", None, deadline))
    return frozenset(name for name, parent in facts.models.items() if parent is not None)


def load_adapter(client: httpx.Client, served_name: str, path: Path, deadline: float, *, in_place: bool = False) -> None:
    """Put an adapter on the server; one that it has already is left as it is, unless ``in_place`` replaces its weights by those at ``path``
    (for names that are not served names, since those never change). Raises EndpointFault and ModelRefused."""
    body: dict[str, object] = {"lora_name": served_name, "lora_path": str(path)}
    if in_place:
        body["load_inplace"] = True
    try:
        reply = exchange(client, "POST", "/v1/load_lora_adapter", body, deadline, json_expected=False)
    except EndpointFault as fault:
        if fault.kind != "broken":
            raise
        # vLLM answers 500 for weights that it will never take, such as those of a rank above --max-lora-rank.
        raise ModelRefused(f"{client.base_url} cannot load the adapter {served_name}: {fault}") from None
    if reply.accepted or (not in_place and reply.status == 400 and served_name in list_adapters(client, deadline)):
        return
    if reply.status == 404 and reply.refusal == "Not Found":
        raise ModelRefused(
            f"{client.base_url} cannot load adapters: start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True")  # fmt: skip
    raise ModelRefused(f"{client.base_url} cannot load the adapter {served_name}: {reply.refusal}")


def unload_adapter(client: httpx.Client, served_name: str, deadline: float) -> None:
    """Take an adapter off the server; requests in flight finish on it. One that is not there is no error.

    Raises EndpointFault and ModelRefused.
    """
    reply = exchange(client, "POST", "/v1/unload_lora_adapter", {"lora_name": served_name}, deadline, json_expected=False)
    if not reply.accepted and served_name in list_adapters(client, deadline):
        raise ModelRefused(f"{client.base_url} cannot unload the adapter {served_name}: {reply.refusal}")


def synchronize(client: httpx.Client, wanted: Mapping[str, Path], seconds: float = _SECONDS) -> tuple[frozenset[str], frozenset[str]]:
    """Load what is wanted (served name -> folder as the server sees it) and unload every other adapter of ours; those with other names
    are somebody else's and stay. Returns what was loaded and what was unloaded. Raises EndpointFault and ModelRefused."""
    deadline = time.monotonic() + seconds
    present = list_adapters(client, deadline)
    missing = frozenset(wanted) - present
    surplus = frozenset(_ours(present)) - frozenset(wanted)
    # The new ones first: nobody may find neither.
    for name in sorted(missing):
        load_adapter(client, name, wanted[name], deadline)
    for name in sorted(surplus):
        unload_adapter(client, name, deadline)
    return missing, surplus


def _ours(names: Iterable[str]) -> Iterable[str]:
    return (name for name in names if is_served_name(name))

