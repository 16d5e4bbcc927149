"""Audio to embeddings: one pass, cached, resumable, on as many processes as ``torchrun`` starts.

A list of clips is divided into batches of equal length in one fixed way, whatever is cached, so that an interrupted run
resumes to the same bytes. Under ``torchrun`` every process takes its share of the batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark import processes
from benchmark.embedding.amplitudes import report_amplitudes
from benchmark.embedding.batches import group_by_length
from benchmark.embedding.broken import BrokenClips
from benchmark.embedding.clips import RESAMPLER, Clip, read_file_states
from benchmark.embedding.embedding_pass import EmbeddingPass
from benchmark.embedding.hashes import hash_fit
from benchmark.embedding.settings import EmbedSettings
from benchmark.embedding.store import Store, open_store
from benchmark.encoders.contract import LoadedEncoder
from benchmark.encoders.fingerprint import hash_code_beside
from bgknown.jobs.files import hash_bytes

__all__ = ["EmbedSettings", "embed_clips"]

MADE = "0.1.0"
"""The version since which embeddings have been computed as they are now: a part of their key, raised when the same
audio would give others. A new version alone does not change it, so embeddings of older versions are found."""
MADE_OF_KIND = {"hf": "0.2.0", "evar": "0.2.0"}
"""The same for kinds of encoders that have changed since."""


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
        clips: what to embed; the same clip may occur twice.
        settings: how.
        fit_on: training audio of the task, for encoders that take statistics from it.
        twice: embed the first batch twice, to detect an encoder whose output differs from call to call.
        notes: receives sentences on clips that are silent or beyond full scale, which are also logged as warnings.

    Returns:
        [n, D] float32, in the order of ``clips``. It may be a memory map of a file; writing to it does not change the
        file.

    Raises:
        NotFoundError: files are missing.
        BrokenClipError: clips are broken, or their embeddings hold NaN or infinite values; it names them, and the
            embeddings of the others are kept in the cache.
        InvalidInputError: the encoder breaks its contract.
        StorageError: the cache folder cannot be written.
    """
    work = _embed_missing(loaded, clips, settings, fit_on=fit_on, twice=twice)
    work.broken.refuse(len(work.states))
    entries = work.collect()
    if processes.rank() == 0:
        hashes = {(clip.path, clip.crop): entry.sha256 for clip, entry in entries.items()}
        report_amplitudes(work.store.folder, hashes, [] if notes is None else notes)
    return work.store.gather([entries[clip] for clip in clips])


def embed_share(
    loaded: LoadedEncoder, clips: Sequence[Clip], settings: EmbedSettings, *, fit_on: Sequence[Clip] = ()
) -> int:
    """Embed the share ``settings.shard`` of clips into the cache, where ``embed_clips`` finds them.

    Broken clips are left to ``embed_clips``, which names them.

    Returns:
        the number of clips whose embeddings the cache holds now.

    Raises:
        NotFoundError, InvalidInputError, StorageError: as ``embed_clips``.
    """
    work = _embed_missing(loaded, clips, settings, fit_on=fit_on, twice=True)
    held = Store(work.store.folder, work.store.size)
    return sum(held.find(clip, state) is not None for clip, state in work.states.items())


def _embed_missing(
    loaded: LoadedEncoder, clips: Sequence[Clip], settings: EmbedSettings, *, fit_on: Sequence[Clip], twice: bool
) -> EmbeddingPass:
    """Embed what the cache does not hold; all of it, or a share."""
    unique = list(dict.fromkeys(clips))
    states = dict(zip(unique, read_file_states(unique), strict=True))
    broken = BrokenClips(loaded.name)
    batches = group_by_length(unique, loaded.encoder.rate_hz, settings.batch_size, broken)
    store = open_store(settings.cache, *make_key(loaded, settings, fit_on))
    work = EmbeddingPass(loaded=loaded, settings=settings, store=store, states=states, broken=broken)
    try:
        work.find_cached()
        work.embed_missing(batches, fit_on=fit_on, twice=twice)
    finally:
        work.store.close()
    return work


def make_key(loaded: LoadedEncoder, settings: EmbedSettings, fit_on: Sequence[Clip]) -> tuple[str, int, dict[str, Any]]:
    """The key of the embeddings in the cache, D, and a description of what the key stands for."""
    fitted_on = hash_fit(loaded, fit_on, cache=settings.cache)
    facts = {
        "encoder": loaded.key,
        "resampler": RESAMPLER,
        "precision": settings.precision,
        "fitted_on": fitted_on,
        "software": MADE_OF_KIND.get(loaded.kind, MADE),
    }
    if fitted_on:  # such embeddings are not compared with new ones, so the code must be a part of their key
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
