"""How embeddings are computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.embedding.precision import PRECISIONS
from bgknown.errors import InvalidInputError
from bgknown.jobs.shards import Shard
from bgknown.userpath import expand_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedSettings:
    """How embeddings are computed; only the precision changes them by more than rounding."""

    cache: Path
    """The cache folder."""
    batch_size: int = 32
    """Clips in a batch."""
    precision: str = "float32"
    """float32, or bfloat16 or float16 by autocast."""
    jobs: int = 0
    """Threads that decode audio, and embed it where the encoder may run in several; 0 for the number of cores."""
    shard: Shard | None = None
    """Embed only this share of the batches, into the cache; None for all."""

    def __post_init__(self) -> None:
        expand_fields(self, "cache")
        if self.batch_size < 1:
            raise InvalidInputError(f"the batch size is {self.batch_size}; it must be at least 1")
        if self.precision not in PRECISIONS:
            raise InvalidInputError(f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}")
        if self.jobs < 0:
            raise InvalidInputError(f"jobs is {self.jobs}; it must be at least 1")
