"""From a name to an encoder: built-in names, files, and kinds of third-party encoders.

Written ``NAME``, ``FILE`` or ``KIND:TARGET``, with options after a ``?``: ``hf:facebook/wav2vec2-base?layer=6``.
Nothing heavy is imported until an encoder is loaded. A kind is a module with

- ``Options``, a frozen dataclass of what may follow the ``?``;
- ``load(target, options)``, which gives an ``Encoder``;
- ``weights_of(target, options)``, optional: the files whose bytes are the weights;
- ``recognises(path)`` and ``LOOKS_FOR``, optional: whether a checkpoint file is one of its own.

Packages add kinds through the entry-point group ``benchmark.encoders``, whose entries name such modules.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from contextlib import nullcontext
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from benchmark.encoders.kinds import BUILT_IN, CHECKPOINTS, IN_FILES, Kind
from benchmark.encoders.options import list_options, parse_options
from bgknown.documents import shorten_value
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from bgknown.jobs.files import FileState, hash_bytes, read_state
from bgknown.jobs.surroundings import prepare_libraries
from bgknown.nearest import nearest
from bgknown.settings import read_options
from bgknown.userpath import expand, user_path

if TYPE_CHECKING:
    from benchmark.encoders.contract import Encoder, LoadedEncoder

GROUP = "benchmark.encoders"
"""The entry-point group."""
_LONGEST_OPTIONS = 40  # characters of a name


def list_kinds() -> list[Kind]:
    """All kinds, those of installed packages first, with their options.

    Raises:
        InvalidInputError: an installed package is broken, or two offer the same name.
    """
    found = []
    for name, kind in {**_list_plug_ins(), **BUILT_IN}.items():
        module = _import_kind(kind)
        about = kind.about or (module.__doc__ or "").strip().splitlines()[0]
        found.append(
            Kind(
                name=name,
                syntax=_describe_plug_in(name, module) if kind.syntax == "" else kind.syntax,
                about=about,
                module=kind.module,
                runs_code=kind.runs_code,
                options=tuple(list_options(module.Options)),
            )
        )
    return found


def load_encoder(
    spec: str | Path, *, trust_code: bool = False, device: str = "cpu", name: str | None = None
) -> LoadedEncoder:
    """Load an encoder by its name, file or kind.

    Args:
        spec: the name, file or kind with a target.
        trust_code: whether it may run arbitrary code.
        device: the device to run on; an encoder that cannot be moved stays on the CPU.
        name: its name in results.

    Raises:
        NotFoundError: the name, file or package does not exist; suggests the closest.
        InvalidInputError: a file cannot be recognised or is damaged, an option is wrong, or the encoder breaks its
            contract.
    """
    from benchmark.encoders.contract import LoadedEncoder  # noqa: PLC0415
    from benchmark.encoders.loading import (  # noqa: PLC0415
        check_name,
        move,
        read_trained_on,
        read_training_settings,
        rename,
    )

    if not isinstance(spec, str | Path):
        raise InvalidInputError(f"{shorten_value(spec)} is not the name of an encoder; give text or a pathlib.Path")
    spec = str(spec)
    prepare_libraries()  # models and their feature extractors import librosa, which imports numba
    head, options_text = _split(spec)
    kind, target = _find_kind(head, spec)
    if kind.runs_code and not trust_code:
        raise InvalidInputError(f"{spec}: runs arbitrary code ({kind.about}); pass --trust-code if you trust it")
    module = _import_kind(kind)
    given = parse_options(options_text, spec)
    options = read_options(module.Options, {key: expand(value) for key, value in given.items()}, spec)
    encoder, digest = _load_and_hash(module, target, options, kind, spec)
    if name is not None or given:
        rename(encoder, name or name_with_options(encoder.name, given), spec)
    check_name(encoder.name, spec)
    place = move(encoder, device, spec)
    return LoadedEncoder(
        encoder=encoder,
        spec=spec,
        kind=kind.name,
        weights_sha256=digest,
        configuration={**dict(getattr(encoder, "configuration", {})), "options": given},
        device=place,
        trained_on=read_trained_on(encoder, spec),
        training_settings=read_training_settings(encoder, spec),
    )


def _load_and_hash(module: Any, target: str, options: Any, kind: Kind, spec: str) -> tuple[Encoder, str]:
    """An encoder, and the SHA-256 of its weights."""
    from benchmark.encoders.adapters.foreign import explain_failure  # noqa: PLC0415
    from benchmark.encoders.fingerprint import hash_weights  # noqa: PLC0415
    from benchmark.encoders.loading import check_contract  # noqa: PLC0415

    while True:
        before = _read_states(module, target, options)
        with explain_failure(spec, "cannot be loaded") if kind.runs_code else nullcontext():
            encoder = check_contract(module.load(target, options), spec)
        files = module.weights_of(target, options) if hasattr(module, "weights_of") else []
        digest = hash_weights(encoder, files)
        if before is None or before == _read_states(module, target, options):
            return encoder, digest
        # training replaced the checkpoint meanwhile, and the hash may be of other weights


def _read_states(module: Any, target: str, options: Any) -> list[tuple[str, FileState]] | None:
    """State of an encoder's files, which shows whether they were replaced; None if there are none."""
    if not hasattr(module, "weights_of"):
        return None
    try:
        return [(str(file), read_state(file)) for file in module.weights_of(target, options)]
    except (OSError, BgknownError):  # loading says what is wrong
        return None


def _split(spec: str) -> tuple[str, str]:
    """The part before the options, and the options; a path that exists as a whole has none."""
    if not spec.strip():
        raise InvalidInputError("the encoder's name is empty; `benchmark encoders` lists what there is")
    if _exists(spec):
        return spec, ""
    head, _, options = spec.partition("?")
    return head, options


def name_with_options(name: str, options: Mapping[str, str]) -> str:
    """An encoder's name with the options that it was given, so that two configurations are two encoders in results.

    Long options are replaced by a hash.
    """
    text = "&".join(f"{key}={value}" for key, value in sorted(options.items()))
    short = text if len(text) <= _LONGEST_OPTIONS and text.isprintable() else hash_bytes(text.encode())[:8]
    return f"{name}?{short}"


def _exists(path: str) -> bool:
    try:
        return user_path(path).exists()
    except (OSError, ValueError):  # the name is too long
        return False


def _find_kind(head: str, spec: str) -> tuple[Kind, str]:
    """The kind that a name refers to, and its target."""
    every = {**_list_plug_ins(), **BUILT_IN}
    head = expand(head)
    before, colon, after = head.partition(":")
    if before in every:
        after = expand(after)
        return every[before], _check_named_file(before, after, spec) if before in IN_FILES else after
    path = Path(head)
    if path.suffix == ".pt2":
        return BUILT_IN["exported"], _check_file(path, spec)
    if path.suffix == ".onnx":
        return BUILT_IN["onnx"], _check_file(path, spec)
    if path.suffix in CHECKPOINTS:
        return _find_kind_by_content(Path(_check_file(path, spec))), head
    close = nearest(before, [*every, *_list_siblings(path)])
    named = re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", head) is not None
    if colon and (before.endswith(".py") or (named and (not close or _importable(before)))):
        return BUILT_IN["python"], head
    if path.is_file():
        raise InvalidInputError(
            f"{head}: a file of this type is not an encoder; use {', '.join((*CHECKPOINTS, '.pt2', '.onnx'))} "
            f"or FILE.py:CLASS"
        )
    hint = f"did you mean {close}? " if close else ""
    raise NotFoundError(f"no encoder {head!r}; {hint}names and kinds are: {', '.join(every)}")


def _importable(module: str) -> bool:
    """Whether a package or module with its first name exists; looking inside a package would run it."""
    from benchmark.encoders.adapters.foreign import import_path  # noqa: PLC0415

    with import_path(Path.cwd()):
        try:
            return importlib.util.find_spec(module.partition(".")[0]) is not None
        except (ImportError, ValueError):
            return False


def _check_named_file(kind: str, target: str, spec: str) -> str:
    if not target:
        raise InvalidInputError(f"{spec}: names no file; write {kind}:FILE")
    return _check_file(Path(target), spec)


def _check_file(path: Path, spec: str) -> str:
    if path.is_dir():
        raise InvalidInputError(f"{path}: is a folder; it must be a file (a transformers folder is hf:{path})")
    if not path.is_file():
        close = nearest(path.name, _list_siblings(path))
        hint = f"; did you mean {path.with_name(close)}?" if close else ""
        raise NotFoundError(f"{spec}: no such file{hint}")
    if path.stat().st_size == 0:
        raise InvalidInputError(f"{path}: the file is empty (0 bytes)")
    return str(path)


def _list_siblings(path: Path) -> list[str]:
    return [file.name for file in path.parent.iterdir() if file.is_file()] if path.parent.is_dir() else []


def _find_kind_by_content(path: Path) -> Kind:
    """The kind of a checkpoint: a program of TorchScript, or weights that a plug-in recognises."""
    from benchmark.encoders.adapters.checkpoint import describe_entries, is_exported, is_torchscript  # noqa: PLC0415

    if is_torchscript(path):
        return BUILT_IN["torchscript"]
    if is_exported(path):
        return BUILT_IN["exported"]
    looked_for = ["a TorchScript program", "a program of torch.export"]
    for kind in _list_plug_ins().values():
        module = _import_kind(kind)
        if hasattr(module, "recognises"):
            if module.recognises(path):
                return kind
            looked_for.insert(0, f"{module.LOOKS_FOR} ({kind.name})")
    raise InvalidInputError(
        f"{path}: not recognised as an encoder; looked for: {'; '.join(looked_for)}; found: {describe_entries(path)}"
    )


def _list_plug_ins() -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if entry.name in BUILT_IN or (entry.name in found and found[entry.name].module != entry.value):
            other = found[entry.name].module if entry.name in found else "this software"
            raise InvalidInputError(
                f"two packages offer an encoder {entry.name!r}: {other} and {entry.value}; uninstall one of them"
            )
        found[entry.name] = Kind(name=entry.name, syntax="", about="", module=entry.value)
    return found


def _describe_plug_in(name: str, module: ModuleType) -> str:
    return f"{name}:FILE, or FILE alone" if hasattr(module, "recognises") else name


def _import_kind(kind: Kind) -> Any:
    try:
        return importlib.import_module(kind.module)
    except BgknownError:
        raise
    except ImportError as error:
        raise InvalidInputError(f"encoder kind {kind.name}: cannot be imported ({error})") from error
