"""Packing: folders of audio files into one corpus that training reads (``pretrain.corpus`` says what it holds).

This is the only part of training that needs audio libraries. Files are packed in the order of their names, by several
processes; finished work is in a journal, so that a run that was killed resumes and ends with the same bytes.
"""

from __future__ import annotations

import json
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
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error, hash_bytes, list_state, open_own
from bgknown.jobs.parallel import count_cores, one_by_one
from bgknown.jobs.problems import Problem, make_problem
from bgknown.jobs.resumable import Job, JobOutcome, UnitResult
from bgknown.jobs.shards import Shard
from bgknown.jobs.workspace import Workspace
from bgknown.userpath import absolute, expand_fields
from pretrain.audio_files import find_audio, matches_any
from pretrain.corpus import AUDIO, COLUMNS, DESCRIPTION, FORMAT, INDEX, open_corpus
from pretrain.pack_journal import (
    BATCH,
    PART_FILE,
    DecodedFile,
    PackedFile,
    PackWriter,
    drop_changed,
    drop_repaired,
    find_in_shards,
    name_part,
    read_packed,
    take_from_shard,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """What to pack, and how."""

    audio: tuple[Path, ...]
    """Folders; all audio files below them."""
    out: Path
    """Folder of the corpus."""
    match: tuple[str, ...] = ()
    """Patterns; a file's name below the folders must match one of them. None takes all files."""
    sample: int = 0
    """Number of files to choose at random; 0 takes all."""
    seed: int = 0
    """Seed of the choice."""
    rate_hz: int = 16_000
    """Sampling rate of the corpus."""
    skip_broken: bool = False
    """Leave out broken files."""
    jobs: int = field(default_factory=count_cores)
    """Number of processes."""
    shard: Shard | None = None
    """Pack only this share of the files, and write no index."""

    def __post_init__(self) -> None:
        expand_fields(self, "audio", "out")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """What a packing did."""

    clips: int
    """Clips in the corpus."""
    hours: float
    """Their length in hours."""
    kept: int
    """Clips that an earlier run had packed."""
    clipped: int
    """Clips with samples beyond full scale, which are cut off there."""
    problems: tuple[Problem, ...]
    """Files that were left out."""
    silent: int = 0
    """Clips that are silent."""
    notes: tuple[str, ...] = ()
    """A sentence on silent clips and one on clipped ones, if there are any."""
    shard: Shard | None = None
    """The share that was packed; None for the whole corpus."""


def pack(options: PackOptions) -> PackReport:
    """Pack a corpus, or resume where an earlier run stopped.

    Raises:
        NotFoundError: a folder is missing, or holds no audio that matches.
        InvalidInputError: an option is out of range.
        StorageError: the output folder holds something else, another run holds it, or the disk is full.
        BrokenInputError: files are broken and ``skip_broken`` is not given; the others are kept for the next run.
    """
    root, names = find_pack_files(options)
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
    job = Job(
        workspace=Workspace(
            options.out, read=_read_description, manifest=INDEX, description=DESCRIPTION, shard=options.shard
        ),
        description=description,
        noun="file",
        jobs=options.jobs,
        skip_broken=options.skip_broken,
    )
    return job.run(lambda: _pack_files(job, options, root, names), lambda: _report_finished_corpus(job))


def _read_description(out: Path) -> dict[str, Any]:
    return read_object(out / DESCRIPTION)


def find_pack_files(options: PackOptions) -> tuple[Path, list[str]]:
    """The files to pack: the folder that their names are relative to, and their names in order.

    With several folders, names are relative to the folder that contains all of them.

    Raises:
        NotFoundError, InvalidInputError: as ``pack``.
    """
    if options.sample < 0 or options.rate_hz < 1_000:
        raise InvalidInputError(
            f"--sample {options.sample}, --rate {options.rate_hz}; --sample must be 0 or more, --rate at least 1,000 Hz"
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
        raise InvalidInputError(f"--sample {options.sample}: there are {len(names):,} files; give at most that number")
    if options.sample:
        order = np.argsort(seeding.draw_ranks(options.seed, "pack", names), kind="stable")
        names = sorted(names[place] for place in order[: options.sample])
    return root, names


def _decode_file(root: Path, rate_hz: int, name: str) -> DecodedFile:
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
    except BgknownError as error:
        return DecodedFile(file=PackedFile(name=name, problem=make_problem(error, where=name, what="audio")))
    file = PackedFile(name=name, sha256=digest, state=state, clipped=found.clipped, silent=found.silent)
    pcm = np.ascontiguousarray(to_pcm16(audio), dtype="<i2")
    return DecodedFile(file=file, pcm=pcm, pcm_sha256=hash_bytes(pcm.data))


def _decode_or_take(root: Path, rate_hz: int, out: Path, unit: tuple[str, PackedFile | None]) -> DecodedFile:
    """A file as a shard has packed it, or else decoded."""
    name, packed = unit
    taken = None if packed is None else take_from_shard(packed, root, out)
    return taken or _decode_file(root, rate_hz, name)


def _pack_files(job: Job, options: PackOptions, root: Path, every_name: list[str]) -> PackReport:
    """Pack what is missing."""
    names = job.take_share(every_name)
    decode = partial(_decode_file, root, options.rate_hz)
    part_name = name_part(job.shard)
    part, final = options.out / part_name, options.out / AUDIO
    try:
        if final.exists() and not part.exists():  # killed between putting the audio and the index in place
            final.replace(part)
        with open_own(part) as audio:
            done = drop_changed(read_packed(job.folder.journal, names), root, options.out, options.jobs)
            done = drop_repaired(done, decode, options.jobs)
            kept = sum(file.problem is None for file in done)
            writer = PackWriter(audio, part_name, options.out, job.folder.journal, done)
            others = [journal for journal in job.workspace.list_journals() if journal != job.folder.journal]
            in_shards = find_in_shards(others)
            rest = [(name, in_shards.get(name)) for name in names[len(done) :]]
            work = partial(_decode_or_take, root, options.rate_hz, options.out)
            try:
                for decoded in job.run_units(one_by_one(work), rest, title="packing", batch=BATCH, ordered=True):
                    writer.add(decoded)
            finally:
                writer.flush()
    except BgknownError:
        raise
    except OSError as error:
        raise describe_storage_error(error, part) from error
    results = [UnitResult(record=None if file.problem else file, problem=file.problem) for file in writer.files]
    outcome = JobOutcome[PackedFile](kept=kept).add(results)
    job.check(outcome, len(names))
    if job.shard is not None:
        return _report_shard(job.shard, outcome, kept, options.rate_hz)
    return _make_report(_write_corpus(job, options, outcome), kept)


def _write_corpus(job: Job, options: PackOptions, outcome: JobOutcome[PackedFile]) -> dict[str, Any]:
    """Put the corpus under its final names, the index last."""
    files, problems = outcome.records, outcome.problems
    rows = [(file.name, *file.samples, file.sha256) for file in files]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    index = table.to_csv(index=False, lineterminator="\n").encode()
    silent, clipped = ([file.name for file in files if getattr(file, mark)] for mark in ("silent", "clipped"))
    counts = {
        "clips": len(table),
        "broken": len(problems),
        "clipped": len(clipped),
        "hours": round(int(table["length"].sum()) / options.rate_hz / 3_600, 4),
        **({"silent": len(silent)} if silent else {}),
    }
    notes = describe_counts(silent=silent, clipped=clipped, what="clips", cut_off=True)
    content = {
        **job.description,
        "counts": counts,
        "skipped": [asdict(problem) for problem in sorted(problems)],
        **({"notes": notes} if notes else {}),
        "index_sha256": hash_bytes(index),
    }
    try:
        (options.out / PART_FILE).replace(options.out / AUDIO)
    except OSError as error:
        raise describe_storage_error(error, options.out / AUDIO) from error
    job.finish({DESCRIPTION: (json.dumps(content, indent=2) + "\n").encode(), INDEX: index})
    return content


def _report_finished_corpus(job: Job) -> PackReport:
    out = job.workspace.out
    job.check_finished_files({AUDIO: None})
    open_corpus(out)  # checks the index, and the size of the audio
    content = _read_description(out)
    return _make_report(content, content["counts"]["clips"])


def _report_shard(shard: Shard, outcome: JobOutcome[PackedFile], kept: int, rate_hz: int) -> PackReport:
    files = outcome.records
    return PackReport(
        clips=len(files),
        hours=sum(file.samples[1] for file in files) / rate_hz / 3_600,
        kept=kept,
        clipped=sum(file.clipped for file in files),
        silent=sum(file.silent for file in files),
        problems=tuple(outcome.problems),
        shard=shard,
    )


def _make_report(content: dict[str, Any], kept: int) -> PackReport:
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
