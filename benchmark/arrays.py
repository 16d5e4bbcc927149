"""Encoders, probes and retrieval on arrays of your own, without files, cache or results.

Arrays are numpy's or torch's; what goes in as a tensor comes out as one. Shape letters: B clips, N samples,
D embedding size, Q queries, G gallery items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.embedding.precision import compute_in
from benchmark.encoders.contract import FittedEncoder, LoadedEncoder, check_output
from benchmark.encoders.registry import load_encoder
from benchmark.evaluation.gradient import hold_out, make_settings
from benchmark.probe import ProbeProblem, ProbeResult, ProbeSettings, train_probes
from benchmark.probe.folds import deal_folds
from benchmark.probe.linear import LinearProblem, Variant, fit_linear_probes
from benchmark.protocol import Protocol, open_protocol
from benchmark.ranking import RECALLS, compute_ranks
from bgknown.audio.files import resample
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError

Array = NDArray[Any] | Tensor
LR = 1e-3
"""Learning rate of a probe where the protocol leaves it to the task."""


@overload
def embed_audio(
    encoder: LoadedEncoder | str | Path,
    audio: NDArray[Any],
    *,
    rate_hz: int,
    fit_on: Array | None = None,
    batch_size: int = 32,
) -> NDArray[np.float32]: ...


@overload
def embed_audio(
    encoder: LoadedEncoder | str | Path,
    audio: Tensor,
    *,
    rate_hz: int,
    fit_on: Array | None = None,
    batch_size: int = 32,
) -> Tensor: ...


def embed_audio(
    encoder: LoadedEncoder | str | Path,
    audio: Array,
    *,
    rate_hz: int,
    fit_on: Array | None = None,
    batch_size: int = 32,
) -> NDArray[np.float32] | Tensor:
    """Embed one clip, or several of the same length.

    Args:
        encoder: what ``load_encoder`` returned, or the name or file of an encoder that is not a program.
        audio: [N] or [B, N] floating point, mono, full scale -1..1.
        rate_hz: sampling rate of the audio, which is resampled to the encoder's (soxr, HQ).
        fit_on: [N] or [B, N] training audio, for encoders that take statistics from it before they can embed.
        batch_size: clips that are embedded at a time.

    Returns:
        [D] or [B, D] float32: a tensor on the CPU if ``audio`` is a tensor, else a numpy array.

    Raises:
        NotFoundError: there is no such encoder.
        InvalidInputError: the audio has another shape or type or contains NaN, the encoder needs ``fit_on``, or it
            breaks its contract.
    """
    loaded = encoder if isinstance(encoder, LoadedEncoder) else load_encoder(encoder)
    if batch_size < 1:
        raise InvalidInputError(f"batch_size is {batch_size}; it must be at least 1")
    clips = _read_clips("audio", audio, rate_hz, loaded)
    if isinstance(loaded.encoder, FittedEncoder):
        if fit_on is None:
            raise InvalidInputError(f"encoder {loaded.name} takes statistics from training audio; give it as fit_on")
        loaded.encoder.fit(torch.split(_read_clips("fit_on", fit_on, rate_hz, loaded), batch_size))
    with torch.inference_mode(), compute_in("float32", loaded.device):
        parts = [
            check_output(loaded.encoder, loaded.encoder.embed(batch), len(batch))
            for batch in torch.split(clips, batch_size)
        ]
    rows = torch.cat(parts)
    rows = rows[0] if audio.ndim == 1 else rows
    if isinstance(audio, Tensor):
        return rows.clone()  # outside of inference mode, so that it can be trained on
    embeddings: NDArray[np.float32] = rows.numpy()
    return embeddings


def _read_clips(name: str, audio: Array, rate_hz: int, loaded: LoadedEncoder) -> Tensor:
    """Audio as [B, N] float32 at the encoder's rate, on its device."""
    values = _read_array(name, audio)
    if values.dtype.kind != "f" or values.ndim not in (1, 2) or values.size == 0:
        raise InvalidInputError(
            f"{name} is {values.dtype} of shape {list(values.shape)}; it must be floating point of shape [samples] or "
            f"[clips, samples], full scale -1..1"
        )
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int) or rate_hz < 1:
        raise InvalidInputError(f"rate_hz is {shorten_value(rate_hz)}; it must be a whole number above 0")
    clips = np.atleast_2d(values.astype(np.float32))
    if not np.isfinite(clips).all():
        raise InvalidInputError(f"{name} contains NaN or infinite samples")
    at_rate = np.stack([resample(clip, rate_hz, loaded.encoder.rate_hz) for clip in clips])
    if at_rate.shape[1] == 0:
        raise InvalidInputError(f"{name} is too short: it has no sample left at {loaded.encoder.rate_hz} Hz")
    return torch.from_numpy(at_rate).to(loaded.device)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeOutcome:
    """What probes of all seeds reached on the test rows; of ``linear``, which has no seeds, there is one."""

    accuracy: float
    """Mean accuracy over seeds, 0..1."""
    by_seed: NDArray[np.float64]
    """[seeds] accuracy of each seed's probe."""
    predictions: NDArray[Any]
    """[seeds, test rows] predicted labels."""


def probe_embeddings(
    train_embeddings: Array,
    train_labels: Sequence[Any] | Array,
    test_embeddings: Array,
    test_labels: Sequence[Any] | Array,
    *,
    protocol: str | Path | Protocol = "linear",
    groups: Sequence[Any] | None = None,
    device: str = "cpu",
) -> ProbeOutcome:
    """Train linear probes on some embeddings and test them on others, as ``benchmark run`` does.

    Args:
        train_embeddings: [n, D]; a share of these rows decides on the strength of the penalty, or when to stop.
        train_labels: [n] class names or numbers.
        test_embeddings: [m, D].
        test_labels: [m] classes, each of which is among the training labels.
        protocol: a protocol's name, a TOML file of one, or the protocol.
        groups: [n] what each training row comes from (recording, speaker); folds of ``linear`` never split a group.
        device: where to train.

    Raises:
        NotFoundError: there is no such protocol.
        InvalidInputError: shapes do not fit, values are not finite, or a test label was not trained.
    """
    chosen = protocol if isinstance(protocol, Protocol) else open_protocol(str(protocol))
    train, test = _read_rows("train_embeddings", train_embeddings), _read_rows("test_embeddings", test_embeddings)
    if train.shape[1] != test.shape[1]:
        raise InvalidInputError(
            f"train_embeddings have {train.shape[1]} values and test_embeddings {test.shape[1]}; they must be equal"
        )
    known, labels = np.unique(_read_labels("train_labels", train_labels, len(train)), return_inverse=True)
    tested = _read_labels("test_labels", test_labels, len(test))
    unknown = sorted(set(tested.tolist()) - set(known.tolist()))
    if unknown:
        raise InvalidInputError(f"test label {shorten_value(unknown[0])} is not among the training labels")
    features = torch.from_numpy(np.concatenate([train, test]))
    every = np.concatenate([labels, np.searchsorted(known, tested)])
    if chosen.probe == "logistic":
        names = [""] * len(labels) if groups is None else [str(name) for name in groups]
        if len(names) != len(labels):
            raise InvalidInputError(f"there are {len(names)} groups for {len(labels)} training rows; each needs one")
        answers = [_fit_linear(features, every, names, device)]
    else:
        settings = make_settings(chosen, LR)
        results = train_probes(_make_problems(features, every, len(labels), chosen, settings), settings, device=device)
        size = len(results) // chosen.seeds
        answers = [_pick(results[start : start + size]).predicted for start in range(0, len(results), size)]
    by_seed = np.array([np.mean(classes == every[len(labels) :]) for classes in answers])
    return ProbeOutcome(accuracy=float(by_seed.mean()), by_seed=by_seed, predictions=known[np.stack(answers)])


def _fit_linear(features: Tensor, labels: NDArray[np.int64], groups: list[str], device: str) -> NDArray[np.int64]:
    """Classes of the test rows by protocol ``linear``; the training rows are the first."""
    training = np.arange(len(groups))
    dealt = deal_folds(labels[training], groups)
    problem = LinearProblem(
        name="embeddings",
        variants=(Variant(key="embeddings", alpha=None, make=lambda: features),),
        labels=torch.from_numpy(labels),
        train=training,
        inner=tuple((training[dealt != fold], training[dealt == fold]) for fold in sorted(set(dealt.tolist()))),
        test=np.arange(len(groups), len(labels)),
        groups=groups,
        classes=int(labels.max()) + 1,
        size=features.shape[1],
    )
    return fit_linear_probes([problem], device=device)[0].predicted


def _make_problems(
    features: Tensor, labels: NDArray[np.int64], trained: int, protocol: Protocol, settings: ProbeSettings
) -> list[ProbeProblem]:
    """The probes of all seeds, and of each seed those of all learning rates to choose from."""
    names = [str(row) for row in range(trained)]
    problems = []
    for seed in range(protocol.seeds):
        held = hold_out(protocol, labels[:trained], names, seed)
        problems += [
            ProbeProblem(
                name=f"seed {seed}",
                features=features,
                labels=torch.from_numpy(labels),
                train=np.flatnonzero(~held),
                valid=np.flatnonzero(held),
                test=np.arange(trained, len(labels)),
                classes=int(labels.max()) + 1,
                seed=seed,
                lr=lr,
                standardise=None if protocol.standardise_on == "train" else np.arange(trained),
            )
            for lr in protocol.rates or (settings.lr,)
        ]
    return problems


def _pick(results: Sequence[ProbeResult]) -> ProbeResult:
    """The probe of smallest validation loss."""
    return min(results, key=lambda result: result.valid_loss)


def recall_at_k(
    queries: Array,
    gallery: Array,
    query_groups: Sequence[Any] | Array | None = None,
    gallery_groups: Sequence[Any] | Array | None = None,
    *,
    k: Sequence[int] = RECALLS,
) -> dict[int, float]:
    """The share of queries that find a relevant item among the K most similar, by cosine similarity.

    An item is relevant if its group is the query's. Ties count against the query.

    Args:
        queries: [Q, D].
        gallery: [G, D].
        query_groups: [Q] names or numbers; without groups, row i of the gallery is the only one relevant to query i.
        gallery_groups: [G] names or numbers.
        k: the values of K.

    Returns:
        R@K of each K, 0..1.

    Raises:
        InvalidInputError: shapes do not fit, values are not finite, or a query has no relevant item.

    >>> import numpy as np
    >>> recall_at_k(np.eye(3), np.eye(3)[[0, 2, 1]], k=[1, 3])
    {1: 0.3333333333333333, 3: 1.0}
    """
    rows, items = _read_rows("queries", queries), _read_rows("gallery", gallery)
    if (query_groups is None) != (gallery_groups is None):
        raise InvalidInputError("query_groups and gallery_groups must both be given, or neither")
    if query_groups is None or gallery_groups is None:
        if len(rows) != len(items):
            raise InvalidInputError(
                f"there are {len(rows)} queries and {len(items)} gallery items; without groups there must be as many "
                "of each"
            )
        query_groups = gallery_groups = np.arange(len(rows))
    for value in k:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidInputError(f"k contains {shorten_value(value)}; every K must be a whole number of at least 1")
    groups = [
        _read_labels("query_groups", query_groups, len(rows)),
        _read_labels("gallery_groups", gallery_groups, len(items)),
    ]
    numbers = torch.from_numpy(np.unique(np.concatenate(groups), return_inverse=True)[1])
    ranks, _ = compute_ranks(
        torch.from_numpy(rows), torch.from_numpy(items), numbers[: len(rows)], numbers[len(rows) :]
    )
    return {value: float((ranks <= value).double().mean()) for value in k}


def _read_array(name: str, values: Any) -> NDArray[Any]:
    if isinstance(values, Tensor):
        return np.asarray(values.detach().float().cpu() if values.is_floating_point() else values.cpu())
    if not isinstance(values, np.ndarray):
        raise InvalidInputError(f"{name} is {type(values).__name__}; it must be a numpy array or a torch tensor")
    return values


def _read_rows(name: str, values: Array) -> NDArray[np.float32]:
    """Embeddings as [n, D] float32."""
    rows = _read_array(name, values)
    if rows.dtype.kind != "f" or rows.ndim != 2 or 0 in rows.shape:
        raise InvalidInputError(
            f"{name} is {rows.dtype} of shape {list(rows.shape)}; it must be floating point of shape [rows, values]"
        )
    if not np.isfinite(rows).all():
        raise InvalidInputError(f"{name} contains NaN or infinite values")
    return rows.astype(np.float32)


def _read_labels(name: str, values: Sequence[Any] | Array, rows: int) -> NDArray[Any]:
    """Labels as [rows]: text, or whole numbers."""
    labels = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if labels.dtype == object and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(str)
    if labels.shape != (rows,) or labels.dtype.kind not in "iuUb":
        raise InvalidInputError(
            f"{name} is {labels.dtype} of shape {list(labels.shape)}; it must be {rows} texts or whole numbers"
        )
    return labels
