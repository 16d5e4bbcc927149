"""Packing: folders of audio files into one corpus that training reads (``pretrain.corpus`` says what it holds).

This is the only part of training that needs audio libraries. Files are packed in the order of their names, by several
processes; what is done is in a journal, so that a run that was killed goes on and ends with the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bgknown import seeding
from bgknown.audio import check_finite, read_header, read_whole, to_pcm16
from bgknown.documents import read_object
from bgknown.errors import BgknownError, BrokenInputError, InvalidInputError, NotFoundError, StorageError
from bgknown.files import append_line, open_own, sha256, storage_error, sync_folder, write_whole
from bgknown.parallel import default_jobs, in_processes
from bgknown.problems import Problem, is_problem, listing, problem_of
from bgknown.workspace import Workspace, entry_of
from pretrain.audio_files import SUFFIXES, audio_below, matches
from pretrain.corpus import AUDIO, COLUMNS, DESCRIPTION, FORMAT, INDEX

_BATCH = 8
_FLUSH = 256  # clips that a kill may cost


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """What to pack, and how."""

    audio: tuple[Path, ...]
    """Folders; all audio files below them."""
    out: Path
    """Folder of the corpus."""
    match: tuple[str, ...] = ()
    """Patterns, of which a file's name below the folders must match one; none takes all."""
    sample: int = 0
    """Files to choose at random; 0 takes all."""
    seed: int = 0
    """Of the choice."""
    rate_hz: int = 16_000
    """Sampling rate of the corpus."""
    skip_broken: bool = False
    """Whether to finish without the files that are broken."""
    jobs: int = field(default_factory=default_jobs)
    """Number of processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """What came of it."""

    clips: int
    """Clips in the corpus."""
    hours: float
    """Their length."""
    kept: int
    """Clips that an earlier run had packed."""
    clipped: int
    """Clips with samples beyond full scale, which are cut off there."""
    problems: tuple[Problem, ...]
    """Files that were left out."""


def pack(options: PackOptions) -> PackReport:
    """Pack a corpus, from the start or from where an earlier run was stopped.

    Raises:
        NotFoundError: a folder is not there, or holds no audio that is wanted.
        InvalidInputError: an option is out of range.
        StorageError: the output folder holds something else, another run holds it, or the disk is full.
        BrokenInputError: files are broken and ``skip_broken`` is not given; the others are kept for the next run.
    """
    root, names = find(options)
    description = {
        "name": "packed corpus",
        "format": FORMAT,
        "rate_hz": options.rate_hz,
        "configuration": {
            "folders": [folder.resolve().name for folder in options.audio],
            "match": list(options.match),
            "sample": options.sample,
            "seed": options.seed,
            "rate_hz": options.rate_hz,
        },
        "inputs": {"files": len(names), "names_sha256": sha256("\n".join(names).encode())},
    }
    workspace = Workspace(options.out, read=_read_description, manifest=INDEX, description=DESCRIPTION)
    with workspace.claim(description) as finished:
        if finished:
            content = read_object(options.out / DESCRIPTION)
            return _report(content, content["counts"]["clips"])
        rows, problems, kept = _pack_all(options, root, names, workspace)
        if problems and not options.skip_broken:
            raise BrokenInputError(
                f"{listing(problems)}\n{len(rows)} of {len(names)} files are packed; mend these and run the same "
                f"command again, or give --skip-broken to finish without them"
            )
        if not rows:
            raise BrokenInputError(f"{listing(problems)}\nnothing is left to pack")
        return _report(_finish(options, workspace, description, rows, problems), kept)


def _read_description(out: Path) -> dict[str, Any]:
    return read_object(out / DESCRIPTION)


def find(options: PackOptions) -> tuple[Path, list[str]]:
    """The files to pack: the folder that their names count from, and their names in order.

    With several folders, names count from the folder that all of them lie in.

    Raises:
        NotFoundError, InvalidInputError: as ``pack``.
    """
    if options.sample < 0 or options.rate_hz < 1_000:
        raise InvalidInputError(
            f"--sample {options.sample}, --rate {options.rate_hz}; files are counted from 0, rates from 1,000 Hz"
        )
    for folder in options.audio:
        if not folder.is_dir():
            raise NotFoundError(f"--audio {folder}: no such folder")
    folders = [folder.resolve() for folder in options.audio]
    root = Path(os.path.commonpath(folders))
    found = {path.relative_to(root).as_posix() for folder in folders for path in audio_below(folder)}
    names = sorted(name for name in found if matches(name, options.match))
    if not names:
        raise NotFoundError(
            f"{', '.join(map(str, options.audio))}: no {', '.join(sorted(SUFFIXES))} files"
            f"{' that match ' + ' or '.join(options.match) if options.match else ''}"
        )
    if options.sample > len(names):
        raise InvalidInputError(f"--sample {options.sample}: there are {len(names):,} files; take at most as many")
    if options.sample:
        order = np.argsort(seeding.ranks(options.seed, "pack", names), kind="stable")
        names = sorted(names[place] for place in order[: options.sample])
    return root, names


@dataclass(frozen=True, slots=True)
class _Packed:
    """One file, packed or broken."""

    name: str
    samples: NDArray[np.int16] | None
    sha256: str = ""
    clipped: bool = False
    problem: Problem | None = None


def _pack_file(root: Path, rate_hz: int, name: str) -> _Packed:
    path = root / name
    try:
        digest = sha256(path.read_bytes())
        audio = read_whole(path, read_header(path), rate_hz, np.float64)
        check_finite(audio)
        if not audio.size:
            raise InvalidInputError(f"less than one sample at {rate_hz} Hz")
        return _Packed(name, to_pcm16(audio), digest, clipped=bool(np.abs(audio).max() > 1.0))
    except BgknownError as error:
        return _Packed(name, None, problem=problem_of(error, where=name, what="audio"))
    except OSError as error:
        unreadable = StorageError(error.strerror or str(error))
        return _Packed(name, None, problem=problem_of(unreadable, where=name, what="audio"))


def _pack_all(
    options: PackOptions, root: Path, names: list[str], workspace: Workspace
) -> tuple[list[dict[str, Any]], list[Problem], int]:
    """Pack what is not packed yet: rows of the index, what is broken, and how many rows were there before."""
    work = partial(_pack_file, root, options.rate_hz)
    part, final = workspace.folder / AUDIO, options.out / AUDIO
    try:
        if final.exists() and not part.exists():  # killed between putting the audio and the index in place
            final.replace(part)
        with open_own(part) as file:
            done = _packed_before(workspace.journal, names, os.fstat(file.fileno()).st_size)
            done = _up_to_mended(done, work, options.jobs)
            kept = sum("problem" not in entry for entry in done)
            writer = _Writer(file, workspace.journal, done)
            clips = in_processes(
                work,
                names[len(done) :],
                jobs=options.jobs,
                title="packing",
                unit="file",
                batch=_BATCH,
                ordered=True,
            )
            try:
                for clip in clips:
                    writer.add(clip)
            finally:
                writer.flush()
    except BgknownError:
        raise
    except OSError as error:
        raise storage_error(error, part) from error
    rows = [entry for entry in writer.entries if "problem" not in entry]
    return rows, [Problem(**entry["problem"]) for entry in writer.entries if "problem" in entry], kept


class _Writer:
    """Appends clips to the audio, and, once they are safe on the disk, to the journal."""

    def __init__(self, file: BinaryIO, journal: Path, done: list[dict[str, Any]]) -> None:
        self.entries = done
        self._file, self._journal = file, journal
        self._next = next((entry["start"] + entry["length"] for entry in reversed(done) if "start" in entry), 0)
        self._waiting = 0
        file.truncate(2 * self._next)
        file.seek(2 * self._next)

    def add(self, clip: _Packed) -> None:
        if clip.samples is None:
            assert clip.problem is not None
            self.entries.append({"name": clip.name, "problem": asdict(clip.problem)})
        else:
            self._file.write(clip.samples.astype("<i2").tobytes())
            entry = {"name": clip.name, "start": self._next, "length": len(clip.samples), "sha256": clip.sha256}
            self.entries.append({**entry, "clipped": True} if clip.clipped else entry)
            self._next += len(clip.samples)
        self._waiting += 1
        if self._waiting >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._file.flush()
            os.fsync(self._file.fileno())
            append_line(self._journal, "\n".join(json.dumps(entry) for entry in self.entries[-self._waiting :]))
            self._waiting = 0


def _packed_before(journal: Path, names: list[str], size: int) -> list[dict[str, Any]]:
    """What earlier runs have packed: the journal's entries as far as they follow the names and their audio is there."""
    done: list[dict[str, Any]] = []
    start = 0
    for entry in _entries(journal):
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


def _up_to_mended(done: list[dict[str, Any]], work: Callable[[str], _Packed], jobs: int) -> list[dict[str, Any]]:
    """Try files again that were broken in an earlier run; packing goes on from the first one that is whole now."""
    broken = {entry["name"]: place for place, entry in enumerate(done) if "problem" in entry}
    if not broken:
        return done
    again = in_processes(work, list(broken), jobs=jobs, title="broken files again", unit="file", batch=_BATCH)
    mended = [broken[packed.name] for packed in again if packed.problem is None]
    return done[: min(mended)] if mended else done


def _entries(journal: Path) -> Iterator[dict[str, Any]]:
    with journal.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if (entry := entry_of(line)) is not None and _is_whole(entry):
                yield entry


def _is_whole(entry: dict[str, Any]) -> bool:
    """Whether an entry of the journal has what ``_Writer`` writes."""
    problem = entry.get("problem")
    if "problem" in entry:
        return isinstance(problem, dict) and is_problem(problem)
    sizes = [entry.get("start"), entry.get("length")]
    return all(type(size) is int and 0 <= size < 2**48 for size in sizes) and isinstance(entry.get("sha256"), str)


def _finish(
    options: PackOptions,
    workspace: Workspace,
    description: dict[str, Any],
    rows: list[dict[str, Any]],
    problems: list[Problem],
) -> dict[str, Any]:
    """Put the corpus under its final names, the index last."""
    table = pd.DataFrame(rows).rename(columns={"name": "file"})[list(COLUMNS)]
    index = table.to_csv(index=False, lineterminator="\n").encode()
    counts = {
        "clips": len(table),
        "broken": len(problems),
        "clipped": sum("clipped" in row for row in rows),
        "hours": round(int(table["length"].sum()) / options.rate_hz / 3_600, 4),
    }
    skipped = [asdict(problem) for problem in sorted(problems)]
    content = {**description, "counts": counts, "skipped": skipped, "index_sha256": sha256(index)}
    out = options.out
    try:
        (workspace.folder / AUDIO).replace(out / AUDIO)
    except OSError as error:
        raise storage_error(error, out / AUDIO) from error
    write_whole(out / DESCRIPTION, (json.dumps(content, indent=2) + "\n").encode(), aside=workspace.scratch)
    write_whole(out / INDEX, index, aside=workspace.scratch)
    sync_folder(out)
    return content


def _report(content: dict[str, Any], kept: int) -> PackReport:
    counts = content["counts"]
    problems = tuple(Problem(**problem) for problem in content["skipped"])
    return PackReport(
        clips=counts["clips"], hours=counts["hours"], kept=kept, clipped=counts.get("clipped", 0), problems=problems
    )
