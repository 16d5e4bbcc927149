"""What depends on the machine: the device, its arithmetic, and how memory is kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from bgknown import memory
from bgknown.errors import InvalidInputError


def pick_device(name: str | None) -> torch.device:
    """The device of this process; under torchrun each process has the GPU of its local rank.

    Args:
        name: such as cpu, cuda or cuda:1; None takes a GPU if there is one.

    Raises:
        InvalidInputError: torch knows no such device, or it is not there.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise InvalidInputError(f"--device {name}: no device of torch; write cpu, cuda or cuda:1") from error
    if device.type not in {"cpu", "cuda"}:
        raise InvalidInputError(f"--device {name}: training runs on cpu or cuda")
    if device.type == "cuda":
        index = device.index if device.index is not None else int(os.environ.get("LOCAL_RANK", "0"))
        if index >= torch.cuda.device_count():
            raise InvalidInputError(
                f"--device {name or 'cuda'}: GPU {index} is not there ({torch.cuda.device_count()} found); "
                f"take --device cpu, or start fewer processes"
            )
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    return device


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The networks' arithmetic: bfloat16 where it is exact enough, or float32 throughout."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def whole_float32(device: torch.device, precision: str) -> None:
    """Where float32 is asked for, have a GPU's convolutions compute in it, and not in TF32 as torch lets them.

    The statistics that BatchNorm is folded with are those of float32.
    """
    if device.type == "cuda" and precision == "float32":
        torch.backends.cudnn.allow_tf32 = False


@contextlib.contextmanager
def telling_of_memory(remedy: str) -> Iterator[None]:
    """Tell in one line that the memory does not suffice, be it the GPU's, torch's on the CPU or numpy's.

    Args:
        remedy: what to do about it.

    Raises:
        InvalidInputError: memory ran out.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise InvalidInputError(f"out of memory: {remedy}") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # torch has no type of its own for this on a CPU
            raise
        raise InvalidInputError(f"out of memory: {remedy}") from error


def keep_freed_memory(device: torch.device) -> None:
    """On a CPU, keep freed memory for the tensors of the next step (``bgknown.memory``)."""
    if device.type == "cpu":
        memory.keep_freed_memory()
