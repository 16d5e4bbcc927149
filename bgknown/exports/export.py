"""Export a built dataset to the format of another library: the formats, the job and its report."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from bgknown.documents import read_object
from bgknown.errors import InvalidInputError
from bgknown.exports.card import CARD
from bgknown.exports.parts import ExportPart, HashedStream, PartSize, WrittenPart, write_parts
from bgknown.exports.source import ExportSource, open_source
from bgknown.jobs.files import hash_bytes
from bgknown.jobs.resumable import Job
from bgknown.jobs.workspace import Workspace
from bgknown.nearest import suggest
from bgknown.userpath import user_path
from bgknown.version import VERSION

EXPORT = "export.json"
"""What an export was made of, and its files."""
FORMAT = 1
"""Number of this layout; a reader refuses those it does not know."""
ExportFormat = Literal["parquet", "webdataset", "croissant", "soundata", "mteb"]
_CLASSES: dict[str, str] = {
    "parquet": "ParquetExport",
    "webdataset": "WebdatasetExport",
    "croissant": "CroissantExport",
    "soundata": "SoundataExport",
    "mteb": "MtebExport",
}
SHARD_MB = 500
"""Size of a shard unless another one is given, in MB; what the Hugging Face hub recommends."""


class ExportWriter(Protocol):
    """What a format does. Its class takes the source and the size of a shard in bytes."""

    def check(self) -> None:
        """Refuse a dataset that the format cannot hold, before anything is written."""

    def list_facts(self) -> list[object]:
        """What the bytes of a part depend on apart from the dataset, as JSON values."""

    def list_parts(self) -> list[ExportPart]:
        """The large files."""

    def write_part(self, part: ExportPart, stream: HashedStream, advance: Callable[[int], object]) -> PartSize:
        """Write one."""

    def compose_files(self, parts: Sequence[WrittenPart]) -> dict[str, bytes]:
        """The small files, the card last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOutcome:
    """What an export did."""

    out: Path
    """Its folder."""
    name: str
    """The dataset's name."""
    rows: int
    """Number of clips or pairs."""
    files: dict[str, int]
    """Every file of the export, with its bytes."""
    was_finished: bool = False
    """Whether the export was complete before this run."""


def export_dataset(
    folder: str | Path, out: str | Path, *, format: ExportFormat = "parquet", shard_mb: int = SHARD_MB
) -> ExportOutcome:
    """Export a built dataset, as ``bgknown export`` does.

    An export that was stopped resumes, and a finished one is left alone.

    Args:
        folder: a dataset of ``bgknown build``, or a set of ``bgknown apwd build`` with audio.
        out: the export's folder; new, empty, or with the same export.
        format: parquet, webdataset, croissant, soundata or mteb (pairs only).
        shard_mb: largest shard in MB of audio, at least 1.

    Raises:
        NotFoundError: there is no finished dataset, no such format, or pyarrow is needed and not installed.
        InvalidInputError: the format cannot hold the dataset, or a file differs from the manifest.
        StorageError: the folder contains something else, is locked, or the disk is full.
    """
    if format not in get_args(ExportFormat):
        raise InvalidInputError(f"format {format!r}: {suggest(str(format), get_args(ExportFormat))}")
    if shard_mb < 1:
        raise InvalidInputError(f"the size of a shard is {shard_mb} MB; it must be at least 1 MB")
    source = open_source(folder)
    module = importlib.import_module(f"bgknown.exports.{format}")
    writer: ExportWriter = getattr(module, _CLASSES[format])(source=source, shard_bytes=shard_mb * 1_000_000)
    writer.check()
    job = Job(
        workspace=Workspace(user_path(out), read=read_export_description, manifest=CARD, description=EXPORT),
        description=_describe_export(source, format, shard_mb),
        noun="shard",
        jobs=1,
    )
    return job.run(lambda: _make_export(job, source, writer), lambda: _report_finished_export(job, source))


def read_export_description(root: Path) -> dict[str, Any]:
    """The content of export.json.

    Raises:
        NotFoundError: it is missing.
        InvalidInputError: it is damaged, or of a format that this version does not know.
    """
    description = read_object(root / EXPORT)
    files = description.get("files")
    sizes = isinstance(files, dict) and all(isinstance(file, dict) and "bytes" in file for file in files.values())
    if description.get("export") != FORMAT or not sizes:
        raise InvalidInputError(
            f"{root / EXPORT}: damaged, or not an export of format {FORMAT}; export to a new folder"
        )
    return description


def _describe_export(source: ExportSource, format: str, shard_mb: int) -> dict[str, Any]:
    return {
        "name": f"{source.name} as {format}",
        "export": FORMAT,
        "version": VERSION,
        "configuration": {"format": format, **({} if format == "soundata" else {"shard_mb": shard_mb})},
        "inputs": source.hash_inputs(),
    }


def _make_export(job: Job, source: ExportSource, writer: ExportWriter) -> ExportOutcome:
    out = job.workspace.out
    parts = write_parts(job, source, writer.list_parts(), writer.write_part, facts=[VERSION, *writer.list_facts()])
    small = {**source.read_attribution(), **writer.compose_files(parts)}
    facts = [(part.file, part.size, part.sha256) for part in parts]
    facts += [(name, len(data), hash_bytes(data)) for name, data in small.items()]
    files = {name: {"bytes": size, "sha256": sha256} for name, size, sha256 in facts}
    text = json.dumps({**job.description, "files": files}, indent=2, ensure_ascii=False) + "\n"
    tables = {**{name: data for name, data in small.items() if name != CARD}, EXPORT: text.encode(), CARD: small[CARD]}
    job.finish(tables, folders=sorted({(out / part.file).parent for part in parts}))
    sizes = {name: size for name, size, _ in facts}
    return ExportOutcome(out=out, name=source.name, rows=len(source.table), files=sizes)


def _report_finished_export(job: Job, source: ExportSource) -> ExportOutcome:
    sizes = {name: int(file["bytes"]) for name, file in read_export_description(job.workspace.out)["files"].items()}
    job.check_finished_files(dict(sizes))
    return ExportOutcome(
        out=job.workspace.out, name=source.name, rows=len(source.table), files=sizes, was_finished=True
    )
