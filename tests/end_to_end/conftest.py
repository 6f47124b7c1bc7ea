"""Every checkout is fixed at most once in a session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.checkouts import FIXED, UNFIXED, Run, fix

Ran = Callable[[str], Run]


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """The run over a checkout by its name, made when first asked for."""
    runs: dict[str, Run] = {}

    def get(name: str) -> Run:
        if name not in runs:
            scratch = tmp_path_factory.mktemp("checkout")
            runs[name] = fix({**FIXED, **UNFIXED}[name](scratch), scratch)
        return runs[name]

    yield get
    for run in runs.values():  # read-only folders could not be deleted
        for folder, _, _ in os.walk(run.checkout.folder):
            Path(folder).chmod(0o755)
