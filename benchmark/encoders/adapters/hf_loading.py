"""Models of transformers loaded whole: a tensor that the file lacks never enters an embedding.

transformers fills what a file lacks with random numbers and continues. It reports which tensors these are, but not
whether they matter: a head or the embedding of masked frames does not, a layer does. That is found out by trying: they
are set to NaN, and the model embeds a probe. A finite embedding does not depend on them. They stay NaN, so that using
them later is an error, and never a figure.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.encoders.adapters.snapshot import explain_loading_failure, import_transformers, silence
from bgknown.errors import BgknownError, InvalidInputError
from bgknown.pickles import allow_harmless_names
from bgknown.shown import name_few

ADAPTER = "adapter_config.json"
"""The file that marks a folder of PEFT."""
NEUTRAL = 0.01
"""A weight that makes nothing infinite; weight normalisation would divide by the norm of 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingReport:
    """How the tensors of a file fit the model that its configuration describes."""

    missing: tuple[str, ...]
    """Tensors of the model that the file lacks."""
    reshaped: tuple[str, ...]
    """Tensors that have another shape in the file, each with both shapes."""
    unread: tuple[str, ...]
    """The names of both kinds, for which the model has random values."""
    unknown: tuple[str, ...]
    """Tensors of the file that the model does not have."""


def check_whole_model(folder: Path, target: str, *, kind: str = "hf:") -> None:
    """Check that a folder does not hold an adapter of PEFT, which changes a model that is elsewhere.

    Raises:
        InvalidInputError: it does.
    """
    if (folder / ADAPTER).is_file():
        raise InvalidInputError(
            f"{kind}{target}: holds an adapter ({ADAPTER}), not a whole model; merge it into its base model "
            f"(PEFT: merge_and_unload) and save that with save_pretrained"
        )


def load_with_report(auto: Any, folder: Path, target: str, *, kind: str = "hf:") -> tuple[Any, LoadingReport]:
    """Load a model in single precision, with a report of what its file lacks.

    Args:
        auto: the class of transformers that loads it.
        folder: the folder of the model.
        target: its name as given by the user, for messages.
        kind: the prefix of the target in messages.

    Raises:
        NotFoundError: it is not on the hub.
        InvalidInputError: its files are damaged.
    """
    with silence(import_transformers()), explain_loading_failure(target, kind=kind), allow_harmless_names(torch):
        model, facts = auto.from_pretrained(
            folder, trust_remote_code=False, output_loading_info=True, ignore_mismatched_sizes=True
        )
        model = model.float().eval()
    if facts.get("error_msgs"):
        reason = " ".join(str(facts["error_msgs"][0]).split())
        raise InvalidInputError(f"{kind}{target}: its tensors do not fit {type(model).__name__} ({reason})")
    missing = sorted(facts["missing_keys"])
    shapes = {name: (list(found), list(expected)) for name, found, expected in sorted(facts["mismatched_keys"])}
    return model, LoadingReport(
        missing=tuple(missing),
        reshaped=tuple(f"{name} {found} for {expected}" for name, (found, expected) in shapes.items()),
        unread=(*missing, *shapes),
        unknown=tuple(sorted(facts["unexpected_keys"])),
    )


def check_tensors(model: Any, report: LoadingReport, embed: Callable[[], Tensor], who: str) -> None:
    """Check that an embedding depends only on tensors that were read from the file, and that these are finite.

    Args:
        model: the whole model.
        report: how the file fits it.
        embed: embeds a probe with it.
        who: the model, for messages.

    Raises:
        InvalidInputError: tensors that the embedding needs are missing, of another shape, NaN or infinite.
    """
    unread, lost = _list_unread_tensors(model, report)
    places = {tensor.data_ptr() for tensor in unread}
    _fill(unread, torch.nan)
    if not lost and _is_finite(embed):
        return
    read = [(name, tensor) for name, tensor in _list_tensors(model) if tensor.data_ptr() not in places]
    broken = [name for name, tensor in read if not bool(torch.isfinite(tensor).all())]
    if broken:
        _fill(unread, NEUTRAL)
    if lost or (unread and (not broken or _is_finite(embed))):
        raise InvalidInputError(f"{who}: {_describe_faults(model, report)}")
    if broken:
        raise InvalidInputError(
            f"{who}: {len(broken)} tensors hold NaN or infinite values: {name_few(broken, 3)}; "
            f"copy the model again, or use an earlier checkpoint"
        )
    embed()  # its own exception says what is wrong
    raise InvalidInputError(f"{who}: its tensors are finite, but it gives NaN or infinite values for a second of noise")


def _list_tensors(model: Any) -> list[tuple[str, Tensor]]:
    every = itertools.chain(model.named_parameters(), model.named_buffers())
    return [(name, tensor) for name, tensor in every if tensor.is_floating_point() and not tensor.is_meta]


def _list_unread_tensors(model: Any, report: LoadingReport) -> tuple[list[Tensor], list[str]]:
    """The tensors that were not read, and the names of those that are empty and cannot be tried.

    Counters and positions (whole numbers) are computed by the model itself, and so is a tensor that shares its memory
    with one that was read.
    """
    every = dict(itertools.chain(model.named_parameters(remove_duplicate=False), model.named_buffers()))
    base = f"{getattr(model, 'base_model_prefix', '')}."
    names = {name if name in every else name.removeprefix(base) for name in report.unread}
    read = {tensor.data_ptr() for name, tensor in every.items() if name not in names and not tensor.is_meta}
    lost = [name for name in names if name not in every]
    lost += [name for name, tensor in every.items() if tensor.is_meta]
    unread = [every[name] for name in names if name in every and not every[name].is_meta]
    return [tensor for tensor in unread if tensor.is_floating_point() and tensor.data_ptr() not in read], sorted(lost)


@torch.no_grad()
def _fill(tensors: Iterable[Tensor], value: float) -> None:
    for tensor in tensors:
        tensor.fill_(value)


def _is_finite(embed: Callable[[], Tensor]) -> bool:
    """Whether a probe's embedding is finite; a model may also fail on a NaN in its weights."""
    try:
        return bool(torch.isfinite(embed()).all())
    except BgknownError:
        return False
    except (ArithmeticError, LookupError, RuntimeError, ValueError):
        return False


def _describe_faults(model: Any, report: LoadingReport) -> str:
    """Which tensors the file lacks, and what it has instead."""
    total = len(model.state_dict())
    faults = []
    if report.missing:
        faults.append(f"its file lacks {len(report.missing)} of the {total} tensors of {type(model).__name__}")
        faults[-1] += f", and its embedding depends on them: {name_few(report.missing, 3)}"
    if report.reshaped:
        faults.append(f"{len(report.reshaped)} tensors have shapes other than those in its config.json")
        faults[-1] += f": {name_few(report.reshaped, 3)}"
    if not faults:
        faults.append(f"tensors of {type(model).__name__} were left without values")
    return f"{'; '.join(faults)}; {_advise(report)}"


def _advise(report: LoadingReport) -> str:
    if any("lora_" in name or ".base_layer." in name for name in report.unknown):
        return "the file holds an adapter: merge it into the model (PEFT: merge_and_unload) and save the whole"
    missing = set(report.missing)
    before: Counter[str] = Counter()
    for name in report.unknown:
        parts = name.split(".")
        for place in range(1, len(parts)):
            if ".".join(parts[place:]) in missing:
                before[".".join(parts[:place]) + "."] += 1
                break
    if before:
        ((prefix, count),) = before.most_common(1)
        return f"the file has {count} of them below the prefix {prefix!r}: save them without it"
    if report.unknown:
        return f"the file has others instead: {name_few(report.unknown, 3)}; is config.json that of another model?"
    return "copy the model again, or save it whole with save_pretrained"
