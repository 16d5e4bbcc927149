"""The kind ``onnx``: an ONNX model in a file; its metadata may give the sampling rate as ``rate_hz``.

An ONNX model is data, not code. Its tensors may be in files next to it; a model that points anywhere else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from benchmark.encoders.adapters.foreign import explain_failure
from benchmark.encoders.adapters.program import RATE_NAMES, ProgramEncoder, ProgramOptions, find_rate
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.paths import find_fault

Options = ProgramOptions


class OnnxEncoder(ProgramEncoder):
    """An ONNX model in onnxruntime."""

    def __init__(self, path: Path, rate_hz: int, options: ProgramOptions) -> None:
        runtime = _import_package("onnxruntime")
        self._session = self._open(path, ["CPUExecutionProvider"])
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 2:
            found = ", ".join(f"{item.name} {item.shape}" for item in inputs)
            raise InvalidInputError(f"{path}: its inputs are {found}; it must have one, audio [B, N]")
        self._input = inputs[0].name
        self._clips, self._samples = (size if isinstance(size, int) else None for size in inputs[0].shape)
        self.configuration = {"onnxruntime": runtime.__version__}
        super().__init__(path, self._call, rate_hz, options, samples=self._samples)

    def to(self, device: str | torch.device) -> Self:
        """Run on a GPU if onnxruntime can; otherwise stay on the CPU."""
        place = torch.device(device)
        if place.type == "cuda" and "CUDAExecutionProvider" in _import_package("onnxruntime").get_available_providers():
            choice = ("CUDAExecutionProvider", {"device_id": place.index or 0})
            self._session = self._open(self._path, [choice, "CPUExecutionProvider"])
        return self

    def _open(self, path: Path, providers: list[Any]) -> Any:
        runtime = _import_package("onnxruntime")
        settings = runtime.SessionOptions()
        settings.log_severity_level = 4  # silence errors too: they are also raised
        settings.intra_op_num_threads = torch.get_num_threads()
        with explain_failure(str(path), "cannot be loaded as ONNX"):
            # external data is found next to the file itself, where it was checked, not next to a link to it
            return runtime.InferenceSession(str(path.resolve()), sess_options=settings, providers=providers)

    def _call(self, audio: Tensor) -> list[Tensor]:
        samples = np.ascontiguousarray(audio.cpu().numpy(), dtype=np.float32)
        if self._samples is not None and samples.shape[1] != self._samples:
            raise InvalidInputError(
                f"{self._path}: accepts clips of {self._samples} samples, not {samples.shape[1]}; "
                f"export it again with a dynamic length"
            )
        step = self._clips or len(samples)
        rows = []
        for start in range(0, len(samples), step):
            part = samples[start : start + step]
            full = np.concatenate([part, np.repeat(part[-1:], step - len(part), axis=0)])
            rows.append([output[: len(part)] for output in self._session.run(None, {self._input: full})])
        return [torch.from_numpy(np.concatenate(outputs)) for outputs in zip(*rows, strict=True)]


def load(target: str, options: ProgramOptions) -> OnnxEncoder:
    """Load the model.

    Raises:
        NotFoundError: onnxruntime is not installed, or external data is missing.
        InvalidInputError: the model is damaged, points outside its folder, does not give its rate, or returns something
            else than [B, D].
    """
    path = Path(target)
    model = _read_model(path)
    _list_external_files(model, path)
    said = {item.key: item.value for item in model.metadata_props}
    rates = (int(said[name]) if re.fullmatch("[0-9]{1,9}", said.get(name, "")) else None for name in RATE_NAMES)
    return OnnxEncoder(path, find_rate(path, options, rates), options)


def weights_of(target: str, options: ProgramOptions) -> list[Path]:
    """The model and the files of its external data."""
    path = Path(target).resolve()
    return [path, *_list_external_files(_read_model(path), path)]


def _read_model(path: Path) -> Any:
    """The model without its external data."""
    onnx = _import_package("onnx")
    with explain_failure(str(path), "is not an ONNX model"):
        return onnx.load(str(path), load_external_data=False)


def _list_external_files(model: Any, path: Path) -> list[Path]:
    """The files next to the model that hold its tensors.

    Raises:
        InvalidInputError: one is outside the model's folder, by name or by a link.
        NotFoundError: one is missing.
    """
    folder = path.resolve().parent
    locations = {
        entry.value
        for tensor in _list_all_tensors(model)
        if tensor.data_location == tensor.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = []
    for location in sorted(locations, key=repr):
        if not isinstance(location, str):  # protobuf returns bytes for text that is not UTF-8
            raise InvalidInputError(f"{path}: the name of its external data, {shorten_value(location)}, is not text")
        file = folder / location
        if find_fault(location) or not file.resolve().is_relative_to(folder):
            raise InvalidInputError(
                f"{path}: refused: its external data {shorten_value(location)} is outside its folder; "
                f"put it next to the model"
            )
        if not file.is_file():
            raise NotFoundError(
                f"{path}: its external data {shorten_value(location)} is missing; put the file next to the model"
            )
        files.append(file)
    return files


def _list_all_tensors(model: Any) -> Iterator[Any]:
    """All stored tensors of a model, those inside its functions too."""
    yield from _list_tensors(model.graph)
    for function in model.functions:
        yield from _list_node_tensors(function.node)


def _list_tensors(graph: Any) -> Iterator[Any]:
    """All stored tensors of a graph and of the graphs inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _list_node_tensors(graph.node)


def _list_node_tensors(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from [attribute.t, *attribute.tensors]
            for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
                yield from (sparse.values, sparse.indices)
            for inner in [attribute.g, *attribute.graphs]:
                yield from _list_tensors(inner)


def _import_package(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise NotFoundError(f"ONNX models need {name}: pip install onnx onnxruntime") from error
