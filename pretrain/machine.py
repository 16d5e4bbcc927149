"""What depends on the machine: the device, its arithmetic, and how freed memory is kept."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import torch

from bgknown.errors import InvalidInputError
from bgknown.jobs import memory
from bgknown.jobs.devices import choose_device

CLEARLY = 0.8
"""On a CPU, bf16 must take at most this share of float32's time to be worth its rounding."""


def take_device(name: str | None) -> torch.device:
    """The device of this process, made torch's current one; under torchrun each process takes its own GPU.

    Args:
        name: cpu, cuda or cuda:N; None for a GPU if there is one.

    Raises:
        InvalidInputError: it is not such a device, or this machine does not have it.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device(choose_device(name, gpus=gpus, local_rank=local_rank, kinds=("cpu", "cuda")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def make_autocast(device: torch.device, precision: str) -> torch.autocast:
    """Arithmetic of the networks: bfloat16 where it is exact enough, or float32 throughout."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def pick_precision(device: torch.device) -> str:
    """bf16 where the device computes a training's convolutions faster in it, otherwise float32.

    A GPU's features decide. A CPU is timed: neither its instructions nor torch's use of them tell how fast it is, and
    without bf16 arithmetic a CPU takes several times as long.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    generator = torch.Generator().manual_seed(0)  # not the global one
    clips = torch.randn(8, 64, 16, 24, generator=generator)
    kernels = torch.randn(64, 64, 3, 3, generator=generator).requires_grad_()
    float32_s, bf16_s = (_time_convolution(clips, kernels, precision) for precision in ("float32", "bf16"))
    return "bf16" if bf16_s < CLEARLY * float32_s else "float32"


def _time_convolution(clips: torch.Tensor, kernels: torch.Tensor, precision: str) -> float:
    """The shortest time, in seconds, of a convolution and its gradient."""
    times = []
    for _ in range(4):  # the first one also selects the code
        start = time.perf_counter()
        with make_autocast(clips.device, precision):
            result = torch.nn.functional.conv2d(clips, kernels, padding=1)
        torch.autograd.grad(result.float().sum(), kernels)
        times.append(time.perf_counter() - start)
    return min(times)


def disable_tf32(device: torch.device, precision: str) -> None:
    """For float32, make a GPU's convolutions compute in float32 and not in TF32, torch's default.

    The statistics that BatchNorm is folded with are those of float32.
    """
    if device.type == "cuda" and precision == "float32":
        torch.backends.cudnn.allow_tf32 = False


@contextlib.contextmanager
def explain_out_of_memory(remedy: str) -> Iterator[None]:
    """Report as one line that memory ran out: the GPU's, torch's on the CPU, or numpy's.

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
        if "can't allocate memory" not in str(error):  # torch has no separate exception for this on a CPU
            raise
        raise InvalidInputError(f"out of memory: {remedy}") from error


def reuse_freed_memory(device: torch.device) -> None:
    """On a CPU, reuse freed memory for the tensors of the next step (``bgknown.jobs.memory``)."""
    if device.type == "cpu":
        memory.keep_freed_memory()
