"""What several training tests need: the real sandbox, and a small task with a bug planted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.runner import Runner
from tests.vllm.tiny_model import make_tiny_model
from training.benchmark.isolation import default_runner
from training.benchmark.judging import Oracle, make_oracle
from training.benchmark.mbpp import Bug, Task
from training.benchmark.mutation import Mutant
from training.tokens import Tokens

TASK = Task(9001, "def add(a, b):\n    return a + b\n", ("assert add(1, 2) == 3", "assert add(2, 5) == 7", "assert add(0, 4) == 4"))


@pytest.fixture(scope="session")
def runner() -> Runner:
    return default_runner()


@pytest.fixture
def task() -> Task:
    return TASK


@pytest.fixture(scope="session")
def oracle(runner: Runner) -> Oracle:
    made, reason = make_oracle(runner, TASK.program, TASK.asserts, seed=0)
    assert made is not None, reason
    return made


@pytest.fixture
def bug(planted_bug: Bug) -> Bug:
    return planted_bug


@pytest.fixture(scope="session")
def planted_bug(oracle: Oracle) -> Bug:
    mutant = Mutant("token", "arithmetic operator", 2, TASK.program.replace("a + b", "a - b"))
    return Bug("mbpp/9001/token/0", TASK, mutant, oracle)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of about 60,000 parameters with a byte-level tokenizer."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), vocabulary=600, hidden=32, layers=1)


@pytest.fixture(scope="session")
def tokens(tiny: Path) -> Tokens:
    from transformers import AutoTokenizer

    return Tokens(AutoTokenizer.from_pretrained(tiny))
