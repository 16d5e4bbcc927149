"""What a packing has done so far: clips appended to the audio, and the journal that a later run resumes from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bgknown.jobs.files import hash_file, list_state, read_state
from bgknown.jobs.parallel import in_processes
from bgknown.jobs.problems import Problem
from bgknown.jobs.shards import Shard
from bgknown.jobs.units import FinishedUnit, StoredBytes, read_units, write_units
from bgknown.jobs.workspace import WORK
from pretrain.corpus import AUDIO

BATCH = 8
"""Files that a process is given at a time."""
FLUSH = 256
"""Clips after which audio and journal are flushed: a kill loses at most this many."""
PART_FILE = f"{WORK}/{AUDIO}"
"""The audio while it is unfinished, relative to the folder of the corpus."""


def name_part(shard: Shard | None) -> str:
    """The unfinished audio of a whole packing or of a shard, relative to the folder of the corpus."""
    return PART_FILE if shard is None else f"{WORK}/audio-{shard.name}.pcm"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFile:
    """One file, packed or broken."""

    name: str
    """Its name in the index."""
    sha256: str = ""
    """Of the file."""
    state: list[int] = field(default_factory=list)
    """Size, times and inode of the file."""
    clipped: bool = False
    """Whether samples were beyond full scale."""
    silent: bool = False
    """Whether it is silent."""
    problem: Problem | None = None
    """What is wrong with a broken file."""
    audio: StoredBytes | None = None
    """Its samples in the audio; None for a broken file, or until they are written."""

    @classmethod
    def from_unit(cls, unit: FinishedUnit) -> PackedFile:
        """The file that a unit of the journal describes."""
        record, problem = dict(unit.record), unit.record.get("problem")
        record["problem"] = Problem(**problem) if problem is not None else None
        return cls(name=unit.name, sha256=unit.digest, audio=next(iter(unit.files), None), **record)

    def to_unit(self) -> FinishedUnit:
        """The unit for the journal; its digest is the hash of the file."""
        problem = None if self.problem is None else asdict(self.problem)
        record = {"state": self.state, "clipped": self.clipped, "silent": self.silent, "problem": problem}
        files = () if self.audio is None else (self.audio,)
        return FinishedUnit(name=self.name, digest=self.sha256, record=record, files=files)

    @property
    def samples(self) -> tuple[int, int]:
        """Start and length of its samples in the audio."""
        return (0, 0) if self.audio is None else (self.audio.start // 2, (self.audio.size or 0) // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedFile:
    """What a worker has read of a file."""

    file: PackedFile
    """The file."""
    pcm: NDArray[np.int16] | None = None
    """[N] samples at the corpus's rate, little-endian; None for a broken file."""
    pcm_sha256: str = ""
    """Of the samples."""


class PackWriter:
    """Appends clips to the audio, and, once they are safe on the disk, to the journal."""

    def __init__(self, audio: BinaryIO, part: str, out: Path, journal: Path, done: list[PackedFile]) -> None:
        self.files = done
        self._audio, self._part, self._out, self._journal = audio, part, out, journal
        self._next = _find_end(done)
        self._waiting: list[PackedFile] = []
        if os.fstat(audio.fileno()).st_size != self._next:  # truncating changes the file's state
            audio.truncate(self._next)
        audio.seek(self._next)

    def add(self, decoded: DecodedFile) -> None:
        """Append one clip, or note that it is broken."""
        file = decoded.file
        if decoded.pcm is not None:
            size = self._audio.write(decoded.pcm.data)
            audio = StoredBytes(file=self._part, sha256=decoded.pcm_sha256, state=[], start=self._next, size=size)
            file = replace(file, audio=audio)
            self._next += size
        self._waiting.append(file)
        if len(self._waiting) >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Make what was added survive a kill."""
        if not self._waiting:
            return
        self._audio.flush()
        os.fsync(self._audio.fileno())
        state = read_state(self._out / self._part).facts()
        files = [
            file if file.audio is None else replace(file, audio=replace(file.audio, state=state))
            for file in self._waiting
        ]
        self._waiting = []
        write_units(self._journal, [file.to_unit() for file in files])
        self.files += files


def read_packed(journal: Path, names: Sequence[str]) -> list[PackedFile]:
    """What earlier runs have packed: the files of the journal as far as they follow the names."""
    done: list[PackedFile] = []
    for unit in read_units(journal):
        try:
            file = PackedFile.from_unit(unit)
        except TypeError:  # of another version
            break
        place = len(done)
        if place == len(names) or file.name != names[place]:
            if file.name not in names[:place]:
                break
            done = done[: names.index(file.name)]  # an earlier run resumed from a file that had been repaired
        if file.audio is not None and file.audio.start != _find_end(done):
            break
        done.append(file)
    return done


def find_in_shards(journals: Sequence[Path]) -> dict[str, PackedFile]:
    """What shards have packed, by name; broken files are left out, as they are read again."""
    found: dict[str, PackedFile] = {}
    for journal in journals:
        for unit in read_units(journal):
            with contextlib.suppress(TypeError):  # of another version
                file = PackedFile.from_unit(unit)
                if file.audio is not None:
                    found[file.name] = file
    return found


def take_from_shard(file: PackedFile, root: Path, out: Path) -> DecodedFile | None:
    """The samples of a file that a shard has packed; None if it was replaced since, or they are not intact."""
    if file.audio is None or not _is_intact(root, out, file):
        return None
    with (out / file.audio.file).open("rb") as audio:
        audio.seek(file.audio.start)
        pcm = np.frombuffer(audio.read(file.audio.size or 0), dtype="<i2")
    return DecodedFile(file=replace(file, audio=None), pcm=pcm, pcm_sha256=file.audio.sha256)


def drop_changed(done: list[PackedFile], root: Path, out: Path, jobs: int) -> list[PackedFile]:
    """The files before the first that was replaced since it was packed, or whose samples are not intact.

    If the state of a file or of the audio has changed, its hash decides.
    """
    last = next((file.audio for file in reversed(done) if file.audio is not None), None)
    flushed = last is not None and last.state == list_state(out / last.file)  # the audio is as the last flush left it
    check = partial(_is_intact, root, None if flushed else out)
    good = in_processes(check, done, jobs=jobs, title="packed files again", unit="file", batch=64, ordered=True)
    return done[: next((place for place, passes in enumerate(list(good)) if not passes), len(done))]


def drop_repaired(done: list[PackedFile], decode: Callable[[str], DecodedFile], jobs: int) -> list[PackedFile]:
    """The files before the first that was broken in an earlier run and is whole now."""
    broken = {file.name: place for place, file in enumerate(done) if file.problem is not None}
    again = in_processes(decode, list(broken), jobs=jobs, title="broken files again", unit="file", batch=BATCH)
    repaired = [broken[decoded.file.name] for decoded in again if decoded.pcm is not None]
    return done[: min(repaired, default=len(done))]


def _is_intact(root: Path, out: Path | None, file: PackedFile) -> bool:
    if file.audio is None:
        return True
    try:
        same = file.state == list_state(root / file.name) or hash_file(root / file.name) == file.sha256
    except OSError:
        return False
    return same and (out is None or file.audio.is_intact(out))


def _find_end(done: Sequence[PackedFile]) -> int:
    """The byte after the last clip."""
    return next((file.audio.start + (file.audio.size or 0) for file in reversed(done) if file.audio is not None), 0)
