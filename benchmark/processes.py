"""The processes that ``torchrun`` starts: each embeds its share, then the first one continues alone."""

from __future__ import annotations

import os
import platform
from datetime import timedelta
from typing import Any

from bgknown.jobs.devices import choose_device

PATIENCE = timedelta(days=7)
"""How long a process waits for the others; torchrun ends them all when one fails."""


def count() -> int:
    """Number of processes; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def pick_device(name: str | None) -> str:
    """The device of this process; under torchrun each process takes its own GPU.

    Args:
        name: cpu, cuda, cuda:N or mps; None for a CUDA GPU if there is one.

    Raises:
        InvalidInputError: it is not a device, or this machine does not have it.
    """
    import torch  # noqa: PLC0415  (``--help`` imports this module)

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    return choose_device(name, gpus=gpus, mps=torch.backends.mps.is_available(), local_rank=local_rank)


def name_device(device: str) -> str:
    """What a device is, for tables of results: the model of a GPU, or the architecture of the CPU."""
    import torch  # noqa: PLC0415  (``--help`` imports this module)

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def wait_for_all() -> None:
    """Block until every process arrives."""
    from torch import distributed  # noqa: PLC0415

    if not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=PATIENCE)
    distributed.barrier()


def gather(value: Any) -> list[Any]:
    """The values of all processes in the order of their numbers; every process must call this."""
    from torch import distributed  # noqa: PLC0415

    wait_for_all()
    parts = [None] * count()
    distributed.all_gather_object(parts, value)
    return parts
