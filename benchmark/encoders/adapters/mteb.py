"""The kind ``mteb``: an audio model of mteb, by its name there or as an object of its interface.

- ``mteb:laion/clap-htsat-unfused`` is a model of mteb's registry. It loads its weights itself: from the hub, or from
  the hub's cache. ``mteb:laion/clap-htsat-unfused@FOLDER`` takes them from a folder that ``save_pretrained`` wrote, and
  the hub is not contacted.
- ``mteb:FILE.py:OBJECT`` and ``mteb:PACKAGE.MODULE:OBJECT`` name an object with mteb's ``encode``, an mteb
  ``ModelMeta``, or a class or function that returns one of the two when called without arguments.

The embedding is what the model's ``encode`` returns for audio, as on mteb's own tasks; a model that cuts long clips
there cuts them here too. The sampling rate is what the model asks of mteb's collator, else its own attribute, else the
option ``rate_hz``.

Source: N. Muennighoff et al., "MTEB: Massive Text Embedding Benchmark", EACL 2023; K. Enevoldsen et al., "MMTEB",
ICLR 2025. https://github.com/embeddings-benchmark/mteb
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from benchmark.encoders.adapters.foreign import (
    ModuleEncoder,
    check_whole_number,
    explain_failure,
    get_member,
    hash_code,
    import_file,
    import_name,
    import_path,
    list_weight_files,
)
from benchmark.encoders.adapters.mteb_inputs import (
    InputLoader,
    describe_inputs,
    import_mteb,
    load_audio,
    load_texts,
)
from benchmark.encoders.adapters.program import RATE_NAMES
from benchmark.encoders.fingerprint import hash_weights
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.nearest import nearest
from bgknown.seeding import make_generator
from bgknown.userpath import absolute, expand

FIRST_RATE_HZ = 16_000
"""The rate of the noise that a model is tried on until its own rate is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a model does not say itself."""

    rate_hz: int | None = None
    """Sampling rate of its input in Hz, for a model that does not say it."""

    def __post_init__(self) -> None:
        if self.rate_hz is not None:
            check_whole_number(self.rate_hz, "option rate_hz")


class MtebEncoder(ModuleEncoder):
    """A model of mteb that takes audio."""

    def __init__(self, model: Any, options: Options, *, name: str, where: str) -> None:
        super().__init__(model, name=name, rate_hz=FIRST_RATE_HZ, embedding_size=1)
        self.where, self.about = where, describe_inputs()
        for module in self._modules():
            module.eval()
        said_hz = options.rate_hz or _read_rate(model)
        asked_hz = self._try(said_hz or FIRST_RATE_HZ)
        if asked_hz is None and said_hz is None:
            raise InvalidInputError(
                f"{where}: the model does not say its sampling rate; give it, as in {where}?rate_hz=48000"
            )
        if options.rate_hz and asked_hz not in {None, options.rate_hz}:
            raise InvalidInputError(f"{where}: option rate_hz is {options.rate_hz}; the model asks for {asked_hz}")
        if asked_hz not in {None, self.rate_hz}:
            self._try(asked_hz)

    def to(self, device: str | torch.device) -> Self:
        """Move the torch modules that the model holds."""
        modules = self._modules()
        for module in modules:
            module.to(device)
        if modules and isinstance(getattr(self.model, "device", None), str | torch.device):
            self.model.device = str(device)
        return self

    @torch.inference_mode()
    def embed(self, audio: Tensor) -> Tensor:
        """What the model's ``encode`` gives for clips: [B, N] -> [B, D]."""
        return self._encode(load_audio(audio, self.rate_hz), len(audio))

    def _encode(self, inputs: InputLoader, count: int) -> Tensor:
        output = self.model.encode(
            inputs,
            task_metadata=self.about,
            hf_split="test",
            hf_subset="default",
            prompt_type=None,
            batch_size=count,
            show_progress_bar=False,
        )
        rows = torch.as_tensor(np.asarray(output) if isinstance(output, list | tuple) else output)
        if rows.ndim != 2 or len(rows) != count:
            raise InvalidInputError(
                f"{self.where}: encode returned {list(rows.shape)} for {count} inputs; it must be [{count}, D]"
            )
        return rows.to(torch.float32)

    def _modules(self) -> list[torch.nn.Module]:
        held = [self.model, *vars(self.model).values()] if hasattr(self.model, "__dict__") else [self.model]
        return [value for value in held if isinstance(value, torch.nn.Module)]

    def _try(self, rate_hz: int) -> int | None:
        """Embed a second of noise at a rate, which becomes the encoder's; returns the rate that the model asks for."""
        noise = (0.1 * make_generator(0, "probe").standard_normal((1, rate_hz))).astype(np.float32)
        inputs = load_audio(torch.from_numpy(noise), rate_hz)
        with explain_failure(self.where, "its encode fails on a second of noise"), torch.inference_mode():
            self.embedding_size = int(self._encode(inputs, 1).shape[1])
        self.rate_hz = rate_hz
        return inputs.asked_rate_hz


class MtebTextEncoder(MtebEncoder):
    """A model of mteb that takes audio and texts."""

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """What the model's ``encode`` gives for texts: [B, D], in the space of its audio."""
        return self._encode(load_texts(texts), len(texts))


def load(target: str, options: Options) -> MtebEncoder:
    """Load a model of mteb's registry, or an object with mteb's interface.

    Raises:
        NotFoundError: mteb is not installed, or there is no such model, folder, file or object.
        InvalidInputError: the model takes no audio, says no sampling rate, or its code raises an exception.
    """
    import_mteb()
    where = f"mteb:{target}"
    path, name, folder = _parts(target)
    model, facts = _load_object(path, name, where) if path else _load_registered(name, folder, where)
    if not callable(getattr(model, "encode", None)):
        raise InvalidInputError(f"{where}: gives a {type(model).__name__} without encode, so it is not a model of mteb")
    meta = getattr(model, "mteb_model_meta", None)
    takes_texts = {"audio", "text"} <= set(getattr(meta, "modalities", ()))
    kind = MtebTextEncoder if takes_texts else MtebEncoder
    known = getattr(meta, "name", None) or name
    encoder = kind(model, options, name=str(known).rpartition("/")[2], where=where)
    encoder.configuration = {"mteb": import_mteb().__version__, **facts}
    if path:
        encoder.configuration["tensors_sha256"] = hash_weights(encoder, [])
    return encoder


def weights_of(target: str, options: Options) -> list[Path]:
    """The given folder's files, or the given Python file; without either, the tensors are hashed."""
    path, _, folder = _parts(target)
    if folder:
        return list_weight_files(folder, f"mteb:{target}")
    return [Path(path)] if path.endswith(".py") else []


def _parts(target: str) -> tuple[str, str, str]:
    """The file or module of an object, or nothing; the object's or the model's name; the folder of weights."""
    if ".py:" in target or (":" in target and "/" not in target):
        path, _, name = target.rpartition(":")
        return path, name, ""
    name, _, folder = target.partition("@")
    if not name or Path(name).is_dir():
        raise InvalidInputError(
            f"mteb:{target}: names no model; write mteb:NAME, mteb:NAME@FOLDER, mteb:FILE.py:OBJECT or "
            f"mteb:PACKAGE.MODULE:OBJECT"
        )
    return "", name, expand(folder)


def _load_registered(name: str, folder: str, where: str) -> tuple[Any, dict[str, str]]:
    from mteb.models.model_implementations import MODEL_REGISTRY  # noqa: PLC0415

    audio = {known: meta for known, meta in MODEL_REGISTRY.items() if "audio" in meta.modalities}
    if name not in audio:
        if name in MODEL_REGISTRY:
            given = ", ".join(MODEL_REGISTRY[name].modalities)
            raise InvalidInputError(f"{where}: is not an audio model; mteb says that it takes {given}")
        close = nearest(name, list(audio))
        raise NotFoundError(
            f"{where}: mteb {import_mteb().__version__} has no model of that name"
            f"{f'; did you mean {close}?' if close else f'; it has {len(audio)} audio models'}"
        )
    list_weight_files(folder, where)
    return _run_loader(audio[name], str(absolute(Path(folder))) if folder else name, where)


def _run_loader(meta: Any, place: str, where: str) -> tuple[Any, dict[str, str]]:
    """Call a model's own loader, as mteb's ``load_model`` does, which besides insists on torchaudio and torchcodec."""
    if meta.loader is None:
        raise InvalidInputError(f"{where}: mteb only has this model's metadata, and no program for it")
    extras = ",".join(sorted({*(meta.extra_requirements_groups or ()), "audio"}))
    hint = f" (its packages: pip install 'mteb[{extras}]'; without a network, give the folder: mteb:NAME@FOLDER)"
    with explain_failure(where, f"cannot be loaded{hint}"):
        options = {**meta.loader_kwargs, **(meta.experiment_kwargs or {}), "device": "cpu"}
        model = meta.loader(place, revision=meta.revision, **options)
        model.mteb_model_meta = meta
    return model, {"model": str(meta.name), "revision": str(meta.revision)}


def _load_object(path: str, name: str, where: str) -> tuple[Any, dict[str, str]]:
    from mteb.models import ModelMeta  # noqa: PLC0415

    module = import_file(Path(path)) if path.endswith(".py") else import_name(path)
    made: Any = module
    for part in name.split("."):
        made = get_member(made, part, path)
    folder = Path(path).parent if path.endswith(".py") else Path.cwd()
    if isinstance(made, type) or (callable(made) and not hasattr(made, "encode")):
        with import_path(folder), explain_failure(where, "cannot be constructed"):
            made = made()
    if isinstance(made, ModelMeta):
        with import_path(folder):
            made, _ = _run_loader(made, str(made.name), where)
    return made, hash_code(module)


def _read_rate(model: Any) -> int | None:
    """The sampling rate that a model, or its feature extractor, has as an attribute."""
    processor = getattr(model, "processor", None)
    places = (model, getattr(model, "feature_extractor", None), getattr(processor, "feature_extractor", None))
    names = ("sampling_rate", *RATE_NAMES)
    found = (getattr(place, name, None) for place in places for name in names)
    return next((rate for rate in found if isinstance(rate, int) and not isinstance(rate, bool) and rate > 0), None)
