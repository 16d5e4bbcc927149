"""The precision that an encoder computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Names of the precisions that an encoder may compute in; its output is stored as float32."""


@contextmanager
def compute_in(precision: str, device: str) -> Iterator[None]:
    """Compute in a precision, for the encoder's code too: by autocast, or in float32.

    A GPU's convolutions are in TF32 by default, with a mantissa of ten bits: embeddings of AudioNTT2022 on an H100 were
    1.7e-4 from a CPU's (relative norm), and 3e-7 without it. Here float32 is float32, and embeddings do not depend on
    the device by more than rounding.

    Args:
        precision: one of ``PRECISIONS``.
        device: where the encoder is.
    """
    kind = torch.device(device).type
    if (reduced := PRECISIONS[precision]) is not None:
        with torch.autocast(kind, dtype=reduced):
            yield
    elif kind == "cuda":
        with _without_tf32():
            yield
    else:
        yield


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Let nothing compute in TF32; then everything is as it was."""
    products = torch.get_float32_matmul_precision()
    switches = [(place, name, getattr(place, name)) for place, name in _list_switches()]
    try:
        torch.set_float32_matmul_precision("highest")
        for place, name, _ in switches:
            setattr(place, name, "ieee" if name == "fp32_precision" else False)
        yield
    finally:
        for place, name, value in switches:
            setattr(place, name, value)
        torch.set_float32_matmul_precision(products)


def _list_switches() -> list[tuple[Any, str]]:
    """What decides about convolutions: after torch 2.9's names were used, the older one cannot be read."""
    try:
        getattr(torch.backends.cudnn, "allow_tf32")  # noqa: B009  (reading it is what fails)
    except RuntimeError:
        return [(getattr(torch.backends.cudnn, name), "fp32_precision") for name in ("conv", "rnn")]
    return [(torch.backends.cudnn, "allow_tf32")]
