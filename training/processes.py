"""One process or many: what PPO asks of `accelerate launch`, and the same for a process that is alone.

Every process sees the whole batch and learns from its own rollouts: those whose index is its own, counted round. Losses are sums over
tokens divided by the tokens of all processes; data parallelism averages gradients, so each process scales its loss by their number. What is
logged is summed over all. So a run gives the same losses on any number of processes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from training import DataError

T = TypeVar("T")


def count_processes() -> int:
    """How many `accelerate launch` (or torchrun) has started for this run."""
    return max(int(os.environ.get("WORLD_SIZE") or 1), 1)


class Processes(Protocol):
    """``count`` of them; ``index`` of this one; ``is_first``: the one that writes files."""

    count: int
    index: int

    @property
    def is_first(self) -> bool: ...

    def prepare(self, model: nn.Module, optimizer: Any) -> Any:
        """The model as it is to be called: wrapped, and on its device; the optimizer goes with it."""

    def backward(self, loss: Tensor) -> None: ...

    def without_exchange(self, model: Any) -> AbstractContextManager[Any]:
        """Backward passes inside leave gradients in this process; the next one outside exchanges all of them."""

    def clip(self, parameters: Iterable[nn.Parameter], most: float) -> Tensor:
        """Scale gradients down to ``most``; their norm before."""

    def add_up(self, values: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """Each value summed over all processes, which give the same names."""

    def largest(self, value: int, device: torch.device) -> int: ...

    def share(self, make: Callable[[], T]) -> T:
        """What the first process makes, on all of them."""

    @property
    def spreads(self) -> bool:
        """Whether weights are spread over processes, so that none has all of them."""

    def state_of(self, model: Any) -> dict[str, Tensor] | None:
        """All weights, gathered where they are spread over processes; None where the module itself has them."""

    def save(self, folder: Path) -> None:
        """Each process's part of weights and optimizer, where they are spread."""

    def load(self, folder: Path) -> None: ...

    def wait(self) -> None: ...


class Alone:
    """One process, no exchange."""

    count, index, is_first, spreads = 1, 0, True, False

    def prepare(self, model: nn.Module, optimizer: Any) -> Any:
        return model

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call, unused-ignore]

    def without_exchange(self, model: Any) -> AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def clip(self, parameters: Iterable[nn.Parameter], most: float) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(parameters, most)

    def add_up(self, values: Mapping[str, float], device: torch.device) -> dict[str, float]:
        return dict(values)

    def largest(self, value: int, device: torch.device) -> int:
        return value

    def share(self, make: Callable[[], T]) -> T:
        return make()

    def state_of(self, model: Any) -> dict[str, Tensor] | None:
        return None

    def save(self, folder: Path) -> None:
        raise NotImplementedError("one process has all of the weights")

    def load(self, folder: Path) -> None:
        raise NotImplementedError("one process has all of the weights")

    def wait(self) -> None:
        pass


ALONE = Alone()


class Launched:
    """Those of `accelerate launch`, with DDP or FSDP as its configuration says."""

    def __init__(self) -> None:
        """Raises DataError where the processes were started but did not find each other: each would take itself for the only one."""
        from accelerate import Accelerator

        self.accelerator: Any = Accelerator(cpu=not torch.cuda.is_available())
        self.count, self.index = int(self.accelerator.num_processes), int(self.accelerator.process_index)
        if self.count != count_processes():
            raise DataError(
                f"{count_processes()} processes were started, and accelerate joined {self.count}: its configuration does not fit this "
                "machine (FSDP needs GPUs); begin with one of training/launch")  # fmt: skip

    @property
    def is_first(self) -> bool:
        return self.index == 0

    @property
    def spreads(self) -> bool:
        return str(self.accelerator.distributed_type).endswith("FSDP")

    def prepare(self, model: nn.Module, optimizer: Any) -> Any:
        wrapped, _ = self.accelerator.prepare(model, optimizer)
        return wrapped

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss * self.count)

    def without_exchange(self, model: Any) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self.accelerator.no_sync(model)
        return context

    def clip(self, parameters: Iterable[nn.Parameter], most: float) -> Tensor:
        norm: Tensor = self.accelerator.clip_grad_norm_(list(parameters), most)
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def add_up(self, values: Mapping[str, float], device: torch.device) -> dict[str, float]:
        summed = self.accelerator.reduce(torch.tensor(list(values.values()), dtype=torch.float64, device=device), "sum")
        return dict(zip(values, summed.tolist(), strict=True))

    def largest(self, value: int, device: torch.device) -> int:
        return int(self.accelerator.gather(torch.tensor([value], device=device)).max())

    def share(self, make: Callable[[], T]) -> T:
        from accelerate.utils import broadcast_object_list

        [made] = broadcast_object_list([make() if self.is_first else None])
        return made  # type: ignore[no-any-return, unused-ignore]

    def state_of(self, model: Any) -> dict[str, Tensor] | None:
        return dict(self.accelerator.get_state_dict(model)) if self.spreads else None

    def save(self, folder: Path) -> None:
        self.accelerator.save_state(str(folder))

    def load(self, folder: Path) -> None:
        self.accelerator.load_state(str(folder))

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()


def processes() -> Processes:
    return Launched() if count_processes() > 1 else Alone()
