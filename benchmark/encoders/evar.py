"""The kind ``evar``: a class of EVAR's interface, ``evar:module.Class?config=file.yaml``.

Such a class is made with a configuration (fields like weight_file, feature_d, sample_rate, n_fft), takes statistics of
the task's training audio in ``precompute(device, data_loader)``, and turns audio [B, N] into embeddings [B, D] when it
is called; ``encode_frames`` gives [B, D, T].

Source: D. Niizumi et al., EVAR, https://github.com/nttcslab/eval-audio-repr.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.encoders.foreign import ModuleEncoder, import_path, member, module_of_name, telling, whole_number
from benchmark.encoders.python import measured_size
from bgknown.errors import InvalidInputError, NotFoundError

BASE = "BaseAudioRepr"
"""EVAR's base class, whose ``precompute`` does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the class is made with."""

    config: str | None = None
    """EVAR's configuration, a .yaml or .json file."""
    weight_file: str | None = None
    """File of weights, in place of the configuration's."""
    sample_rate: int | None = None
    """Sampling rate in Hz, in place of the configuration's."""


class Configuration(dict[str, Any]):
    """A dictionary whose values are attributes too, as EVAR's classes expect."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self:
            raise InvalidInputError(
                f"evar: the class asks for {name}, which the configuration lacks; add it to ?config="
            )
        return self[name]

    def copy(self) -> Configuration:
        """Another of the same content."""
        return Configuration(self)


class EvarEncoder(ModuleEncoder):
    """An EVAR class."""

    def __init__(self, model: Any, configuration: Configuration, where: str) -> None:
        rate_hz = whole_number(configuration.get("sample_rate"), f"{where}: sample_rate of its configuration")
        size = configuration.get("feature_d")
        if size is None:
            size = measured_size(model, rate_hz, where)
        super().__init__(
            model,
            name=type(model).__name__,
            rate_hz=rate_hz,
            embedding_size=whole_number(size, f"{where}: feature_d of its configuration"),
        )
        self.configuration = {"evar": dict(configuration)}

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, D]."""
        output: Tensor = self.model(self.on_device(audio))
        return output


class FittedEvarEncoder(EvarEncoder):
    """An EVAR class that takes statistics of the task's training audio."""

    fitted = False

    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, D].

        Raises:
            InvalidInputError: it has not been fitted.
        """
        if not self.fitted:
            raise InvalidInputError(f"encoder {self.name}: has no statistics yet; call fit with training audio first")
        return super().embed(audio)

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Hand the training audio to ``precompute``, as pairs of audio and labels that nobody reads."""

        def loader() -> Iterator[tuple[Tensor, Tensor]]:
            for audio in batches:
                yield audio, torch.zeros(len(audio), dtype=torch.int64)

        with telling(self.name, "precompute fails"), torch.inference_mode():
            self.model.precompute(self.device, loader())
        self.fitted = True


def load(target: str, options: Options) -> EvarEncoder:
    """Import the class and make it.

    Raises:
        NotFoundError: there is no such module, class or configuration.
        InvalidInputError: its code raises an exception, or the configuration lacks a field.
    """
    where, _, name = target.rpartition(".")
    if not where:
        raise InvalidInputError(f"evar:{target}: must be written evar:MODULE.CLASS")
    module = module_of_name(where)
    kind = member(module, name, f"evar:{target}")
    configuration = _configuration(options)
    with telling(f"evar:{target}", "cannot be made"), import_path(Path.cwd()):
        model = kind(configuration)
    encoder = FittedEvarEncoder if _takes_statistics(kind) else EvarEncoder
    return encoder(model, configuration, f"evar:{target}")


def weights_of(target: str, options: Options) -> list[Path]:
    """The file of weights; nothing where there is none, and the model's tensors are hashed."""
    weights = _configuration(options).get("weight_file")
    return [Path(str(weights))] if weights and Path(str(weights)).is_file() else []


def _takes_statistics(kind: type) -> bool:
    owner = next((parent for parent in kind.__mro__ if "precompute" in vars(parent)), None)
    return owner is not None and owner.__name__ != BASE


def _configuration(options: Options) -> Configuration:
    values: dict[str, Any] = {"weight_file": None}
    if options.config is not None:
        values |= _read(Path(options.config))
    if options.weight_file is not None:
        if not Path(options.weight_file).exists():
            raise NotFoundError(f"evar: no such file {options.weight_file} (option weight_file)")
        values["weight_file"] = options.weight_file
    if options.sample_rate is not None:
        values["sample_rate"] = options.sample_rate
    return Configuration(values)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; option config must name EVAR's .yaml or a .json")
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InvalidInputError(f"{path}: not JSON ({error})") from error
    else:
        try:
            import yaml  # type: ignore[import-untyped]  # noqa: PLC0415
        except ImportError as error:
            raise InvalidInputError(f"{path}: reading YAML needs PyYAML: pip install pyyaml, or give .json") from error
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InvalidInputError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(values, dict):
        raise InvalidInputError(f"{path}: holds a {type(values).__name__}, must hold fields and values")
    return values
