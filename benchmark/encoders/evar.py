"""The kind ``evar``: a class of EVAR's interface, ``evar:module.Class?config=file.yaml``.

Such a class is made with a configuration (fields like weight_file, feature_d, sample_rate, n_fft), takes statistics of
the task's training audio in ``precompute(device, data_loader)``, and turns audio [B, N] into embeddings [B, D] when it
is called; ``encode_frames`` gives [B, D, T].

Source: D. Niizumi et al., EVAR, https://github.com/nttcslab/eval-audio-repr.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.encoders.foreign import (
    ModuleEncoder,
    code_sha256,
    import_path,
    member,
    module_of_name,
    telling,
    weight_files,
    whole_number,
)
from benchmark.encoders.python import measured_size
from bgknown.documents import few, read_json, read_yaml
from bgknown.errors import InvalidInputError, NotFoundError

BASE = "BaseAudioRepr"
"""EVAR's base class, whose ``precompute`` does nothing and whose ``encode_frames`` is not there yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the class is made with."""

    config: str | None = None
    """EVAR's configuration, a .yaml or .json file."""
    weight_file: str | None = None
    """File of weights, in place of the configuration's."""
    sample_rate: int | None = None
    """Sampling rate in Hz, in place of the configuration's."""


class MissingFieldError(InvalidInputError, AttributeError):
    """The class asks for a field that the configuration lacks; an AttributeError too, so that hasattr can ask."""


class Configuration(dict[str, Any]):
    """A dictionary whose values are attributes too, as EVAR's classes expect; dictionaries inside it likewise."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        for name, value in (values or {}).items():
            self[name] = Configuration(value) if isinstance(value, dict) else value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self:
            raise MissingFieldError(
                f"evar: the class asks for {name}, which the configuration lacks; add it to ?config="
            )
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def copy(self) -> Configuration:
        """Another of the same content."""
        return Configuration(self)


class EvarEncoder(ModuleEncoder):
    """An EVAR class."""

    def __init__(self, model: Any, configuration: Configuration, where: str) -> None:
        if configuration.get("sample_rate") is None:
            raise InvalidInputError(f"{where}: no sample_rate; give it in the configuration or as ?sample_rate=16000")
        rate_hz = whole_number(configuration["sample_rate"], f"{where}: sample_rate of its configuration")
        super().__init__(model, name=type(model).__name__, rate_hz=rate_hz, embedding_size=1)
        size = configuration.get("feature_d")
        if size is None:
            size = measured_size(model, rate_hz, where)
        self.embedding_size = whole_number(size, f"{where}: feature_d of its configuration")
        # where the weights lie does not matter: they are told apart by their content
        fields = {name: value for name, value in configuration.items() if name != "weight_file"}
        self.configuration = {"evar": json.loads(json.dumps(fields, default=str))}

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] -> [B, D].

        Raises:
            InvalidInputError: it needs statistics and has not been fitted.
        """
        self._ready()
        output: Tensor = self.model(self.on_device(audio))
        return output

    def _ready(self) -> None:
        """Raise unless it can embed; one without statistics always can."""


class FittedEvarEncoder(EvarEncoder):
    """An EVAR class that takes statistics of the task's training audio."""

    fitted = False

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Hand the training audio to ``precompute``, as pairs of audio and labels that nobody reads."""

        def loader() -> Iterator[tuple[Tensor, Tensor]]:
            for audio in batches:
                yield audio, torch.zeros(len(audio), dtype=torch.int64)

        with telling(self.name, "precompute fails"), torch.no_grad():
            self.model.precompute(self.device, loader())
        self.fitted = True

    def _ready(self) -> None:
        if not self.fitted:
            raise InvalidInputError(f"encoder {self.name}: has no statistics yet; call fit with training audio first")


class FramedEvarEncoder(EvarEncoder):
    """An EVAR class that has embeddings of frames."""

    @torch.inference_mode()
    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [B, T, D'] and the middle of each one's share of the clip [B, T] in ms.

        Raises:
            InvalidInputError: ``encode_frames`` does not return [B, D', T], or the encoder has not been fitted.
        """
        self._ready()
        output = self.model.encode_frames(self.on_device(audio))
        if not isinstance(output, Tensor) or output.ndim != 3 or len(output) != len(audio):
            shape = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InvalidInputError(
                f"encoder {self.name}: encode_frames returned {shape} for audio {list(audio.shape)}, "
                f"must be [{len(audio)}, D, T]"
            )
        step_ms = 1_000.0 * audio.shape[1] / self.rate_hz / output.shape[2]
        times_ms = (torch.arange(output.shape[2], device=output.device) + 0.5) * step_ms
        return output.mT, times_ms.expand(len(output), -1)


class FittedFramedEvarEncoder(FramedEvarEncoder, FittedEvarEncoder):
    """An EVAR class that does both."""


KINDS: dict[tuple[bool, bool], type[EvarEncoder]] = {
    (False, False): EvarEncoder,
    (True, False): FittedEvarEncoder,
    (False, True): FramedEvarEncoder,
    (True, True): FittedFramedEvarEncoder,
}
"""By whether the class takes statistics, and whether it has frames."""


def load(target: str, options: Options) -> EvarEncoder:
    """Import the class and make it.

    Raises:
        NotFoundError: there is no such module, class or configuration.
        InvalidInputError: its code raises an exception, or the configuration lacks a field.
    """
    where, _, name = target.rpartition(".")
    if not where:
        raise InvalidInputError(f"evar:{target}: must be written evar:MODULE.CLASS")
    configuration = _configuration(options)
    module = module_of_name(where)
    kind = member(module, name, f"evar:{target}")
    is_class: bool = inspect.isclass(kind)
    if not is_class:
        raise InvalidInputError(f"evar:{target}: is a {type(kind).__name__}, must be a class")
    with import_path(Path.cwd()), telling(f"evar:{target}", "cannot be made"):
        model = kind(configuration)
    made = KINDS[_own(kind, "precompute"), _own(kind, "encode_frames")]
    encoder = made(model, configuration, f"evar:{target}")
    encoder.configuration |= code_sha256(module)
    return encoder


def weights_of(target: str, options: Options) -> list[Path]:
    """The file of weights; nothing where there is none, and the model's tensors are hashed."""
    weights = _configuration(options).get("weight_file")
    return weight_files(str(weights), f"evar:{target}") if weights and _exists(str(weights)) else []


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # longer than a name may be, or in a folder that may not be read
        return False


def _own(kind: type, method: str) -> bool:
    """Whether a class has a method of its own, in place of the one of EVAR's base class."""
    owner = next((parent for parent in kind.__mro__ if method in vars(parent)), None)
    return owner is not None and owner.__name__ != BASE


def _configuration(options: Options) -> Configuration:
    values: dict[str, Any] = {"weight_file": None}
    if options.config is not None:
        values |= _read(Path(options.config))
    if options.weight_file is not None:
        weight_files(options.weight_file, "evar: option weight_file")
        values["weight_file"] = options.weight_file
    if options.sample_rate is not None:
        values["sample_rate"] = options.sample_rate
    return Configuration(values)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; option config must name EVAR's .yaml or a .json")
    values = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(values, dict):
        raise InvalidInputError(f"{path}: holds a {type(values).__name__}, must hold fields and values")
    strange = [name for name in values if not isinstance(name, str)]
    if strange:
        raise InvalidInputError(f"{path}: the field {few(strange[0])} must have a text as its name")
    return values
