"""A PPO run whose weights are spread over two processes by FSDP 2, on CPUs, where accelerate itself spreads nothing.

All but the wrapping is what runs under `accelerate launch` with ``training/launch/fsdp.yaml``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.training.shared_run import run
from training.processes import Launched


class Spread(Launched):
    """FSDP 2 of torch in the place of accelerate's call of it."""

    spreads = True

    def prepare(self, model: nn.Module, optimizer: Any) -> Any:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (self.count,))
        for layer in list(model.model.get_decoder().layers):  # type: ignore[union-attr, operator, unused-ignore]
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        # The parameters are other ones now; what accelerate does for its optimizers too.
        optimizer.param_groups[0]["params"] = [one for one in model.parameters() if one.requires_grad]
        self.wrapped, self.optimizer = model, optimizer
        return model

    def without_exchange(self, model: Any) -> Any:
        return _without_exchange(model)

    def backward(self, loss: Tensor) -> None:
        (loss * self.count).backward()  # type: ignore[no-untyped-call, unused-ignore]

    def clip(self, parameters: Any, most: float) -> Tensor:
        norm: Any = torch.nn.utils.clip_grad_norm_(list(parameters), most)
        return norm.full_tensor()  # type: ignore[no-any-return, unused-ignore]

    def state_of(self, model: Any) -> dict[str, Tensor]:
        return {name: one.full_tensor() for name, one in model.state_dict().items()}

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        torch.save(self._state(), folder / f"{self.index}.pt")

    def load(self, folder: Path) -> None:
        state = torch.load(folder / f"{self.index}.pt", weights_only=False)
        self.wrapped.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _state(self) -> dict[str, Any]:
        return {"model": self.wrapped.state_dict(), "optimizer": self.optimizer.state_dict()}


class _without_exchange:
    def __init__(self, model: Any) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.model.set_requires_gradient_sync(False)

    def __exit__(self, *_: object) -> None:
        self.model.set_requires_gradient_sync(True)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Spread())
