"""The processes that ``torchrun`` starts: each embeds its share, the first one goes on alone."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

PATIENCE = timedelta(days=7)
"""How long a process waits for the others; torchrun ends all of them when one fails."""


def count() -> int:
    """How many there are; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this one, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Number of this one on its machine, which is the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def wait_for_all() -> None:
    """Wait until every process is here."""
    from torch import distributed  # noqa: PLC0415

    if not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=PATIENCE)
    distributed.barrier()


def gather(value: Any) -> list[Any]:
    """What every process has, in the order of their numbers; each must call this."""
    from torch import distributed  # noqa: PLC0415

    wait_for_all()
    parts = [None] * count()
    distributed.all_gather_object(parts, value)
    return parts
