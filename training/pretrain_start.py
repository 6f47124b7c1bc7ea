"""Where the small model's weights start: at random, but for one circuit that copies. Pure but for the model it is given.

A transformer learns to go on with what stood before after some hundred million tokens, and a core of a CPU reads a few million in an hour.
The circuit is the known one (induction heads, arXiv 2209.11895), two pairs of heads of it, built instead of waited for:

    layer 0   a head that looks one token back, by its biases and the rotary positions alone, and writes that token's projection beside
    layer 1   a head whose query is its own token and whose key is what layer 0 wrote: it finds where its token stood before, reads the
              token after it, and writes that into the prediction

Training goes on from there as from any other start; nothing is frozen.
"""

from __future__ import annotations

from typing import Any

import torch

ROPE_THETA = 1e6
"""Most rotary frequencies are then slow enough that a token's match does not depend on how far back it stood."""
_EMBEDDING, _BACK, _MATCH, _WRITTEN, _COPIED = 0.04, 7.7, 2.0, 0.1, 1.0
_SLOWEST = 0.02
"""Radians a token: frequencies above that are left out of the match."""


@torch.no_grad()
def build_copying(model: Any, seed: int) -> None:
    """Overwrite the first two heads of the first two layers, and the embeddings. Raises ValueError where the model has not the room: two
    layers, two heads, and a hidden size of at least four heads'."""
    config = model.config
    size, hidden = config.hidden_size // config.num_attention_heads, config.hidden_size
    if config.num_hidden_layers < 2 or config.num_attention_heads < 2 or hidden < 4 * size or config.num_key_value_heads < 2:
        raise ValueError("a circuit that copies needs two layers, two heads and a hidden size of four heads")
    generator = torch.Generator().manual_seed(seed)
    embeddings = model.get_input_embeddings().weight
    embeddings.copy_(torch.randn(embeddings.shape, generator=generator) * _EMBEDDING)
    basis, _ = torch.linalg.qr(torch.randn(hidden, hidden, generator=generator))
    token, before = basis[: 2 * size], basis[2 * size : 4 * size]
    frequencies = ROPE_THETA ** (-torch.arange(size // 2) / (size // 2))
    slow = (frequencies < _SLOWEST).repeat(2).float()[:, None]
    first, second = (layer.self_attn for layer in model.get_decoder().layers[:2])
    for head in range(2):
        own = slice(head * size, (head + 1) * size)
        # The score of a distance is the sum of cos((distance - 1) frequency): largest at 1.
        first.q_proj.weight[own] = 0
        first.k_proj.weight[own] = 0
        first.q_proj.bias[own] = _BACK * torch.cat([torch.cos(frequencies), -torch.sin(frequencies)])
        first.k_proj.bias[own] = _BACK * torch.cat([torch.ones(size // 2), torch.zeros(size // 2)])
        first.v_proj.weight[own] = token[own]
        first.o_proj.weight[:, own] = _WRITTEN * before[own].T
        second.q_proj.weight[own] = _MATCH * slow * token[own]
        second.k_proj.weight[own] = _MATCH * slow * before[own]
        second.v_proj.weight[own] = token[own]
        second.o_proj.weight[:, own] = _COPIED * token[own].T


@torch.no_grad()
def copied_share(model: Any, vocabulary: int, seed: int, rows: int = 8, length: int = 24) -> float:
    """Of random tokens that come a second time in the same order, the share that the model predicts (the first ones left out)."""
    generator = torch.Generator().manual_seed(seed)
    once = torch.randint(0, vocabulary, (rows, length), generator=generator)
    twice = torch.cat([once, once], 1)
    told = model(input_ids=twice, use_cache=False).logits.argmax(-1)
    right = told[:, length:-1] == twice[:, length + 1 :]
    return float(right.float().mean().item())
