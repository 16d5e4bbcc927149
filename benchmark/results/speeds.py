"""Speeds of encoders, in ``OUT/speed.csv``, as ``benchmark check --out`` measures them."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.results.run_folder import claim
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import write_whole
from bgknown.settings import read_text
from bgknown.shown import escape_cell, unescape_cell
from bgknown.tables import list_records, read_text_table

SPEED_TABLE = "speed.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """How fast an encoder is on a device; the fields are the columns of the CSV."""

    encoder: str
    """Name of the encoder."""
    checkpoint_sha256: str
    """SHA-256 of its weights; empty where there are none."""
    device: str
    """What it ran on."""
    threads: int
    """Threads of a CPU; 0 on another device."""
    clip_s: float
    """Length of a clip, s."""
    batch_clips: int
    """Clips in a batch."""
    clips_per_s: float
    """Clips a second."""
    version: str
    """Version of this software."""
    date: str
    """When it was measured, UTC."""

    @property
    def key(self) -> tuple[str, ...]:
        """What a later measurement replaces."""
        return (self.encoder, self.checkpoint_sha256, self.device, str(self.threads))


_KINDS = {"threads": int, "batch_clips": int, "clip_s": float, "clips_per_s": float}


def read_speeds(out: Path) -> list[SpeedRow]:
    """The speeds in a folder of results; none where there is no table.

    Raises:
        InvalidInputError: the table is damaged.
        StorageError: it cannot be read.
    """
    path = out / SPEED_TABLE
    if not path.exists():
        return []
    advice = "delete it and run `benchmark check --out` again"
    names = [field.name for field in dataclasses.fields(SpeedRow)]
    rows = []
    for record in list_records(read_text_table(path, names, advice=advice)):
        try:
            values: dict[str, Any] = {
                name: read_text(_KINDS[name], text, name) if name in _KINDS else unescape_cell(text)
                for name, text in record.items()
            }
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: {error}; {advice}") from error
        if not 0 < values["clips_per_s"] < math.inf:
            raise InvalidInputError(f"{path}: clips_per_s is {values['clips_per_s']}; it must be above 0; {advice}")
        rows.append(SpeedRow(**values))
    return rows


def add_speed(out: Path, row: SpeedRow) -> Path:
    """Add a speed to ``OUT/speed.csv``; an earlier one of the same encoder on the same device is replaced.

    Returns:
        The path of the table.

    Raises:
        InvalidInputError: the existing table is damaged; it stays unchanged.
        StorageError: it cannot be written.
    """
    with claim(out):
        rows = sorted([old for old in read_speeds(out) if old.key != row.key] + [row], key=lambda one: one.key)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(field.name for field in dataclasses.fields(SpeedRow))
        for one in rows:
            values = dataclasses.asdict(one).values()
            writer.writerow(escape_cell(value) if isinstance(value, str) else value for value in values)
        write_whole(out / SPEED_TABLE, text.getvalue().encode())
    return out / SPEED_TABLE
