"""A batch in pieces that an accelerator can hold, and the figures of a step put together from them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from training.rewarded import Rollout


def pieces(rollouts: Sequence[Rollout], chosen: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """The chosen indices in runs of like lengths, each of at most ``most_tokens`` with its padding (or of one rollout)."""
    lengths = {index: len(rollouts[index].prompt_ids) + len(rollouts[index].completion_ids) for index in chosen}
    piece: list[int] = []
    # Longest first: if memory does not suffice, that is seen at once.
    for index in sorted(chosen, key=lambda index: (-lengths[index], index)):
        if piece and (len(piece) + 1) * lengths[piece[0]] > most_tokens:
            yield piece
            piece = []
        piece.append(index)
    if piece:
        yield piece


def stack(rows: Sequence[Tensor]) -> Tensor:
    """(tokens,) each as (rows, longest), padded with 0."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def add(sums: dict[str, float], more: Mapping[str, float]) -> None:
    for name, value in more.items():
        sums[name] = sums.get(name, 0.0) + value


def means(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each metric over the updates that have it."""
    names = dict.fromkeys(name for one in updates for name in one)
    return {name: statistics.fmean(one[name] for one in updates if name in one) for name in names}


def reward_statistics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Of each segment over the batch; the explanation's over those rollouts that have one."""
    told = {"right": statistics.fmean(one.right for one in rollouts)}
    paid = {"refinement": [one.reward.refinement for one in rollouts],
            "explanation": [one.reward.explanation for one in rollouts if one.reward.explanation is not None]}  # fmt: skip
    for name, values in paid.items():
        if values:
            told |= {f"reward_{name}": statistics.fmean(values), f"reward_{name}_deviation": float(torch.tensor(values).std(correction=0))}
    return told
