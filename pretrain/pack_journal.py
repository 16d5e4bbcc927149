"""What a packing has done so far: clips appended to the audio, and the journal that a later run resumes from."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bgknown.jobs.files import hash_file, list_state
from bgknown.jobs.parallel import in_processes
from bgknown.jobs.problems import Problem, is_problem
from bgknown.jobs.workspace import append_entries, read_journal

BATCH = 8
"""Files that a process is given at a time."""
FLUSH = 256
"""Clips after which audio and journal are flushed: as many as a kill may cost."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One file, packed or broken."""

    name: str
    """As in the index."""
    samples: NDArray[np.int16] | None
    """[N] at the corpus's rate; None for a broken file."""
    sha256: str = ""
    """Of the file."""
    state: list[int] | None = None
    """Size, times and inode of the file."""
    clipped: bool = False
    """Whether samples were beyond full scale."""
    silent: bool = False
    """Whether it is silent."""
    problem: Problem | None = None
    """What is wrong with a broken file."""


class PackWriter:
    """Appends clips to the audio, and, once they are safe on the disk, to the journal."""

    def __init__(self, file: BinaryIO, journal: Path, done: list[dict[str, Any]]) -> None:
        self.entries = done
        self._file, self._journal = file, journal
        self._next = next((entry["start"] + entry["length"] for entry in reversed(done) if "start" in entry), 0)
        self._waiting = 0
        file.truncate(2 * self._next)
        file.seek(2 * self._next)

    def add(self, clip: Packed) -> None:
        """Append one clip, or note that it is broken."""
        if clip.samples is None:
            assert clip.problem is not None
            self.entries.append({"name": clip.name, "problem": asdict(clip.problem)})
        else:
            self._file.write(clip.samples.astype("<i2").tobytes())
            entry = {"name": clip.name, "start": self._next, "length": len(clip.samples), "sha256": clip.sha256}
            entry["state"] = clip.state
            marks = {name: True for name in ("clipped", "silent") if getattr(clip, name)}
            self.entries.append(entry | marks)
            self._next += len(clip.samples)
        self._waiting += 1
        if self._waiting >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Make what was added survive a kill."""
        if self._waiting:
            self._file.flush()
            os.fsync(self._file.fileno())
            append_entries(self._journal, *self.entries[-self._waiting :])
            self._waiting = 0


def read_packed(journal: Path, names: list[str], size: int) -> list[dict[str, Any]]:
    """What earlier runs have packed: the journal's entries as far as they follow the names and their audio is there."""
    done: list[dict[str, Any]] = []
    start = 0
    for entry in filter(_is_whole, read_journal(journal)):
        place = len(done)
        if place == len(names) or entry.get("name") != names[place]:
            if place and entry.get("name") in names[:place]:  # an earlier run went back to a file that had been mended
                done = done[: names.index(entry["name"])]
                start = next((old["start"] + old["length"] for old in reversed(done) if "start" in old), 0)
            else:
                break
        if "problem" not in entry:
            if entry["start"] != start or 2 * (start + entry["length"]) > size:
                break
            start += entry["length"]
        done.append(entry)
    return done


def drop_replaced(done: list[dict[str, Any]], root: Path, jobs: int) -> list[dict[str, Any]]:
    """What is packed of files that are still the same; where their state has changed, their content decides."""
    packed = [(place, entry) for place, entry in enumerate(done) if "problem" not in entry]
    changed = [(place, entry) for place, entry in packed if entry["state"] != list_state(root / entry["name"])]
    if not changed:
        return done
    work, entries = partial(_is_same, root), [entry for _, entry in changed]
    again = in_processes(work, entries, jobs=jobs, title="packed files again", unit="file", batch=BATCH, ordered=True)
    replaced = [place for (place, _), same in zip(changed, again, strict=True) if not same]
    return done[: replaced[0]] if replaced else done


def _is_same(root: Path, entry: dict[str, Any]) -> bool:
    try:
        return hash_file(root / entry["name"]) == str(entry["sha256"])
    except OSError:
        return False


def drop_mended(done: list[dict[str, Any]], work: Callable[[str], Packed], jobs: int) -> list[dict[str, Any]]:
    """Try files again that were broken in an earlier run; packing goes on from the first one that is whole now."""
    broken = {entry["name"]: place for place, entry in enumerate(done) if "problem" in entry}
    if not broken:
        return done
    again = in_processes(work, list(broken), jobs=jobs, title="broken files again", unit="file", batch=BATCH)
    mended = [broken[packed.name] for packed in again if packed.problem is None]
    return done[: min(mended)] if mended else done


def _is_whole(entry: dict[str, Any]) -> bool:
    """Whether an entry of the journal has what ``PackWriter`` writes."""
    problem = entry.get("problem")
    if "problem" in entry:
        return isinstance(problem, dict) and is_problem(problem)
    sizes = [entry.get("start"), entry.get("length")]
    return all(type(size) is int and 0 <= size < 2**48 for size in sizes) and all(
        isinstance(entry.get(name), kind) for name, kind in (("name", str), ("sha256", str), ("state", list))
    )
