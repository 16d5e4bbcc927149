"""A packed corpus: all audio of a training run in one file of 16-bit samples, read at random through a memory map.

    corpus/audio.i16     int16 little-endian mono samples, one clip after another
    corpus/index.csv     file, start, length (in samples), sha256 (of the file that the clip was read from)
    corpus/corpus.json   format, rate_hz, counts, how it was sampled, files that were left out

The index is the list of what is trained on: Freesound ids are found in its file names (``bgknown.freesound``).
``pretrain pack`` writes one; training reads nothing else. Shape letters: B clips, N samples of a crop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bgknown.documents import read_object
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error, hash_bytes
from bgknown.settings import check_within, read_record
from bgknown.sounds import SoundList, list_file_sounds
from bgknown.tables import parse_csv, parse_whole_numbers
from bgknown.userpath import user_path

AUDIO, INDEX, DESCRIPTION = "audio.i16", "index.csv", "corpus.json"
COLUMNS = ("file", "start", "length", "sha256")
FORMAT = "bgknown-corpus-1"
_MAKE = "make the corpus with: pretrain pack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """An open corpus."""

    folder: Path
    """Its folder."""
    rate_hz: int
    """Its sampling rate."""
    files: list[str]
    """The clips' files."""
    starts: NDArray[np.int64]
    """Each clip's first sample."""
    lengths: NDArray[np.int64]
    """Each clip's samples."""
    audio: NDArray[np.int16]
    """All samples, mapped and not read."""
    fingerprint: str
    """SHA-256 of the index, which holds that of every file."""
    sounds: SoundList = field(default_factory=SoundList)
    """The Freesound ids in the names of the files, and the files' hashes."""

    def __len__(self) -> int:
        return len(self.files)

    def crops(
        self,
        clips: NDArray[np.int64],
        places: NDArray[np.float64],
        samples: int,
        later: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int16]:
        """Cut a part out of each clip; a shorter clip is used whole and padded with zeros.

        Args:
            clips: [B] which clips.
            places: [B] where, as a share 0..1 of the possible starts.
            samples: N.
            later: [B] samples to shift each crop by, within the clip; negative is earlier.

        Returns:
            [B, N] int16.
        """
        latest = np.maximum(self.lengths[clips] - samples, 0)
        begins = np.minimum((places * (latest + 1)).astype(np.int64), latest)
        if later is not None:
            begins = np.clip(begins + later, 0, latest)
        cut = np.zeros((len(clips), samples), dtype=np.int16)
        for row, clip, begin in zip(cut, clips, begins, strict=True):
            start = self.starts[clip] + begin
            stop = min(start + samples, self.starts[clip] + self.lengths[clip])
            row[: stop - start] = self.audio[start:stop]
        return cut


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    clips: int
    hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Configuration:
    folders: list[Any]
    sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Description:
    """What this version reads of corpus.json."""

    counts: _Counts
    configuration: _Configuration
    rate_hz: int

    def __post_init__(self) -> None:
        check_within("rate_hz", self.rate_hz, 1, 2**31 - 1)


def open_corpus(folder: Path) -> Corpus:
    """Open a packed corpus.

    Args:
        folder: the ``--out`` of ``pretrain pack``.

    Raises:
        NotFoundError: there is no finished corpus.
        InvalidInputError: its files are damaged or do not belong together.
    """
    folder = user_path(folder)
    path = folder / INDEX
    if not path.is_file():
        raise NotFoundError(f"{folder}: not a finished corpus ({INDEX} missing); {_MAKE}")
    description = read_object(folder / DESCRIPTION)
    if description.get("format") != FORMAT:
        raise InvalidInputError(
            f"{folder / DESCRIPTION}: the format is {description.get('format')!r}, this version reads {FORMAT!r}"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise describe_storage_error(error, path) from error
    read_record(_Description, description, f"{folder / DESCRIPTION}: damaged; copy the corpus again", others=True)
    if hash_bytes(content) != description.get("index_sha256"):
        raise InvalidInputError(f"{path}: not the index that {DESCRIPTION} describes; copy the corpus again")
    table = _read_index(content, path)
    lengths, starts = (table[name].to_numpy(np.int64) for name in ("length", "start"))
    total = int(lengths.sum())
    audio = folder / AUDIO
    size = audio.stat().st_size if audio.is_file() else -1
    if size != 2 * total:
        raise InvalidInputError(f"{audio}: {max(size, 0):,} bytes, {2 * total:,} expected; copy the corpus again")
    return Corpus(
        folder=folder,
        rate_hz=int(description["rate_hz"]),
        files=table["file"].tolist(),
        starts=starts,
        lengths=lengths,
        audio=np.memmap(audio, dtype="<i2", mode="r"),
        fingerprint=str(description["index_sha256"]),
        sounds=list_file_sounds(table["file"].tolist(), table["sha256"].tolist()),
    )


def read_card(folder: Path) -> dict[str, Any]:
    """The facts about a corpus for a model card: counts, hours, how it was sampled."""
    description = read_object(folder / DESCRIPTION)
    return {
        "clips": description["counts"]["clips"],
        "hours": description["counts"]["hours"],
        "broken": description["counts"].get("broken", 0),
        "folders": description["configuration"]["folders"],
        "match": description["configuration"].get("match", []),
        "sample": description["configuration"]["sample"],
        "seed": description["configuration"].get("seed", 0),
        "index_sha256": description["index_sha256"],
    }


def _read_index(content: bytes, path: Path) -> pd.DataFrame:
    table = parse_csv(content, str(path), advice=f"it must hold at least one clip; {_MAKE}")
    if tuple(table.columns) != COLUMNS:
        raise InvalidInputError(f"{path}: must hold the columns {', '.join(COLUMNS)}; {_MAKE}")
    table = table.assign(**{name: parse_whole_numbers(table, name, path) for name in ("start", "length")})
    ends = table["length"].cumsum()
    if table["length"].min() < 1 or not (table["start"] == ends - table["length"]).all():
        raise InvalidInputError(f"{path}: the clips do not follow one another; copy the corpus again")
    return table
