"""A share of a job's units, for schedulers that run the same command many times at once, such as Slurm's arrays.

``--shard 3/8`` makes the third of eight shares; shares run at the same time, on any machines that see the folders.
The command without ``--shard`` then finds all of them made, makes what is missing, and writes the tables: it is the
ordinary resume.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Protocol, TypeVar

from bgknown.errors import InvalidInputError

_Unit = TypeVar("_Unit")
MOST_SHARDS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of several shares."""

    number: int
    """Which one, from 1."""
    count: int
    """How many there are."""

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_SHARDS or not 1 <= self.number <= self.count:
            raise InvalidInputError(
                f"the shard is {self.number}/{self.count}; it must be I/N with I from 1 to N, such as 3/8"
            )

    @property
    def name(self) -> str:
        """What its files are called by."""
        return f"{self.number}-of-{self.count}"

    def take(self, units: Sequence[_Unit]) -> Sequence[_Unit]:
        """Its units: neighbours, so that those of one source stay together."""
        return units[len(units) * (self.number - 1) // self.count : len(units) * self.number // self.count]

    def __str__(self) -> str:
        return f"shard {self.number} of {self.count}"


class ShareReport(Protocol):
    """What the report of a job says of a share."""

    @property
    def shard(self) -> Shard | None:
        """The share that was made; None for the whole job."""

    @property
    def kept(self) -> int:
        """Units that an earlier run had made."""

    @property
    def problems(self) -> Sized:
        """What was left out."""


def describe_share(report: ShareReport, noun: str, *, made: int) -> str:
    """What a run has made of its share, and what to do when all have ended, in two lines; empty for a whole job.

    Args:
        report: the report of the job.
        noun: what a unit is called.
        made: units that this run made.
    """
    if report.shard is None:
        return ""
    skipped = f", {len(report.problems):,} broken skipped" if report.problems else ""
    return (
        f"{report.shard}: {made:,} {noun}s made, {report.kept:,} kept{skipped}\n"
        "when all shards have ended, run the command without --shard, which writes the tables"
    )


def read_shard(text: str) -> Shard:
    """The shard that a text such as ``3/8`` names.

    Raises:
        InvalidInputError: it names none.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
    if match is None:
        raise InvalidInputError(f"the shard is {text[:40]!r}; it must be I/N with I from 1 to N, such as 3/8")
    return Shard(number=int(match[1]), count=int(match[2]))
