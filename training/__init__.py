"""Training: turns trajectories into adapters. LEDEX (arXiv 2405.18649) from collection to a promoted adapter.

Errors: outcomes are values; an exception means that the machinery failed or was asked for something impossible::

    TrainingError
    ├── DataError        a data set, checkpoint or recipe cannot be used as it is
    └── NotPromoted      the gate refused what was to be published
"""

from __future__ import annotations


class TrainingError(Exception):
    """Root of what training raises; one clear sentence with the way out."""

    reason = "training"


class DataError(TrainingError):
    """A data set, checkpoint or recipe cannot be used as it is."""

    reason = "data"


class NotPromoted(TrainingError):
    """The gate refused what was to be published."""

    reason = "gate"
