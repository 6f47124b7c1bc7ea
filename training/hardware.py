"""What the machine gives: peak memory, and the share of an accelerator's arithmetic that a model's passes used."""

from __future__ import annotations

import resource
import sys

import torch

_PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "H800": 989e12, "A100": 312e12, "A10G": 70e12, "L40S": 362e12, "L4": 121e12, "T4": 65e12}
"""Dense bfloat16 (T4: float16) operations a second by the vendor's data sheets, of the SXM form where there are several."""


def peak_memory(device: torch.device) -> int:
    """Bytes at most allocated on an accelerator since the process began; on a CPU the process's largest resident set."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def flops_utilisation(operations: float, seconds: float, device: torch.device) -> dict[str, float]:
    """{"mfu": share} where the accelerator's peak is known, {} elsewhere. ``operations``: of the model, without recomputed ones."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    # The longer name first: an L40S is no L4.
    for known in sorted(_PEAK_FLOPS, key=len, reverse=True):
        if known in name:
            return {"mfu": operations / seconds / _PEAK_FLOPS[known]}
    return {}
