"""The precision that an encoder computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Names of the precisions that an encoder may compute in; its output is stored as float32."""
_NEWER = "fp32_precision"


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
    """Let nothing compute in TF32; then everything is as it was.

    Torch 2.9 has newer names, and an older one cannot be read once a model has set a newer one to something else. Where
    it can be read, both are set, so that the model's code may use either.
    """
    switches = [(place, name, getattr(place, name)) for place, name in _list_switches()]
    products = _read_product_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        for place, name, _ in switches:
            setattr(place, name, "ieee" if name == _NEWER else False)
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        for place, name, value in switches:
            setattr(place, name, value)


def _list_switches() -> list[tuple[Any, str]]:
    """What decides about convolutions and products: the older name first, because setting it sets newer ones."""
    backends = torch.backends
    places = [backends.cuda.matmul, *(getattr(backends.cudnn, name, None) for name in ("conv", "rnn"))]
    newer = [(place, _NEWER) for place in places if hasattr(place, _NEWER)]
    try:
        getattr(backends.cudnn, "allow_tf32")  # noqa: B009  (reading it is what fails)
    except RuntimeError:
        return newer
    return [(backends.cudnn, "allow_tf32"), *newer]


def _read_product_precision() -> str | None:
    """The older name for products; None if a newer one was set to something else."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None
