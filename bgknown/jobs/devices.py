"""Which device a process computes on: the one rule for ``--device``, in benchmark and in pretrain.

This package does not import torch, and benchmark and pretrain do not import each other. So the rule is here, and the
facts about the machine come in as arguments: each of the two asks torch for them and calls ``choose_device``.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from bgknown.errors import InvalidInputError

DEVICES = ("cpu", "cuda", "mps")
"""The kinds of device."""
_NAME = re.compile(r"cpu|mps|cuda(?::(0|[1-9][0-9]{0,3}))?", re.ASCII)


def choose_device(
    name: str | None, *, gpus: int, mps: bool = False, local_rank: int = 0, kinds: Collection[str] = DEVICES
) -> str:
    """Choose the device of this process.

    ``cuda`` without a number means the GPU of this process: the first one, or under torchrun the one whose number is
    the process's rank on its machine. Several processes share a GPU only if it is named by its number.

    Args:
        name: the option's text: cpu, cuda, cuda:N or mps; None for a CUDA GPU if there is one, otherwise the CPU.
        gpus: number of CUDA GPUs that torch can use.
        mps: whether torch can use Apple's Metal.
        local_rank: number of this process among those of its machine.
        kinds: the kinds of device that the work can run on.

    Returns:
        ``cpu``, ``mps`` or ``cuda:N``.

    Raises:
        InvalidInputError: the text is not a device, the work cannot run on it, or this machine does not have it.
    """
    text = name if name is not None else ("cuda" if gpus and "cuda" in kinds else "cpu")
    found = _NAME.fullmatch(text)
    kind = text.partition(":")[0]
    if found is None or kind not in kinds:
        choices = ["cuda, cuda:N" if known == "cuda" else known for known in DEVICES if known in kinds]
        raise InvalidInputError(
            f"--device {text[:80]!r}: not a device that this command runs on; use {', '.join(choices)}"
        )
    number = int(found[1] or local_rank)
    if (kind == "cuda" and number >= gpus) or (kind == "mps" and not mps):
        what = f"GPU {number}" if kind == "cuda" else "mps"
        fewer = ", or start fewer processes" if kind == "cuda" and found[1] is None and gpus > 0 else ""
        there = ["cpu", *(f"cuda:{place}" for place in range(gpus)), *["mps"] * mps]
        raise InvalidInputError(f"--device {text}: this machine does not have {what}; use {' or '.join(there)}{fewer}")
    return f"cuda:{number}" if kind == "cuda" else kind
