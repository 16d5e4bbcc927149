"""The kind ``evar``: a class of EVAR's interface, ``evar:module.Class?config=file.yaml``.

Such a class is constructed with a configuration (fields like weight_file, feature_d, sample_rate, n_fft), takes
statistics of the task's training audio in ``precompute(device, data_loader)``, and turns audio [B, N] into embeddings
[B, D] when it is called; ``encode_frames`` gives [B, D, T].

EVAR adds facts of the task to the configuration (its ``make_cfg``). Here they are

- ``unit_samples``, the length of the task's clips: that of the audio at hand, unless the configuration or an option
  sets it. A class that reads it on construction, as AR_AST does, is constructed again for audio of another length;
- ``task_name``: an option, empty by default;
- ``return_filename``: false. A class that wants file names in place of audio is refused;
- ``mean`` and ``std``: none by default, as in EVAR, so that the class measures them.

Source: D. Niizumi et al., EVAR, https://github.com/nttcslab/eval-audio-repr (lineareval.py, evar/ar_base.py).
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmark.encoders.adapters.evar_encoder import EvarEncoder, choose_encoder_class
from benchmark.encoders.adapters.foreign import (
    check_whole_number,
    explain_failure,
    get_member,
    hash_code,
    hash_folder_code,
    import_name,
    import_path,
    list_weight_files,
)
from benchmark.encoders.contract import FittedEncoder
from bgknown.documents import read_json, read_yaml, shorten_value
from bgknown.errors import InvalidInputError, NotFoundError

TASK_FIELDS: Mapping[str, Any] = {"task_name": "", "return_filename": False, "mean": None, "std": None}
"""What EVAR's ``make_cfg`` adds to a configuration that lacks it, next to ``unit_samples``."""
RATE = "evar:{}: sample_rate of its configuration"
MAX_UNIT_S = 3600.0
"""Longest clip that may be set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the class is constructed with."""

    config: str | None = None
    """EVAR's configuration, a .yaml or .json file."""
    weight_file: str | None = None
    """File of weights, in place of the configuration's."""
    sample_rate: int | None = None
    """Sampling rate in Hz, in place of the configuration's."""
    unit_s: float | None = None
    """Length of the task's clips in s, EVAR's unit_samples at the sampling rate; by default that of the audio."""
    task_name: str | None = None
    """EVAR's task_name, for a class that reads it."""
    batch_size: int | None = None
    """Clips in a batch of training audio for precompute, in place of the configuration's batch_size."""


class MissingFieldError(InvalidInputError, AttributeError):
    """The class asks for a field that the configuration lacks; an AttributeError too, so that hasattr can ask."""


class Configuration(dict[str, Any]):
    """A dictionary whose values are attributes too, as EVAR's classes expect; nested dictionaries work the same way.

    It records which fields are read; its copies share the record.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.__dict__["asked"] = values.__dict__["asked"] if isinstance(values, Configuration) else set()
        for name, value in (values or {}).items():
            self[name] = Configuration(value) if isinstance(value, dict) else value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self:
            raise MissingFieldError(
                f"evar: the class asks for {name}, which the configuration lacks; add it to the file of ?config="
            )
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __getitem__(self, name: str) -> Any:
        self.__dict__["asked"].add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field, or a default."""
        self.__dict__["asked"].add(name)
        return super().get(name, default)

    def copy(self) -> Configuration:
        """A copy with the same content."""
        return Configuration(self)


def load(target: str, options: Options) -> EvarEncoder:
    """Import the class and construct it.

    Raises:
        NotFoundError: the module, class or configuration does not exist.
        InvalidInputError: its code raises an exception, or the configuration lacks a field.
    """
    where, _, name = target.rpartition(".")
    if not where:
        raise InvalidInputError(f"evar:{target}: write it as evar:MODULE.CLASS")
    given = _make_configuration(options)
    module = import_name(where)
    kind = get_member(module, name, f"evar:{target}")
    is_class: bool = inspect.isclass(kind)
    if not is_class:
        raise InvalidInputError(f"evar:{target}: is a {type(kind).__name__}; it must be a class")
    rate_hz = given.get("sample_rate")  # a class without a rate is refused later, after other missing fields are named
    make = partial(_make, kind, given, f"evar:{target}")
    model, configuration = make(None if rate_hz is None else check_whole_number(rate_hz, RATE.format(target)))
    for_one_length = "unit_samples" in configuration.__dict__["asked"] or _mentions(kind, "unit_samples")
    encoder = choose_encoder_class(kind)(
        model,
        configuration,
        f"evar:{target}",
        remake=(lambda samples: make(samples)[0]) if for_one_length else None,
        follows="unit_samples" not in given,
    )
    # the path of the weights does not matter, only their content; nor do facts of the task, unless they are set
    unset = {"weight_file", *({*TASK_FIELDS, "unit_samples"} - set(given))}
    fields = {name: value for name, value in configuration.items() if name not in unset}
    encoder.configuration = {"evar": json.loads(json.dumps(fields, default=str)), **hash_code(module)}
    if isinstance(encoder, FittedEncoder):  # its statistics come from code of other files, too
        encoder.configuration |= hash_folder_code(module)
    return encoder


def weights_of(target: str, options: Options) -> list[Path]:
    """The file of weights; empty if there is none, and then the model's tensors are hashed."""
    weights = _make_configuration(options).get("weight_file")
    return list_weight_files(str(weights), f"evar:{target}") if weights and _exists(str(weights)) else []


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # the name is too long, or its folder is not readable
        return False


def _make(kind: type, given: Configuration, where: str, samples: int | None) -> tuple[Any, Configuration]:
    """Construct the object for clips of N samples, unless the configuration fixes N; returns its configuration too.

    Random weights are the same each time, so the model is the same for every length.
    """
    known = {} if samples is None else {"unit_samples": samples}
    configuration = Configuration({**TASK_FIELDS, **known, **given})
    with import_path(Path.cwd()), explain_failure(where, "cannot be constructed"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with redirect_stdout(sys.stderr):  # standard output is for results
            return kind(configuration), configuration


def _mentions(kind: type, field: str) -> bool:
    """Whether the code of a class, or of one that it is derived from, mentions a field."""
    for parent in kind.__mro__:
        if parent.__module__.partition(".")[0] in ("torch", "builtins"):  # large, and cannot mention it
            continue
        try:
            if field in inspect.getsource(parent):
                return True
        except (OSError, TypeError):  # defined without a file
            continue
    return False


def _make_configuration(options: Options) -> Configuration:
    values: dict[str, Any] = {"weight_file": None}
    if options.config is not None:
        values |= _read_fields(Path(options.config))
    if options.weight_file is not None:
        list_weight_files(options.weight_file, "evar: option weight_file")
        values["weight_file"] = options.weight_file
    if options.sample_rate is not None:
        values["sample_rate"] = options.sample_rate
    for name, value in (("task_name", options.task_name), ("batch_size", options.batch_size)):
        if value is not None:
            values[name] = value
    if options.unit_s is not None:
        values["unit_samples"] = _count_unit_samples(options.unit_s, values.get("sample_rate"))
    return Configuration(values)


def _count_unit_samples(unit_s: float, rate_hz: Any) -> int:
    """N of the task's clips, rounded down as EVAR does."""
    if rate_hz is None:
        raise InvalidInputError("evar: option unit_s needs a sample_rate, in the configuration or as an option")
    number = check_whole_number(rate_hz, "evar: sample_rate of the configuration")
    if not 0 < unit_s < MAX_UNIT_S or int(unit_s * number) < 1:
        raise InvalidInputError(f"evar: option unit_s is {unit_s}; it must be a length between 0 and {MAX_UNIT_S} s")
    return int(unit_s * number)


def _read_fields(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; option config must name a .yaml file of EVAR or a .json file")
    values = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(values, dict):
        raise InvalidInputError(f"{path}: holds a {type(values).__name__}; it must hold fields and values")
    strange = [name for name in values if not isinstance(name, str)]
    if strange:
        raise InvalidInputError(f"{path}: the field {shorten_value(strange[0])} must have a text as its name")
    return values
