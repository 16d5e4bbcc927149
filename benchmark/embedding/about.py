"""Where embeddings outside the cache come from: a small record next to them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from benchmark.embedding.clips import RESAMPLER, Clip
from benchmark.encoders.contract import LoadedEncoder
from bgknown import __version__
from bgknown.jobs.files import write_whole

log = logging.getLogger(__name__)

ABOUT = "about.json"
"""The file's name."""


def write_about(out: Path, loaded: LoadedEncoder, clips: Sequence[Clip], precision: str, *, fitted_on: str) -> None:
    """Write which encoder computed embeddings, and which clips its statistics come from.

    Args:
        out: the folder of the embeddings.
        loaded: the encoder.
        clips: the clips that were embedded, also the source of statistics if the encoder needs some.
        precision: the precision that it computed in.
        fitted_on: SHA-256 over the audio of these clips; empty for encoders that need no statistics.

    Raises:
        StorageError: it cannot be written.
    """
    statistics = None
    if fitted_on:
        first = clips[0].path.as_posix()
        statistics = {"source": "the clips embedded here", "clips": len(clips), "first": first, "sha256": fitted_on}
        log.warning(
            "encoder %s needs statistics of audio: they were taken from the %s clips embedded here (first: %s); "
            "embeddings of other lists of clips are not comparable with these",
            loaded.name,
            f"{len(clips):,}",
            first,
        )
    facts = {
        "encoder": loaded.name,
        "spec": loaded.spec,
        "kind": loaded.kind,
        "weights_sha256": loaded.weights_sha256,
        "configuration": loaded.configuration,
        "rate_hz": loaded.encoder.rate_hz,
        "embedding_size": loaded.encoder.embedding_size,
        "precision": precision,
        "resampler": RESAMPLER,
        "clips": len(clips),
        "duration_s": clips[0].duration_s,
        "statistics": statistics,
        "version": __version__,
    }
    write_whole(out / ABOUT, (json.dumps(facts, indent=2, sort_keys=True) + "\n").encode())
