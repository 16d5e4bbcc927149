"""A second device without a GPU: tensors whose device is ``meta`` but which have values, and do not meet the CPU's.

::

    with SecondDevice() as device:
        results = train_probes(problems, settings, device=device.name)

Within the context whatever is moved to ``meta``, or made there, becomes a ``FarTensor``: a tensor with that device
around one of the CPU, which computes its values. An operation on far tensors and on tensors of the CPU fails, as with
CUDA, except where CUDA allows it: copies, single values, and indices of ``x[indices]``. So results equal the CPU's,
and a tensor left on the CPU ends the work with ``LeftOnCpuError``. What builds layers on torch's own ``meta`` first is
called within ``pause()``.

``SecondDevice(leave=place)`` leaves on the CPU what a line of the project moves, to show that a test notices it;
``places`` lists these lines. What depends on CUDA's own libraries is not covered: pinned memory, autocast (here it does
nothing), its generators (here the CPU's, with another device) and the arithmetic of its kernels.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch.utils import _python_dispatch, _pytree

from bgknown.errors import InvalidInputError

NAME = "meta"
ROOT = Path(__file__).resolve().parents[1]
PACKAGES = tuple(str(ROOT / package) for package in ("bgknown", "benchmark", "pretrain"))
aten = torch.ops.aten
BETWEEN_DEVICES = {aten._to_copy.default, aten.copy_.default}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}


class LeftOnCpuError(RuntimeError):
    """An operation has arguments on both devices."""


class FarTensor(torch.Tensor):
    """A tensor of the second device."""

    @staticmethod
    def __new__(cls, values):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=NAME,
        )

    def __init__(self, values):
        self.near = values

    @property
    def data(self):
        return torch.Tensor.data.__get__(self)

    @data.setter
    def data(self, values):
        torch.Tensor.data.__set__(self, values)
        self.near = values.near

    def __getitem__(self, index):
        return super().__getitem__(turn_lists(index))

    def __setitem__(self, index, values):
        super().__setitem__(turn_lists(index), values)

    def tolist(self):
        return self.near.tolist()

    def __repr__(self):
        return f"FarTensor({self.near!r})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


def turn_lists(index):
    """An index whose lists are tensors: torch would make tensors without values of them, on the device."""
    if isinstance(index, tuple):
        return tuple(turn_lists(part) for part in index)
    return torch.tensor(index, dtype=torch.int64) if isinstance(index, list) else index


def compute(func, args, kwargs, *, leave: Callable[[], bool] = lambda: False):
    """Do an operation on the CPU; its results are on the second device if its arguments are or it is told so."""
    tensors = [value for value in _pytree.tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    far = any(isinstance(tensor, FarTensor) for tensor in tensors)
    if any(tensor.is_meta and not isinstance(tensor, FarTensor) for tensor in tensors):
        raise AssertionError(
            f"{func}: a tensor of the second device has no values; this way to make one is not covered"
        )
    given = kwargs.get("device")
    if far and func not in BETWEEN_DEVICES:
        near = [t for t in tensors if not isinstance(t, FarTensor) and not _may_be_near(func, t, args)]
        if near:
            shapes = [list(tensor.shape) for tensor in near]
            raise LeftOnCpuError(f"{func}: tensors of shape {shapes} are on the CPU, others on the second device")
    goes = far if given is None else torch.device(given).type == NAME
    if given is not None:
        kwargs = {**kwargs, "device": "cpu"}
    results = func(
        *_pytree.tree_map_only(FarTensor, lambda tensor: tensor.near, args),
        **_pytree.tree_map_only(FarTensor, lambda tensor: tensor.near, kwargs),
    )
    if func is aten.copy_.default:
        return args[0]
    if not goes or (given is not None and results.dim() and results.numel() and leave()):
        return results
    wrapped = _pytree.tree_map_only(torch.Tensor, FarTensor, results)
    return _python_dispatch.return_and_correct_aliasing(func, args, kwargs, wrapped) if far else wrapped


def _may_be_near(func, tensor, args):
    """Whether CUDA takes this argument from the CPU: a single value, or one of the indices of ``x[indices]``."""
    if func in INDEXED and any(tensor is index for index in args[1]):
        return True
    return not tensor.dim() and func is not aten._fused_adam_.default


class _Mode(_python_dispatch.TorchDispatchMode):
    def __init__(self, leave: str) -> None:
        super().__init__()
        self.leave, self.places = leave, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {}, leave=self._leaves)

    def _leaves(self) -> bool:
        place = find_place()
        self.places[place] = None
        return place == self.leave


def find_place() -> str:
    """The innermost line of the project that is being executed: ``pretrain/trainer.py:147``."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGES):
            return f"{Path(frame.f_code.co_filename).relative_to(ROOT).as_posix()}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


class Generator(torch.Generator):
    """A generator of the CPU, which may say that it is on the second device."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        made.place = torch.device(torch.device(device).type)
        return made

    @property
    def device(self):
        return self.place


def _enter_no_grad(context):
    """In place of inference mode, which refuses such tensors; functions may have been decorated with it long before."""
    context.no_grad = torch.no_grad()
    context.no_grad.__enter__()


def _leave_no_grad(context, *error):
    context.no_grad.__exit__(*error)


class SecondDevice:
    """The context in which there is a second device.

    Args:
        leave: a line of the project whose tensors stay on the CPU.
    """

    name = NAME

    def __init__(self, leave: str = "") -> None:
        self._mode = _Mode(leave)

    @property
    def places(self) -> list[str]:
        """The lines of the project that moved or made something there."""
        return [place for place in self._mode.places if place]

    def __enter__(self) -> SecondDevice:
        supported = [*torch.utils._foreach_utils._get_fused_kernels_supported_devices(), NAME]
        autocast, tensor = torch.autocast, torch.tensor

        def make_tensor(values, *, device=None, **kwargs):  # torch's own copies to a device below the dispatcher
            return tensor(values, **kwargs) if device is None else tensor(values, **kwargs).to(device)

        def make_autocast(device_type, *args, **kwargs):
            return contextlib.nullcontext() if device_type == NAME else autocast(device_type, *args, **kwargs)

        self._stack = contextlib.ExitStack()
        for replaced in (
            mock.patch("torch.optim.optimizer._get_fused_kernels_supported_devices", return_value=supported),
            mock.patch("torch.autocast", make_autocast),
            mock.patch("torch.tensor", make_tensor),
            mock.patch.multiple(torch.inference_mode, __enter__=_enter_no_grad, __exit__=_leave_no_grad),
        ):
            self._stack.enter_context(replaced)
        self._stack.enter_context(self._mode)
        return self

    def __exit__(self, *error) -> None:
        self._stack.close()


pause = _python_dispatch._disable_current_modes
"""A context in which there is no second device for a while."""


def check_every_place(work: Callable[[], object], *, harmless: tuple[str, ...] = ()) -> list[str]:
    """Do some work with whatever one line of the project moves left on the CPU, for each line in turn.

    Args:
        work: what to do, within the context.
        harmless: beginnings of source lines whose tensors only meet what CUDA allows them to.

    Returns:
        the lines.
    """
    with SecondDevice() as device:
        work()
    assert device.places
    for place in device.places:
        file, line = place.split(":")
        source = (ROOT / file).read_text().splitlines()[int(line) - 1].strip()
        if not source.startswith(harmless or ("\0",)):
            try:
                with SecondDevice(leave=place):
                    work()
            except (RuntimeError, InvalidInputError) as error:
                assert re.search("on the CPU|[Dd]evice", str(error)), place  # noqa: PT017
            else:
                pytest.fail(f"nothing noticed what {place} leaves on the CPU: {source}")
    return device.places
