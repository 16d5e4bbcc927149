"""Packing: folders of audio files into one corpus that training reads (``pretrain.corpus`` says what it holds).

This is the only part of training that needs audio libraries. Files are packed in the order of their names, by several
processes; what is done is in a journal, so that a run that was killed goes on and ends with the same bytes.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bgknown import seeding
from bgknown.audio.amplitude import describe_counts, measure_amplitude
from bgknown.audio.decoding import explain_file_faults
from bgknown.audio.files import check_finite, read_file, to_pcm16
from bgknown.corpora.listing import SUFFIXES, name_some
from bgknown.documents import read_object
from bgknown.errors import BgknownError, BrokenInputError, InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error, hash_bytes, list_state, open_own, sync_folder, write_whole
from bgknown.jobs.parallel import count_cores, in_processes
from bgknown.jobs.problems import Problem, list_problems, make_problem
from bgknown.jobs.workspace import Workspace
from bgknown.userpath import absolute, expand_fields
from pretrain.audio_files import find_audio, matches_any
from pretrain.corpus import AUDIO, COLUMNS, DESCRIPTION, FORMAT, INDEX
from pretrain.pack_journal import BATCH, Packed, PackWriter, drop_mended, drop_replaced, read_packed


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
    jobs: int = field(default_factory=count_cores)
    """Number of processes."""

    def __post_init__(self) -> None:
        expand_fields(self, "audio", "out")


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
    silent: int = 0
    """Clips that are silent."""
    notes: tuple[str, ...] = ()
    """A sentence on silent clips and one on clipped ones, where there are any."""


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
            "folders": [absolute(folder).name for folder in options.audio],
            "match": list(options.match),
            "sample": options.sample,
            "seed": options.seed,
            "rate_hz": options.rate_hz,
        },
        "inputs": {"files": len(names), "names_sha256": hash_bytes("\n".join(names).encode())},
    }
    workspace = Workspace(options.out, read=_read_description, manifest=INDEX, description=DESCRIPTION)
    with workspace.claim(description) as finished:
        if finished:
            content = read_object(options.out / DESCRIPTION)
            return _report(content, content["counts"]["clips"])
        rows, problems, kept = _pack_all(options, root, names, workspace)
        if problems and not options.skip_broken:
            raise BrokenInputError(
                f"{list_problems(problems)}\n{len(rows)} of {len(names)} files are packed; fix these files and run the "
                f"command again, or give --skip-broken to finish without them"
            )
        if not rows:
            raise BrokenInputError(f"{list_problems(problems)}\nnothing is left to pack")
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
    root, found = find_audio(options.audio)
    names = [name for name in found if matches_any(name, options.match)]
    where = ", ".join(map(str, options.audio))
    if not found:
        raise NotFoundError(f"{where}: no audio files ({', '.join(SUFFIXES)})")
    if not names:
        raise NotFoundError(
            f"{where}: no files that match {' or '.join(options.match)}; there are "
            f"{name_some(dict.fromkeys((found[0], found[len(found) // 2], found[-1])))}"
        )
    if options.sample > len(names):
        raise InvalidInputError(f"--sample {options.sample}: there are {len(names):,} files; take at most as many")
    if options.sample:
        order = np.argsort(seeding.draw_ranks(options.seed, "pack", names), kind="stable")
        names = sorted(names[place] for place in order[: options.sample])
    return root, names


def _pack_file(root: Path, rate_hz: int, name: str) -> Packed:
    path = root / name
    state = list_state(path)
    try:
        with explain_file_faults("cannot be read"):
            digest = hash_bytes(path.read_bytes())
            _, audio = read_file(path, rate_hz, np.float64)
            check_finite(audio)
            if not audio.size:
                raise InvalidInputError(f"less than one sample at {rate_hz} Hz")
            found = measure_amplitude(audio)
            return Packed(name, to_pcm16(audio), digest, state, clipped=found.clipped, silent=found.silent)
    except BgknownError as error:
        return Packed(name, None, problem=make_problem(error, where=name, what="audio"))


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
            done = read_packed(workspace.journal, names, os.fstat(file.fileno()).st_size)
            done = drop_mended(drop_replaced(done, root, options.jobs), work, options.jobs)
            kept = sum("problem" not in entry for entry in done)
            writer = PackWriter(file, workspace.journal, done)
            clips = in_processes(
                work,
                names[len(done) :],
                jobs=options.jobs,
                title="packing",
                unit="file",
                batch=BATCH,
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
        raise describe_storage_error(error, part) from error
    rows = [entry for entry in writer.entries if "problem" not in entry]
    return rows, [Problem(**entry["problem"]) for entry in writer.entries if "problem" in entry], kept


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
    names = {mark: [row["name"] for row in rows if mark in row] for mark in ("silent", "clipped")}
    counts |= {"silent": len(names["silent"])} if names["silent"] else {}
    notes = describe_counts(**names, what="clips", cut_off=True)
    content = {
        **description,
        "counts": counts,
        "skipped": skipped,
        **({"notes": notes} if notes else {}),
        "index_sha256": hash_bytes(index),
    }
    out = options.out
    try:
        (workspace.folder / AUDIO).replace(out / AUDIO)
    except OSError as error:
        raise describe_storage_error(error, out / AUDIO) from error
    write_whole(out / DESCRIPTION, (json.dumps(content, indent=2) + "\n").encode(), aside=workspace.scratch)
    write_whole(out / INDEX, index, aside=workspace.scratch)
    sync_folder(out)
    return content


def _report(content: dict[str, Any], kept: int) -> PackReport:
    counts = content["counts"]
    problems = tuple(Problem(**problem) for problem in content["skipped"])
    return PackReport(
        clips=counts["clips"],
        hours=counts["hours"],
        kept=kept,
        clipped=counts.get("clipped", 0),
        silent=counts.get("silent", 0),
        problems=problems,
        notes=tuple(content.get("notes", ())),
    )
