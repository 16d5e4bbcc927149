"""The licences of an export's audio, as far as the dataset knows them, and what a dataset card may say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from bgknown.corpora import CorpusFacts, esc50, fsd50k
from bgknown.exports.source import ExportSource
from bgknown.mixtures.attribution import ATTRIBUTION
from bgknown.shown import markdown, unescape_cell
from bgknown.tables import read_csv

_CARD_IDS = {
    "CC0-1.0": "cc0-1.0",
    "CC-BY-3.0": "cc-by-3.0",
    "CC-BY-4.0": "cc-by-4.0",
    "CC-BY-NC-3.0": "cc-by-nc-3.0",
    "CC-BY-NC-4.0": "cc-by-nc-4.0",
}
"""Licences that the hub's cards have a name for."""
_UNKNOWN = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceCount:
    """How many source files of a corpus have a licence."""

    corpus: str
    """The corpus."""
    licence: str
    """Short name; empty where it is not known."""
    files: int
    """Number of source files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Licences:
    """What is known of the sources' licences."""

    counts: tuple[LicenceCount, ...]
    """Of the source files; none if the dataset does not name them."""
    corpora: tuple[CorpusFacts, ...]
    """What is published about each corpus; its licence is that of the corpus as a whole."""

    @property
    def card_id(self) -> str:
        """The ``license`` of a dataset card: that of all sources, or else other; unknown if nothing is known."""
        names = {count.licence for count in self.counts}
        if len(names) == 1 and names <= set(_CARD_IDS):
            return _CARD_IDS[names.pop()]
        known = names - {_UNKNOWN} or {facts.licence for facts in self.corpora if facts.licence}
        return "other" if known else "unknown"

    @property
    def card_name(self) -> str:
        """The ``license_name`` of a card whose licence is other: the strictest of what the sources allow."""
        if self.is_non_commercial:
            return "cc-by-nc-and-others"
        return "several-licences"

    @property
    def is_non_commercial(self) -> bool:
        """Whether some source allows non-commercial use only."""
        texts = {count.licence for count in self.counts} - {_UNKNOWN} or {facts.licence for facts in self.corpora}
        return any("NC" in text.replace("-", " ").split() for text in texts)

    @property
    def short_text(self) -> str:
        """The licences in one line."""
        names = sorted({count.licence for count in self.counts if count.licence})
        if not names or any(count.licence == _UNKNOWN for count in self.counts):
            names += [f"{facts.name}: {facts.licence}" for facts in self.corpora if facts.licence]
        return "; ".join(names) or "not known"


def find_licences(source: ExportSource) -> Licences:
    """The licences of a dataset: from ATTRIBUTION.csv, else the manifest's columns; and those of the corpora.

    Raises:
        InvalidInputError: ATTRIBUTION.csv is damaged.
    """
    return Licences(counts=tuple(_count_licences(source)), corpora=tuple(_list_corpora(source)))


def format_licences(licences: Licences) -> str:
    """The section of a card."""
    lines = []
    if licences.counts:
        lines += ["| corpus | licence | source files |", "| --- | --- | --- |"]
        lines += [
            f"| {markdown(count.corpus)} | {markdown(count.licence) or 'not known'} | {count.files:,} |"
            for count in licences.counts
        ]
        lines.append("")
    lines += [f"- {markdown(facts.name)}: {markdown(facts.licence)}" for facts in licences.corpora if facts.licence]
    if licences.is_non_commercial:
        lines.append("\nSome sources allow non-commercial use only, so the dataset as a whole does too.")
    return "\n".join(lines) or "Not known: the tables that the dataset was made from name no licences."


def _list_corpora(source: ExportSource) -> list[CorpusFacts]:
    if source.is_pairs:
        return [esc50.FACTS, fsd50k.FACTS]
    return [
        CorpusFacts(
            name=str(facts.get("name") or key),
            counts={},
            licence=str(facts.get("licence") or ""),
            citation=str(facts.get("citation") or ""),
            url=str(facts.get("url") or ""),
        )
        for key, facts in source.description["corpora"].items()
    ]


def _count_licences(source: ExportSource) -> list[LicenceCount]:
    if (source.root / ATTRIBUTION).is_file():
        table = read_csv(source.root / ATTRIBUTION, advice="the dataset is damaged")
        if {"corpus", "file", "licence"} <= set(table.columns):
            return _count_files(table[["corpus", "file", "licence"]])
    found = []
    for column in source.table.columns:
        prefix = str(column).removesuffix("_licence")
        if prefix != column and f"{prefix}_file" in source.table.columns:
            files = pd.DataFrame({"file": source.table[f"{prefix}_file"], "licence": source.table[column]})
            facts = source.description.get("corpora", {}).get(prefix, {})
            found += _count_files(files.assign(corpus=str(facts.get("name") or prefix)))
    return found if any(count.licence for count in found) else []


def _count_files(table: pd.DataFrame) -> list[LicenceCount]:
    """One count for each corpus and licence, by their names."""
    unique = table.drop_duplicates(["corpus", "file"])
    texts = (unique[column].fillna("").astype(str).map(unescape_cell) for column in ("corpus", "licence"))
    pairs = zip(*texts, strict=True)
    return [
        LicenceCount(corpus=corpus, licence=licence, files=files)
        for (corpus, licence), files in sorted(Counter(pairs).items())
    ]
