"""Audio to embeddings: one pass, cached, resumable, on as many processes as ``torchrun`` starts.

A list of clips is cut into batches of equal length in one fixed way, whatever is cached, so that a run that was stopped
goes on to the same bytes. Decoding and resampling run in threads, a few batches at most, so memory does not grow with
the number of clips. They run ahead of an encoder on a GPU; with one on the CPU they take turns, because each uses all
cores, and side by side they only get into each other's way. Under ``torchrun`` every process takes its share of the
batches.
"""

from __future__ import annotations

import io
import itertools
import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmark import processes
from benchmark.clips import RESAMPLER, Clip, FileState, file_sha256, file_states, length, read_clip
from benchmark.encoder import FittedEncoder, LoadedEncoder, check_output
from benchmark.encoders.foreign import telling
from benchmark.fingerprint import code_beside
from benchmark.store import Entry, Store, open_store
from bgknown import __version__
from bgknown.audio import SUFFIXES
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError, StorageError
from bgknown.files import make_folder, sha256, write_whole
from bgknown.parallel import default_jobs
from bgknown.shown import one_line

log = logging.getLogger(__name__)

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Names of the precisions that an encoder may compute in; what it returns is kept as float32."""
AHEAD = 4
"""Batches that may be decoded before the encoder wants them."""
SPOT_TOLERANCE = 1e-2
"""How far, relative to its largest value, a cached embedding may be from one made now."""

MAX_DURATION_S = 3600.0
"""Longest clip that may be asked for."""

Decoded = list[tuple[NDArray[np.float32], str]]


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
        if self.batch_size < 1:
            raise InvalidInputError(f"the batch size is {self.batch_size}; it must be at least 1")
        if self.precision not in PRECISIONS:
            raise InvalidInputError(f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}")
        if self.jobs < 0:
            raise InvalidInputError(f"jobs is {self.jobs}; it must be at least 1")


def embed(
    loaded: LoadedEncoder, clips: Sequence[Clip], settings: EmbedSettings, *, fit_on: Sequence[Clip] = ()
) -> NDArray[np.float32]:
    """Embed clips, from the cache where it holds them.

    Args:
        loaded: the encoder.
        clips: what to embed; the same clip may come twice.
        settings: how.
        fit_on: training audio of the task, for encoders that take statistics from it.

    Returns:
        [n, D] float32, in the order of ``clips``; it may be a map of a file (writing to it does not change the file).

    Raises:
        NotFoundError, InvalidInputError: a file is missing or broken, or the encoder breaks its contract.
        StorageError: the cache folder cannot be written.
    """
    unique = list(dict.fromkeys(clips))
    states = dict(zip(unique, file_states(unique), strict=True))
    batches = _batches(unique, loaded.encoder.rate_hz, settings.batch_size)
    store = open_store(settings.cache, *_key(loaded, settings, fit_on))
    try:
        found = {clip: store.find(clip, states[clip]) for clip in unique}
        _check_listed(found)
        store = _checked(store, loaded, settings, found)
        mine = [
            [clip for clip in batch if found[clip] is None] for batch in batches[processes.rank() :: processes.count()]
        ]
        todo = [batch for batch in mine if batch]
        if todo and isinstance(loaded.encoder, FittedEncoder):
            _fit(loaded, settings, fit_on)
        if todo:
            _run(loaded, store, todo, states, settings, kept=sum(map(len, batches)) - sum(map(len, todo)))
    finally:
        store.close()
    if processes.count() > 1:
        processes.meet()
        store = Store(store.folder, store.size)
    entries = {clip: found[clip] or store.find(clip, states[clip]) for clip in unique}
    lost = [clip for clip, entry in entries.items() if entry is None]
    if lost:
        raise StorageError(
            f"{store.folder}: the embedding of {lost[0].path} cannot be read back: the disk or the file is failing; "
            f"empty the cache (`benchmark cache --clear`) and run again"
        )
    return store.gather([entry for clip in clips if (entry := entries[clip]) is not None])


def embed_files(
    loaded: LoadedEncoder, audio: Sequence[Path], out: Path, settings: EmbedSettings, *, duration_s: float | None
) -> int:
    """Embed files and all audio files of folders into ``out/embeddings.npy`` and ``out/clips.csv``.

    Args:
        loaded: the encoder.
        audio: files and folders; files of a folder come in the order of their names.
        out: the folder to write to.
        settings: how.
        duration_s: cut or pad every clip to this length; None for its own.

    Returns:
        The number of clips.

    Raises:
        NotFoundError, InvalidInputError, StorageError: as ``embed``; also where a folder holds no audio.
    """
    if duration_s is not None and not 0 < duration_s < MAX_DURATION_S:
        raise InvalidInputError(f"the duration is {duration_s} s; it must lie between 0 and {MAX_DURATION_S:g}")
    files: list[Path] = []
    for path in audio:
        inside = (
            sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        )
        if not inside:
            raise NotFoundError(f"{path}: no audio files ({', '.join(SUFFIXES)}) in this folder")
        files += inside
    clips = [Clip(path=file, duration_s=duration_s) for file in files]
    rows = embed(loaded, clips, settings, fit_on=clips)
    if processes.rank() == 0:
        make_folder(out)
        data = io.BytesIO()
        np.save(data, rows)
        write_whole(out / "embeddings.npy", data.getvalue())
        table = pd.DataFrame({"row": range(len(files)), "file": [file.as_posix() for file in files]})
        write_whole(out / "clips.csv", table.to_csv(index=False, lineterminator="\n").encode())
    return len(files)


def _key(loaded: LoadedEncoder, settings: EmbedSettings, fit_on: Sequence[Clip]) -> tuple[str, int, dict[str, Any]]:
    """The key of the store, D, and what the key stands for."""
    fitted_on = ""
    if isinstance(loaded.encoder, FittedEncoder):
        if not fit_on:
            raise InvalidInputError(
                f"encoder {loaded.name} takes statistics from a task's training audio, and there is none"
            )
        hashes = [clip.sha256 or file_sha256(clip.path) for clip in fit_on]
        fitted_on = sha256(
            "\n".join(sorted(f"{value} {clip.crop}" for value, clip in zip(hashes, fit_on, strict=True))).encode()
        )
    facts = {
        "encoder": loaded.key,
        "resampler": RESAMPLER,
        "precision": settings.precision,
        "fitted_on": fitted_on,
        "software": __version__,
    }
    if fitted_on:  # what is fitted is not compared with a fresh embedding, so its code must tell it apart
        facts["code"] = code_beside(type(getattr(loaded.encoder, "made", loaded.encoder)))
    about = {
        **facts,
        "name": loaded.name,
        "spec": loaded.spec,
        "weights_sha256": loaded.weights_sha256,
        "configuration": loaded.configuration,
        "embedding_size": loaded.encoder.embedding_size,
    }
    return sha256(repr(sorted(facts.items())).encode()), loaded.encoder.embedding_size, about


def _batches(clips: list[Clip], rate_hz: int, size: int) -> list[list[Clip]]:
    """Batches of clips of equal length, in an order that depends on the list alone."""
    unknown = [clip for clip in clips if clip.duration_s is None]
    with ThreadPoolExecutor(32) as pool:
        own = dict(zip(unknown, pool.map(lambda clip: length(clip, rate_hz), unknown), strict=True))
    by_length: dict[int, list[Clip]] = {}
    for clip in clips:
        by_length.setdefault(own.get(clip) or length(clip, rate_hz), []).append(clip)
    return [group[i : i + size] for _, group in sorted(by_length.items()) for i in range(0, len(group), size)]


def _check_listed(found: dict[Clip, Entry | None]) -> None:
    """What is cached must be what the dataset lists; what was made of other bytes is made anew."""
    for clip, entry in found.items():
        if entry is not None and clip.sha256 and entry.sha256 != clip.sha256:
            read_clip(clip, 16_000)  # says what is wrong, if the file is not the one that is listed
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


def _fit(loaded: LoadedEncoder, settings: EmbedSettings, fit_on: Sequence[Clip]) -> None:
    encoder = loaded.encoder
    batches = _batches(list(dict.fromkeys(fit_on)), encoder.rate_hz, settings.batch_size)
    bar = tqdm(
        total=len(fit_on), desc=one_line(f"statistics for {loaded.name}"), unit="clip", disable=_quiet(), leave=False
    )

    def audio() -> Iterator[torch.Tensor]:
        for batch, decoded in _decoded(batches, loaded, settings.jobs):
            yield torch.from_numpy(np.stack([samples for samples, _ in decoded])).to(loaded.device)
            bar.update(len(batch))

    with bar:
        if isinstance(encoder, FittedEncoder):
            with telling(f"encoder {loaded.name}", "cannot be fitted"):
                encoder.fit(audio())


def _run(
    loaded: LoadedEncoder,
    store: Store,
    batches: list[list[Clip]],
    states: dict[Clip, FileState],
    settings: EmbedSettings,
    *,
    kept: int,
) -> None:
    """Embed batches into the store."""
    total = kept + sum(map(len, batches))
    bar = tqdm(
        total=total, initial=kept, desc=one_line(f"embed {loaded.name}"), unit="clip", disable=_quiet(), smoothing=0.05
    )
    with bar:
        for batch, decoded in _decoded(batches, loaded, settings.jobs):
            new = []
            for clip, (audio, digest) in zip(batch, decoded, strict=True):
                entry = store.find_audio(digest, clip.crop)
                if entry is None:
                    new.append((clip, (audio, digest)))
                else:
                    store.alias(entry, clip, states[clip])
            if new:
                rows = _encode(loaded, [clip for clip, _ in new], [item for _, item in new], settings)
                store.append(rows, [(clip, states[clip], digest) for clip, (_, digest) in new])
            bar.update(len(batch))


def _decoded(batches: list[list[Clip]], loaded: LoadedEncoder, jobs: int) -> Iterator[tuple[list[Clip], Decoded]]:
    """Batches with their audio, of which at most ``AHEAD`` are decoded and not yet asked for."""
    rate_hz, at_once = loaded.encoder.rate_hz, 1 if loaded.device != "cpu" else AHEAD
    with ThreadPoolExecutor(jobs or default_jobs()) as pool:
        waiting: deque[tuple[list[Clip], list[Future[tuple[NDArray[np.float32], str]]]]] = deque()
        ahead = iter(batches)
        try:
            while True:
                for batch in itertools.islice(ahead, AHEAD - len(waiting)):
                    waiting.append((batch, [pool.submit(read_clip, clip, rate_hz) for clip in batch]))
                if not waiting:
                    break
                if at_once > 1:
                    wait(future for _, futures in waiting for future in futures)
                for _ in range(min(at_once, len(waiting))):
                    batch, futures = waiting.popleft()
                    yield batch, [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _encode(
    loaded: LoadedEncoder,
    clips: Sequence[Clip],
    decoded: Iterable[tuple[NDArray[np.float32], str]],
    settings: EmbedSettings,
) -> NDArray[np.float32]:
    """One batch through the encoder, held against the contract."""
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
    return check_output(loaded.encoder, output, len(clips), clips=[str(clip.path) for clip in clips]).numpy()


def _quiet() -> bool:
    return not sys.stderr.isatty() or processes.rank() > 0
