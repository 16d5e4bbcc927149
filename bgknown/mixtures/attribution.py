"""What is known of the sources of a dataset: labels, licences, who made them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.corpora import CorpusIndex
from bgknown.corpora.classes import contains_class
from bgknown.corpora.credits import Credit, list_credits
from bgknown.corpora.licences import find_licence_url
from bgknown.corpora.names import drop_type
from bgknown.corpora.pair import Corpora
from bgknown.mixtures.dataset import Dataset
from bgknown.mixtures.manifest import SAME_CLASS, ManifestRow
from bgknown.mixtures.pool import list_class_labels
from bgknown.shown import escape_cell, unescape_cell
from bgknown.tables import list_records, read_text_table

log = logging.getLogger(__name__)

ATTRIBUTION = "ATTRIBUTION.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionRow:
    """One source file that a dataset uses. The fields are the columns of the table, in their order."""

    corpus: str
    """The corpus."""
    file: str
    """The file, relative to the corpus."""
    source: str
    """The sound that it was cut from, a Freesound id or another name; empty where it is not known."""
    title: str
    """Its title."""
    uploader: str
    """Who published it."""
    licence: str
    """Short name of its licence, or what its corpus says of it."""
    licence_url: str
    """The text of the licence."""
    url: str
    """Where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What a corpus says of its files."""

    index: CorpusIndex
    """The index of the corpus."""
    rows: Mapping[str, Mapping[str, Any]]
    """The rows of its table, by their files without types."""
    credits: Mapping[str, Credit]
    """The credits, by the corpus's key."""

    def find(self, file: str) -> tuple[Mapping[str, Any], Credit]:
        """The row and the credit of a file."""
        row = self.rows[drop_type(file)]
        return row, self.credits[row[self.index.key]]


def gather_source_facts(index: CorpusIndex) -> SourceFacts:
    """What a corpus says of its files: its table, and its credits.

    Raises:
        InvalidInputError: a file of credits is damaged.
    """
    rows = {drop_type(row["file"]): row for row in list_records(index.table)}
    return SourceFacts(index=index, rows=rows, credits=list_credits(index))


def describe_sources(
    rows: Sequence[ManifestRow], corpora: Corpora, foreground: SourceFacts, background: SourceFacts
) -> list[ManifestRow]:
    """Rows of a manifest with what the corpora say of their sources."""
    class_labels = list_class_labels(corpora)
    described = []
    for row in rows:
        clip, clip_credit = foreground.find(row.foreground_file)
        recording, credit = background.find(row.background_file)
        described.append(
            replace(
                row,
                group=clip["group"] or clip["source"],
                background_labels=recording["labels"],
                same_class=contains_class(recording["labels"], class_labels[row.category]),
                foreground_licence=clip_credit.licence,
                foreground_uploader=clip_credit.uploader,
                foreground_title=clip_credit.title,
                background_licence=credit.licence,
                background_uploader=credit.uploader,
                background_title=credit.title,
            )
        )
    return described


def warn_of_changed_sources(data: Dataset, corpora: Corpora) -> None:
    """Log a warning if the corpora now say other licences, authors or titles than a finished dataset has."""
    if SAME_CLASS not in data.table:  # made by an earlier version, which did not keep them
        return
    rows = data.rows()
    described = describe_sources(
        rows, corpora, gather_source_facts(corpora.foreground), gather_source_facts(corpora.background)
    )
    if changed := sum(old != new for old, new in zip(rows, described, strict=True)):
        log.warning(
            "%s: licences, uploaders, titles or labels of the corpora have changed since it was built "
            "(rows concerned: %d); build into another folder to have the new ones",
            data.root,
            changed,
        )


def format_attribution(rows: Sequence[ManifestRow], foreground: SourceFacts, background: SourceFacts) -> bytes:
    """The CSV of all sources of some rows, each once, those of clips first."""
    clips = sorted({row.foreground_file for row in rows})
    recordings = sorted({row.background_file for row in rows})
    table = [*_list_sources(clips, foreground), *_list_sources(recordings, background)]
    columns = [field.name for field in fields(AttributionRow)]
    cells = [[escape_cell(value) for value in astuple(row)] for row in table]
    return pd.DataFrame(cells, columns=columns).to_csv(index=False, lineterminator="\n").encode()


def read_attribution(path: Path) -> pd.DataFrame:
    """The table of sources, every value as text, and as it is without what a spreadsheet needs.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: it is damaged.
    """
    columns = [field.name for field in fields(AttributionRow)]
    return read_text_table(path, columns, advice="the dataset is damaged").map(unescape_cell)


def _list_sources(files: Sequence[str], facts: SourceFacts) -> Iterator[AttributionRow]:
    index = facts.index
    for file in files:
        row, credit = facts.find(file)
        yield AttributionRow(
            corpus=index.facts.name,
            file=file,
            source=row["source"],
            title=credit.title,
            uploader=credit.uploader,
            licence=credit.licence,
            licence_url=find_licence_url(credit.licence),
            url=_find_url(row["source"], index.reader),
        )


def _find_url(source: str, reader: str) -> str:
    if source.startswith(("https://", "http://")):
        return source
    freesound = reader in {"esc50", "fsd50k"} and source.isascii() and source.isdigit()
    return f"https://freesound.org/s/{source}/" if freesound else ""
