"""Texts as vectors of length 1, so that their inner product is the cosine of section 2.3's explanation score.

The paper's encoder is ``sentence-transformers/all-roberta-large-v1`` (24 layers, 1024 dimensions, mean of the tokens).
``TransformerEncoder`` runs it, or any checkpoint that pools alike, from a name of the hub or a folder. ``LexicalEncoder`` needs no weights:
it compares words and parts of words, which tells an explanation of another bug apart, but not a paraphrase from a contradiction.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

PAPER_ENCODER = "sentence-transformers/all-roberta-large-v1"
Vectors = npt.NDArray[np.float32]
_WORD = re.compile(r"\w+|[^\w\s]")
_CHARACTERS = 4


class Encoder(Protocol):
    def encode(self, texts: Sequence[str]) -> Vectors:
        """(texts, dimensions), every row of length 1 (a text without content: of length 0)."""


class LexicalEncoder:
    """Words and runs of four characters, hashed; each counts by the square root of how often it occurs."""

    def __init__(self, dimensions: int = 4096) -> None:
        self.dimensions = dimensions

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in zip(rows, texts, strict=True):
            words = _WORD.findall(text.lower())
            for word in words:
                row[self._place(word)] += 1.0
                for at in range(len(word) - _CHARACTERS + 1):
                    row[self._place("~" + word[at : at + _CHARACTERS])] += 1.0
        return _unit(np.sqrt(rows))

    def _place(self, word: str) -> int:
        # Not hash(): its numbers differ from process to process.
        return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big") % self.dimensions


class TransformerEncoder:
    """A checkpoint of an encoder, the mean of its last layer over the tokens of a text.

    ``most_tokens``: longer texts are cut there; RoBERTa's own limit is 512. Raises OSError where the checkpoint cannot be had.
    """

    def __init__(self, checkpoint: str | Path = PAPER_ENCODER, most_tokens: int = 512, batch: int = 32, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
        self._model: Any = AutoModel.from_pretrained(checkpoint).to(device).eval()
        self._most, self._batch, self._device = most_tokens, batch, device

    def encode(self, texts: Sequence[str]) -> Vectors:
        import torch

        parts = [np.zeros((0, self._model.config.hidden_size), np.float32)]
        for start in range(0, len(texts), self._batch):
            batch = self._tokenizer(
                list(texts[start : start + self._batch]), padding=True, truncation=True, max_length=self._most, return_tensors="pt"
            ).to(self._device)  # fmt: skip
            with torch.inference_mode():
                states = self._model(**batch).last_hidden_state  # (texts, tokens, dimensions)
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            parts.append(((states * mask).sum(1) / mask.sum(1).clamp(min=1)).float().cpu().numpy())
        return _unit(np.concatenate(parts))


def _unit(rows: Vectors) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Vectors = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
