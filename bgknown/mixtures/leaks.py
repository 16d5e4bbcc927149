"""What a dataset's tables must say of its sources: no leak between the corpora, and the licences of the draw."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath

from bgknown.corpora.columns import ESC50_PREFIXES
from bgknown.corpora.credits import Credit
from bgknown.corpora.licences import find_licence_family
from bgknown.documents import shorten_value
from bgknown.errors import BgknownError
from bgknown.freesound import find_distinctive_id, find_freesound_id
from bgknown.mixtures.attribution import ATTRIBUTION, read_attribution
from bgknown.mixtures.dataset import DESCRIPTION, MANIFEST, Dataset
from bgknown.mixtures.left_out import count_same_class
from bgknown.mixtures.manifest import SAME_CLASS, ManifestRow
from bgknown.mixtures.rules import describe_source
from bgknown.tables import list_records

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSources:
    """What the files of a dataset were cut from, and their licences.

    Sources are Freesound ids or other names, and the same one in both corpora is the same sound; empty if not known.
    """

    clips: Mapping[str, str]
    """Sources by the clip's file."""
    backgrounds: Mapping[str, str]
    """Sources by the recording's file."""
    credits: Mapping[tuple[str, str], Credit]
    """Credits in ATTRIBUTION.csv by corpus and file; empty for a dataset of an earlier version."""


def find_leak_faults(data: Dataset) -> Iterator[str]:
    """One line per row or file that breaks a rule about sources.

    Datasets of earlier versions, and those made with --keep-sources, may have backgrounds that other clips were cut
    from; these are counted in a warning.
    """
    try:
        sources = trace_sources(data)
    except BgknownError as error:
        yield str(error).removeprefix(f"{data.root}/")
        return
    rows = data.rows()
    yield from _find_source_faults(data, rows, sources)
    yield from _find_twin_faults(data)
    yield from _find_draw_faults(data, rows)
    if sources.credits:
        yield from _find_credit_faults(data, rows, sources)


def trace_sources(data: Dataset) -> DatasetSources:
    """What the files of a dataset were cut from.

    From ATTRIBUTION.csv; what is not in it, as in a dataset of an earlier version, from the names of the files.

    Raises:
        NotFoundError, InvalidInputError: ATTRIBUTION.csv is missing or damaged.
    """
    clips, backgrounds = _find_sources_in_names(data)
    if SAME_CLASS not in data.table and not (data.root / ATTRIBUTION).is_file():
        return DatasetSources(clips=clips, backgrounds=backgrounds, credits={})
    table = list_records(read_attribution(data.root / ATTRIBUTION))
    source_of = {(row["corpus"], row["file"]): row["source"] for row in table}
    foreground, background = _name_corpora(data)
    return DatasetSources(
        clips={file: source_of.get((foreground, file), source) for file, source in clips.items()},
        backgrounds={file: source_of.get((background, file), source) for file, source in backgrounds.items()},
        credits={(row["corpus"], row["file"]): _read_credit(row) for row in table},
    )


def _find_sources_in_names(data: Dataset) -> tuple[dict[str, str], dict[str, str]]:
    """The sources of clips and of recordings, by their files, that the names tell; empty for other names."""
    clips, recordings = data.table[data.prefixes.foreground_file], data.table[data.prefixes.background_file]
    if data.prefixes == ESC50_PREFIXES:
        parts_of = {row.foreground_file: row.clip.split("-") for row in data.rows()}
        of_clips = {file: parts[1] if len(parts) == 4 else "" for file, parts in parts_of.items()}
        return of_clips, {file: PurePosixPath(file).stem for file in recordings}
    find_id = find_freesound_id if data.has_fsd50k else find_distinctive_id
    of_recordings = {file: str(find_id(file) or "") for file in recordings}
    return {file: str(find_distinctive_id(file) or "") for file in clips}, of_recordings


def _name_corpora(data: Dataset) -> tuple[str, str]:
    corpora = data.description["corpora"]
    first, second = (corpora[key].get("name", key) for key in (data.prefixes.foreground, data.prefixes.background))
    return first, second


def _find_source_faults(data: Dataset, rows: list[ManifestRow], sources: DatasetSources) -> Iterator[str]:
    keep = data.description["configuration"].get("keep_sources", True)
    clip_of = {source: PurePosixPath(file).stem for file, source in sorted(sources.clips.items()) if source}
    of_others = 0
    for row in rows:
        source = sources.backgrounds.get(row.background_file, "")
        if source and source == sources.clips.get(row.foreground_file):
            yield f"{MANIFEST}: row {row.clip_id}: the background shares the clip's {describe_source(source)}"
        elif source in clip_of:
            of_others += 1
            if not keep:
                yield f"{MANIFEST}: row {row.clip_id}: the clip {clip_of[source]} was cut from its background"
    if keep and of_others:
        log.warning(
            "%s: %d rows have a background that another clip was cut from; this version avoids them by default",
            data.root,
            of_others,
        )


def _find_twin_faults(data: Dataset) -> Iterator[str]:
    used = set(data.table[data.prefixes.background_file])
    for twin in data.description.get("identical_audio", []):
        if {twin["left_out"], twin["same_as"]} <= used:
            yield f"{MANIFEST}: the backgrounds {twin['left_out']} and {twin['same_as']} are the same audio"


def _find_draw_faults(data: Dataset, rows: list[ManifestRow]) -> Iterator[str]:
    """Rows that the options of the draw exclude."""
    draw = data.description.get("draw") or {}
    families = draw.get("licences", [])
    for row in rows:
        if draw.get("exclude_same_class") and row.same_class == 1:
            yield f"{MANIFEST}: row {row.clip_id}: its background contains {row.category!r}, which the draw excludes"
        if families and find_licence_family(row.background_licence) not in families:
            licence = row.background_licence or "unknown"
            yield f"{MANIFEST}: row {row.clip_id}: its background's licence is {licence}, not {' or '.join(families)}"
    counts = data.description["counts"]
    for name, found in (count_same_class(data.table) if SAME_CLASS in data.table else {}).items():
        if counts.get(name) != found:
            yield f"{DESCRIPTION}: counts.{name} is {counts.get(name)}, the manifest has {found}"


def _read_credit(row: Mapping[str, str]) -> Credit:
    return Credit(**{field.name: row[field.name] for field in fields(Credit)})


def _find_credit_faults(data: Dataset, rows: list[ManifestRow], sources: DatasetSources) -> Iterator[str]:
    """Files that ATTRIBUTION.csv lacks, or of which it says something else."""
    foreground, background = _name_corpora(data)
    files = {(foreground, row.foreground_file): _read_side(row, "foreground") for row in rows}
    files |= {(background, row.background_file): _read_side(row, "background") for row in rows}
    for place, credit in sorted(files.items(), key=lambda item: item[0]):
        found = sources.credits.get(place)
        if found is None:
            yield f"{ATTRIBUTION}: {place[1]} of {place[0]} is missing"
            continue
        for name, value in asdict(credit).items():
            if (other := getattr(found, name)) != value:
                yield (
                    f"{ATTRIBUTION}: {place[1]} has the {name} {shorten_value(other)}, "
                    f"the manifest says {shorten_value(value)}"
                )


def _read_side(row: ManifestRow, side: str) -> Credit:
    return Credit(**{field.name: getattr(row, f"{side}_{field.name}") for field in fields(Credit)})
