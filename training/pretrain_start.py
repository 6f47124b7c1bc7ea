"""Where the small model's weights start: at random, but for one circuit that copies. Pure but for the model it is given.

A transformer learns to go on with what stood before after some hundred million tokens, and a core of a CPU reads a few million in an hour.
The circuit is the known one (induction heads, arXiv 2209.11895), two tokens long, built instead of waited for:

    layer 0   two heads that look one and two tokens back, by their biases and the rotary positions alone, and write what they see beside
    layer 1   two heads whose query is the own token and the one before it, and whose key is what layer 0 wrote: they find where both
              stood before, read the token that came next, and write it into the prediction

Training goes on from there as from any other start; nothing is frozen.
"""

from __future__ import annotations

from typing import Any

import torch

ROPE_THETA = 1e6
"""Most rotary frequencies are then slow enough that a match does not depend on how far back it stood."""
_EMBEDDING, _BACK, _MATCH, _BEFORE, _WRITTEN, _COPIED = 0.04, 7.7, 2.5, 0.4, 0.1, 1.0
_SLOWEST = 0.02
"""Radians a token: frequencies above that are left out of the match."""


@torch.no_grad()
def build_copying(model: Any, seed: int) -> None:
    """Overwrite the first two heads of the first two layers, and the embeddings. Raises ValueError where the model has not the room: two
    layers, two heads with keys of their own, each a quarter of the hidden size or more."""
    config = model.config
    hidden, heads = config.hidden_size, config.num_attention_heads
    size, part = hidden // heads, hidden // 4
    if config.num_hidden_layers < 2 or not 2 <= heads <= 4 or config.num_key_value_heads != heads:
        raise ValueError("a circuit that copies needs two layers and two to four heads with keys of their own")
    generator = torch.Generator().manual_seed(seed)
    embeddings = model.get_input_embeddings().weight
    embeddings.copy_(torch.randn(embeddings.shape, generator=generator) * _EMBEDDING)
    basis = _rotation(hidden, generator)
    # What a token is, read in ``part`` directions; the places where layer 0 writes that of the token before, and the one before that.
    token, *written = basis[:part], basis[2 * part : 3 * part], basis[3 * part :]
    frequencies = ROPE_THETA ** (-torch.arange(size // 2) / (size // 2))
    slow = torch.nonzero((frequencies < _SLOWEST).repeat(2)).flatten()
    first, second = (layer.self_attn for layer in model.get_decoder().layers[:2])
    for head in range(2):
        own = slice(head * size, (head + 1) * size)
        # The score of a distance is the sum of cos((distance - back) frequency): largest at ``back``.
        back = head + 1
        first.q_proj.weight[own] = 0
        first.k_proj.weight[own] = 0
        first.q_proj.bias[own] = _BACK * torch.cat([torch.cos(back * frequencies), -torch.sin(back * frequencies)])
        first.k_proj.bias[own] = _BACK * torch.cat([torch.ones(size // 2), torch.zeros(size // 2)])
        first.v_proj.weight[own] = 0
        first.o_proj.weight[:, own] = 0
        first.v_proj.weight[head * size : head * size + part] = token
        first.o_proj.weight[:, head * size : head * size + part] = _WRITTEN * written[head].T
        query, key = torch.zeros(size, hidden), torch.zeros(size, hidden)
        shuffled, half = slow[torch.randperm(len(slow), generator=generator)], -(-len(slow) // 2)
        halves = (shuffled[:half], shuffled[half:])
        for places, asked, told, weight in zip(halves, (token, written[0]), (written[0], written[1]), (1.0, _BEFORE), strict=True):
            # Both heads match in directions of their own, so that they err in different places.
            turned, used = _rotation(part, generator), places[:part]
            query[used] = weight * (turned @ asked)[: len(used)]
            key[used] = (turned @ told)[: len(used)]
        second.q_proj.weight[own] = _MATCH * query
        second.k_proj.weight[own] = _MATCH * key
        second.v_proj.weight[own] = basis[own]
        second.o_proj.weight[:, own] = _COPIED * basis[own].T


def _rotation(size: int, generator: torch.Generator) -> torch.Tensor:
    """(size, size): rows of length 1 that are orthogonal."""
    rows: torch.Tensor = torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
    return rows


@torch.no_grad()
def copied_share(model: Any, vocabulary: int, seed: int, rows: int = 8, length: int = 24) -> float:
    """Of random tokens that come a second time in the same order, the share that the model predicts (the first ones left out)."""
    generator = torch.Generator().manual_seed(seed)
    once = torch.randint(0, vocabulary, (rows, length), generator=generator)
    twice = torch.cat([once, once], 1)
    told = model(input_ids=twice, use_cache=False).logits.argmax(-1)
    right = told[:, length:-1] == twice[:, length + 1 :]
    return float(right.float().mean().item())
