"""The embedded proposer's candidates: typed edit templates in buckets, from source text alone."""

from __future__ import annotations

from collections.abc import Iterator

from inference.edits import Candidate, FunctionSource
from inference.templates.explain import Change, describe
from inference.templates.pairs import Partners, combine
from inference.templates.space import Space, seen_before
from inference.templates.unit import functions


def generate(function: FunctionSource, bucket: int, donors: tuple[FunctionSource, ...] = ()) -> Iterator[Candidate]:
    """The candidates of bucket 1, 2, 3, 5 or 6, lazily, likeliest first; no resulting text twice, nor one of an earlier bucket of 1-3.

    ``donors``: other functions whose expressions bucket 3 may borrow. Bucket 5 needs ``function.exception`` (its message and hot line help)
    and may add an import outside the function. Raises ValueError for another bucket, or for a function that is not in its text.
    """
    if bucket not in (1, 2, 3, 5, 6):
        raise ValueError(f"Bucket {bucket} is not made here: use 1, 2, 3, 5 or 6, and combine() for bucket 4.")
    space = Space(function, donors)
    return space.candidates(bucket, seen_before(space, bucket) if bucket != 5 else set())


__all__ = ["Change", "Partners", "Space", "combine", "describe", "functions", "generate"]
