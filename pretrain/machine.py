"""What depends on the machine: the device, its arithmetic, and how memory is kept."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import torch

from bgknown.errors import InvalidInputError
from bgknown.jobs import memory

CLEARLY = 0.8
"""bf16 must take at most this share of float32's time on a CPU to be worth its rounding."""


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


def make_autocast(device: torch.device, precision: str) -> torch.autocast:
    """The networks' arithmetic: bfloat16 where it is exact enough, or float32 throughout."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def pick_precision(device: torch.device) -> str:
    """bf16 where the device computes a training's convolutions faster in it, or else float32.

    A GPU's features decide. A CPU is timed: what it can do, what torch makes of it and how fast that is are three
    questions, and only the last one matters. Without bf16 arithmetic a CPU takes several times as long.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    generator = torch.Generator().manual_seed(0)  # the global one is left alone
    clips = torch.randn(8, 64, 16, 24, generator=generator)
    kernels = torch.randn(64, 64, 3, 3, generator=generator).requires_grad_()
    float32_s, bf16_s = (_time_convolution(clips, kernels, precision) for precision in ("float32", "bf16"))
    return "bf16" if bf16_s < CLEARLY * float32_s else "float32"


def _time_convolution(clips: torch.Tensor, kernels: torch.Tensor, precision: str) -> float:
    """Seconds that a convolution and its gradient take at best."""
    times = []
    for _ in range(4):  # the first one also chooses the code
        begun = time.perf_counter()
        with make_autocast(clips.device, precision):
            result = torch.nn.functional.conv2d(clips, kernels, padding=1)
        torch.autograd.grad(result.float().sum(), kernels)
        times.append(time.perf_counter() - begun)
    return min(times)


def disable_tf32(device: torch.device, precision: str) -> None:
    """Where float32 is asked for, have a GPU's convolutions compute in it, and not in TF32 as torch lets them.

    The statistics that BatchNorm is folded with are those of float32.
    """
    if device.type == "cuda" and precision == "float32":
        torch.backends.cudnn.allow_tf32 = False


@contextlib.contextmanager
def explain_out_of_memory(remedy: str) -> Iterator[None]:
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
    """On a CPU, keep freed memory for the tensors of the next step (``bgknown.jobs.memory``)."""
    if device.type == "cpu":
        memory.keep_freed_memory()
