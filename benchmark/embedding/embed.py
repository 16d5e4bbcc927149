"""Audio to embeddings: one pass, cached, resumable, on as many processes as ``torchrun`` starts.

A list of clips is cut into batches of equal length in one fixed way, whatever is cached, so that a run that was stopped
goes on to the same bytes. Decoding and resampling run in threads, a few batches at most, so memory does not grow with
the number of clips. They run ahead of an encoder on a GPU; with one on the CPU they take turns, because each uses all
cores, and side by side they only get into each other's way. Under ``torchrun`` every process takes its share of the
batches.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmark import processes
from benchmark.embedding.ahead import decode_ahead
from benchmark.embedding.amplitudes import report_amplitudes, write_amplitudes
from benchmark.embedding.broken import BrokenClips
from benchmark.embedding.clips import RESAMPLER, BrokenClipError, Clip, count_samples, read_clip, read_file_states
from benchmark.embedding.hashes import hash_fit
from benchmark.embedding.recognition import find_by_content
from benchmark.embedding.store import Entry, Store, open_store
from benchmark.embedding.training_audio import DecodedAudio
from benchmark.encoders.adapters.foreign import explain_failure
from benchmark.encoders.contract import FittedEncoder, LoadedEncoder, check_output
from benchmark.encoders.fingerprint import hash_code_beside
from benchmark.encoders.loading import check_repeatable
from bgknown.errors import BgknownError, InvalidInputError, StorageError
from bgknown.jobs.files import FileState, hash_bytes
from bgknown.shown import escape_line
from bgknown.userpath import expand_fields

log = logging.getLogger(__name__)

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Names of the precisions that an encoder may compute in; what it returns is kept as float32."""
SPOT_TOLERANCE = 1e-2
"""How far, relative to its largest value, a cached embedding may be from one made now."""

MADE = "0.1.0"
"""The version since which embeddings are made as they are now: a part of their key, raised when the same bytes would
give others. A new version alone does not change it, so what older ones have embedded is found."""
MADE_OF_KIND = {"hf": "0.2.0", "evar": "0.2.0"}
"""The same for kinds of encoders that have changed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedSettings:
    """How embeddings are computed; only the precision changes them beyond rounding."""

    cache: Path
    """The cache folder."""
    batch_size: int = 32
    """Clips in a batch."""
    precision: str = "float32"
    """float32, or bfloat16 or float16 by autocast."""
    jobs: int = 0
    """Threads that decode; 0 for the number of cores."""

    def __post_init__(self) -> None:
        expand_fields(self, "cache")
        if self.batch_size < 1:
            raise InvalidInputError(f"the batch size is {self.batch_size}; it must be at least 1")
        if self.precision not in PRECISIONS:
            raise InvalidInputError(f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}")
        if self.jobs < 0:
            raise InvalidInputError(f"jobs is {self.jobs}; it must be at least 1")


def embed_clips(
    loaded: LoadedEncoder,
    clips: Sequence[Clip],
    settings: EmbedSettings,
    *,
    fit_on: Sequence[Clip] = (),
    twice: bool = False,
    notes: list[str] | None = None,
) -> NDArray[np.float32]:
    """Embed clips, from the cache where it holds them.

    Args:
        loaded: the encoder.
        clips: what to embed; the same clip may come twice.
        settings: how.
        fit_on: training audio of the task, for encoders that take statistics from it.
        twice: embed the first batch twice, to notice an encoder that answers differently from call to call.
        notes: takes sentences on clips that are silent or beyond full scale, which are logged as warnings, too.

    Returns:
        [n, D] float32, in the order of ``clips``; it may be a map of a file (writing to it does not change the file).

    Raises:
        NotFoundError: files are missing.
        BrokenClipError: clips are broken, or their embeddings hold NaN or infinite values; all such clips are named,
            and the embeddings of the others are kept in the cache.
        InvalidInputError: the encoder breaks its contract.
        StorageError: the cache folder cannot be written.
    """
    unique = list(dict.fromkeys(clips))
    states = dict(zip(unique, read_file_states(unique), strict=True))
    broken = BrokenClips(loaded.name)
    batches = _batches(unique, loaded.encoder.rate_hz, settings.batch_size, broken)
    store = open_store(settings.cache, *_key(loaded, settings, fit_on))
    try:
        found = {clip: store.find(clip, states[clip]) for clip in unique}
        find_by_content(store, found, states)
        _drop_unlisted(found)
        store = _checked(store, loaded, settings, found)
        mine = [
            [clip for clip in batch if found[clip] is None] for batch in batches[processes.rank() :: processes.count()]
        ]
        todo = [batch for batch in mine if batch]
        broken.embedded = sum(entry is not None for entry in found.values())
        whole = True
        if todo and isinstance(loaded.encoder, FittedEncoder):
            _fit(loaded, settings, fit_on, broken)
            whole = not broken.problems.keys() & {clip.path for clip in fit_on}
        if todo and whole:  # else the statistics are those of other audio than will be left
            kept = sum(map(len, batches)) - sum(map(len, todo))
            _run(loaded, store, todo, states, settings, broken=broken, kept=kept, twice=twice)
    finally:
        store.close()
    broken.refuse(len(unique))
    if processes.count() > 1:
        processes.wait_for_all()
        store = Store(store.folder, store.size)
    entries = {clip: found[clip] or store.find(clip, states[clip]) for clip in unique}
    find_by_content(store, entries, states)  # another process may have seen another state of the same file
    lost = [clip for clip, entry in entries.items() if entry is None]
    if lost:
        raise StorageError(
            f"{store.folder}: the embedding of {lost[0].path} cannot be read back: the disk or the file is failing; "
            f"empty the cache (`benchmark cache --clear`) and run again"
        )
    if processes.rank() == 0:
        hashes = {(clip.path, clip.crop): entry.sha256 for clip, entry in entries.items() if entry is not None}
        report_amplitudes(store.folder, hashes, [] if notes is None else notes)
    return store.gather([entry for clip in clips if (entry := entries[clip]) is not None])


def _key(loaded: LoadedEncoder, settings: EmbedSettings, fit_on: Sequence[Clip]) -> tuple[str, int, dict[str, Any]]:
    """The key of the store, D, and what the key stands for."""
    fitted_on = hash_fit(loaded, fit_on, cache=settings.cache)
    facts = {
        "encoder": loaded.key,
        "resampler": RESAMPLER,
        "precision": settings.precision,
        "fitted_on": fitted_on,
        "software": MADE_OF_KIND.get(loaded.kind, MADE),
    }
    if fitted_on:  # what is fitted is not compared with a fresh embedding, so its code must tell it apart
        facts["code"] = hash_code_beside(type(getattr(loaded.encoder, "made", loaded.encoder)))
    about = {
        **facts,
        "name": loaded.name,
        "spec": loaded.spec,
        "weights_sha256": loaded.weights_sha256,
        "configuration": loaded.configuration,
        "embedding_size": loaded.encoder.embedding_size,
    }
    return hash_bytes(repr(sorted(facts.items())).encode()), loaded.encoder.embedding_size, about


def _batches(clips: list[Clip], rate_hz: int, size: int, broken: BrokenClips) -> list[list[Clip]]:
    """Batches of clips of equal length, in an order that depends on the list alone; without broken clips."""

    def own_length(clip: Clip) -> int:
        try:
            return count_samples(clip, rate_hz)
        except BrokenClipError as error:
            broken.add(error)
            return 0

    unknown = [clip for clip in clips if clip.duration_s is None]
    with ThreadPoolExecutor(32) as pool:
        own = dict(zip(unknown, pool.map(own_length, unknown), strict=True))
    by_length: dict[int, list[Clip]] = {}
    for clip in clips:
        samples = own[clip] if clip in own else count_samples(clip, rate_hz)
        if samples:
            by_length.setdefault(samples, []).append(clip)
    return [group[i : i + size] for _, group in sorted(by_length.items()) for i in range(0, len(group), size)]


def _drop_unlisted(found: dict[Clip, Entry | None]) -> None:
    """What is cached must be what the dataset lists; what was made of other bytes is read again, which checks it."""
    for clip, entry in found.items():
        if entry is not None and clip.sha256 and entry.sha256 != clip.sha256:
            found[clip] = None


def _checked(store: Store, loaded: LoadedEncoder, settings: EmbedSettings, found: dict[Clip, Entry | None]) -> Store:
    """The store, emptied if the encoder does not give what it holds (weights that its key could not see)."""
    known = next(((clip, entry) for clip, entry in found.items() if entry is not None), None)
    if known is None or isinstance(loaded.encoder, FittedEncoder):
        return store
    fresh = _encode(loaded, [known[0]], [read_clip(known[0], loaded.encoder.rate_hz)], settings)[0]
    kept = store.gather([known[1]])[0]
    if np.abs(fresh - kept).max() <= SPOT_TOLERANCE * max(float(np.abs(kept).max()), 1e-30):
        return store
    if processes.count() > 1:
        raise StorageError(
            f"{store.folder}: encoder {loaded.name} no longer gives the embeddings that are cached for it; "
            f"empty the cache (`benchmark cache --clear`) and run again"
        )
    log.warning("encoder %s no longer gives the embeddings that are cached for it; they are made again", loaded.name)
    found.update(dict.fromkeys(found))
    return store.emptied()


def _fit(loaded: LoadedEncoder, settings: EmbedSettings, fit_on: Sequence[Clip], broken: BrokenClips) -> None:
    encoder = loaded.encoder
    batches = _batches(list(dict.fromkeys(fit_on)), encoder.rate_hz, settings.batch_size, broken)
    bar = tqdm(
        total=len(fit_on), desc=escape_line(f"statistics for {loaded.name}"), unit="clip", disable=_quiet(), leave=False
    )

    def stream() -> Iterator[torch.Tensor]:
        for batch, decoded in decode_ahead(batches, loaded, settings.jobs, broken):
            for clip, (samples, _) in zip(batch, decoded, strict=True):
                if not samples.any():
                    broken.add_silent(clip)
            yield torch.from_numpy(np.stack([samples for samples, _ in decoded])).to(loaded.device)
            bar.update(len(batch))

    audio = DecodedAudio(batches, encoder.rate_hz, stream, jobs=settings.jobs, heard=bar.update, broken=broken)
    with bar:
        if isinstance(encoder, FittedEncoder):
            try:
                with explain_failure(f"encoder {loaded.name}", "cannot be fitted"):
                    encoder.fit(audio)
            except InvalidInputError:
                if not broken.problems:  # else it may have been left with nothing
                    raise


def _run(
    loaded: LoadedEncoder,
    store: Store,
    batches: list[list[Clip]],
    states: dict[Clip, FileState],
    settings: EmbedSettings,
    *,
    broken: BrokenClips,
    kept: int,
    twice: bool,
) -> None:
    """Embed batches into the store, except clips that are broken."""
    total = kept + sum(map(len, batches))
    bar = tqdm(
        total=total,
        initial=kept,
        desc=escape_line(f"embed {loaded.name}"),
        unit="clip",
        disable=_quiet(),
        smoothing=0.05,
    )
    with bar:
        for batch, decoded in decode_ahead(batches, loaded, settings.jobs, broken):
            new = []
            for clip, (audio, digest) in zip(batch, decoded, strict=True):
                entry = store.find_audio(digest, clip.crop)
                if entry is None:
                    new.append((clip, (audio, digest)))
                else:
                    store.alias([entry], [(clip, states[clip])])
            if new:
                named, audios = [clip for clip, _ in new], [item for _, item in new]
                rows = _encode(loaded, named, audios, settings)
                finite = broken.keep_finite(named, rows)
                if twice and finite.any():
                    again = _encode(loaded, named, audios, settings)
                    check_repeatable(loaded.name, rows[finite], again[finite], settings.precision)
                    twice = False
                items = [(clip, states[clip], digest) for clip, (_, digest) in itertools.compress(new, finite)]
                if items:
                    store.append(rows[finite], items)
                    write_amplitudes(
                        store.folder,
                        [(digest, clip.crop, audio) for clip, (audio, digest) in itertools.compress(new, finite)],
                    )
            bar.update(len(batch))


def _encode(
    loaded: LoadedEncoder,
    clips: Sequence[Clip],
    decoded: Iterable[tuple[NDArray[np.float32], str]],
    settings: EmbedSettings,
) -> NDArray[np.float32]:
    """One batch through the encoder, held against the contract; values may be NaN or infinite."""
    audio = torch.from_numpy(np.stack([samples for samples, _ in decoded])).to(loaded.device)
    kind = PRECISIONS[settings.precision]
    precision = torch.autocast(torch.device(loaded.device).type, dtype=kind) if kind else nullcontext()
    try:
        with torch.inference_mode(), precision:
            output = loaded.encoder.embed(audio)
    except BgknownError:
        raise
    except (Exception, SystemExit) as error:  # an encoder that leaves must not take the run with it
        if isinstance(error, torch.OutOfMemoryError):
            raise InvalidInputError(
                f"encoder {loaded.name} ran out of memory on a batch {list(audio.shape)}: lower --batch"
            ) from error
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InvalidInputError(
            f"encoder {loaded.name} failed on a batch {list(audio.shape)} that begins with {clips[0].path}: "
            f"{type(error).__name__}: {reason}"
        ) from error
    return check_output(loaded.encoder, output, len(clips), finite=False).numpy()


def _quiet() -> bool:
    return not sys.stderr.isatty() or processes.rank() > 0
