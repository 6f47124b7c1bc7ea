"""A model that says what it was given, and its answers to the planted bug of these tests."""

from __future__ import annotations

import time
from collections.abc import Sequence

from inference.completion import render_completion
from inference.model import Answer, Completion, ModelUnavailable, Options, Usage
from inference.text_edits import TextEdit
from inference.trajectory import Message


class Scripted:
    """A sampler that says what it was given, in order, again and again."""

    context_tokens = 8000

    def __init__(self, *texts: str) -> None:
        self.texts, self.asked = texts, 0

    def count_tokens(self, text: str) -> int:
        return len(text) // 3

    def sample(self, messages: Sequence[Message], options: Options, deadline: float, adapter: str | None = None) -> Answer:
        assert time.monotonic() < deadline
        if not self.texts:
            raise ModelUnavailable("nobody is there")
        said = [self.texts[(self.asked + n) % len(self.texts)] for n in range(options.n)]
        self.asked += options.n
        return Answer(tuple(Completion(text, "stop") for text in said), Usage(10, 10), "scripted")


def answer(replace_by: str, explanation: str = "It subtracts.") -> str:
    return render_completion(explanation, [TextEdit("solution.py", "    return a - b\n", replace_by)])
