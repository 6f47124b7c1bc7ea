"""What the model has cost so far: tokens, time and money, counted by all threads of a process together."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from inference.model import Usage
from inference.settings import InferenceSettings


@dataclass(frozen=True)
class Prices:
    """In any currency, all in the same: per million tokens, and per hour of a GPU. A server of one's own has the latter, a hosted one the
    former; what is zero costs nothing."""

    input_million: float = 0.0
    output_million: float = 0.0
    gpu_hour: float = 0.0

    @classmethod
    def of(cls, settings: InferenceSettings) -> Prices:
        return cls(settings.input_price, settings.output_price, settings.gpu_hour_price)


@dataclass(frozen=True)
class Totals:
    """``failures`` are requests that no endpoint answered or that were refused. ``gpu_seconds``: time in which at least one request was
    under way, for each endpoint; less than ``usage.seconds``, which counts requests at the same time each for itself."""

    requests: int = 0
    failures: int = 0
    completions: int = 0
    usage: Usage = field(default_factory=Usage)
    gpu_seconds: float = 0.0

    @property
    def cached_share(self) -> float:
        """The prefix cache's hit rate: of all prompt tokens, those that were already there."""
        return self.usage.cached_tokens / self.usage.prompt_tokens if self.usage.prompt_tokens else 0.0


def cost(usage: Usage, prices: Prices, gpu_seconds: float | None = None) -> float:
    """The price of that usage. ``gpu_seconds`` takes the place of the requests' own seconds where they overlapped."""
    tokens = (usage.prompt_tokens - usage.cached_tokens) * prices.input_million + usage.completion_tokens * prices.output_million
    seconds = usage.seconds if gpu_seconds is None else gpu_seconds
    return tokens / 1e6 + seconds * prices.gpu_hour / 3600


class Meter:
    """Adds up requests; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = Totals()

    def add(self, usage: Usage, completions: int, gpu_seconds: float = 0.0) -> None:
        with self._lock:
            t = self._totals
            self._totals = Totals(t.requests + 1, t.failures, t.completions + completions, t.usage + usage, t.gpu_seconds + gpu_seconds)

    def add_failure(self) -> None:
        with self._lock:
            self._totals = replace(self._totals, requests=self._totals.requests + 1, failures=self._totals.failures + 1)

    @property
    def totals(self) -> Totals:
        with self._lock:
            return self._totals
