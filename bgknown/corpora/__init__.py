"""Source corpora, one file each: layout, expected counts, licence, citation and index."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from bgknown.audio.files import NO_SUCH_FILE
from bgknown.corpora.headers import FACT_COLUMNS, STATE_COLUMNS
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes
from bgknown.jobs.problems import Problem
from bgknown.paths import find_fault_of_plain

log = logging.getLogger(__name__)

HEADER_COLUMNS = [name for name in FACT_COLUMNS if name not in {*STATE_COLUMNS, "problem"}]
"""What a file's header says of the audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFacts:
    """The facts that its owners publish about a corpus."""

    name: str
    """Name as its owners write it."""
    counts: dict[str, int]
    """Published number of clips of each part; none where nothing is published."""
    licence: str
    """Licence of the audio."""
    citation: str
    """What to cite."""
    url: str
    """Where to get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusIndex:
    """A corpus on disk: the content of its tables and of its files' headers."""

    facts: CorpusFacts
    """The published facts."""
    root: Path
    """Folder of the corpus."""
    table: pd.DataFrame
    """One row per listed clip, by the columns that every reader gives, then file (relative to root), size, mtime_ns,
    ctime_ns, inode, frames, rate_hz, channels, container, problem. A file that cannot be used has 0 frames and its
    problem says why.

    Clips of a foreground: clip_id, fold (0 where there are none), split (train or test), target, category, source (a
    Freesound id or other name of the sound that a clip was cut from; empty where it is unknown), group (clips that
    belong together; empty where each clip stands alone).

    Recordings of a background: recording_id, split, labels (with commas), label (the first of them), source, group.
    """
    parts: dict[str, int]
    """Number of listed clips of each part."""
    key: str
    """The column that identifies a clip."""
    identity: Mapping[str, str]
    """The columns that fingerprints are made of, and what they are called in them."""
    reader: str = "table"
    """What has read it: esc50, fsd50k or table."""
    part_of_split: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    """What the corpus calls the parts that are used for training and for testing."""

    test_folds: tuple[int, ...] = ()
    """The folds that are for testing, where the corpus is a table with folds."""

    def select_split(self, split: str) -> CorpusIndex:
        """The clips of one split, train or test."""
        return replace(self, table=self.table[self.table["split"] == split])

    def usable(self) -> pd.DataFrame:
        """The rows whose file exists and is readable."""
        return self.table[self.table["problem"] == ""]

    def problems(self) -> list[Problem]:
        """One problem per listed file that is missing or unreadable."""
        broken = self.table[self.table["problem"] != ""]
        return [
            Problem(
                where=str(row.file),
                code="missing" if row.problem == NO_SUCH_FILE else "unreadable",
                what=f"{self.facts.name}: {row.problem}",
            )
            for row in broken.itertuples()
        ]

    def listing_sha256(self) -> str:
        """Fingerprint of what the corpus's tables list, which does not depend on the state of the files."""
        return self._hash(self.table, ())

    def headers_sha256(self) -> str:
        """Fingerprint of the listing together with every usable file's name, length, rate and channels."""
        return self._hash(self.usable(), ("file", *HEADER_COLUMNS))

    def _hash(self, table: pd.DataFrame, further: Sequence[str]) -> str:
        chosen = table[[*self.identity, *further]].rename(columns=dict(self.identity))
        return hash_bytes(chosen.to_csv(index=False, lineterminator="\n").encode())

    def warn_of_size(self) -> None:
        """Log a warning if the corpus differs in size from the published one."""
        published = self.facts.counts
        if not published or self.parts == published:
            return
        parts = ", ".join(f"{self.parts[part]:,} of {count:,} {part} clips" for part, count in published.items())
        missing = sum(published.values()) - sum(self.parts.values())
        sense = f"{abs(missing):,} {'fewer' if missing > 0 else 'more'} than" if missing else "not the same as"
        log.warning(
            "%s at %s lists %s: %s the published corpus; using the files that exist",
            self.facts.name,
            self.root,
            parts,
            sense,
        )


def check_folder(root: Path, corpus: str, landmark: str) -> None:
    """Refuse a folder that is not the corpus, and name the one directly below it that is.

    Raises:
        NotFoundError: the folder, or ``landmark`` in it, does not exist.
    """
    if not root.is_dir():
        raise NotFoundError(f"{root}: no such folder; give the folder of {corpus} that contains {landmark}")
    if not (root / landmark).exists():
        below = [child for child in sorted(root.iterdir()) if child.is_dir() and (child / landmark).exists()]
        hint = f"; did you mean {below[0]}?" if below else ""
        raise NotFoundError(f"{root}: this is not the folder of {corpus}: it does not contain {landmark}{hint}")


def check_labels(labels: Sequence[str], where: Path, lines: Sequence[int]) -> None:
    """Refuse labels that could not be folder names (in Scaper the label is the source's folder).

    Args:
        labels: the labels of a table's rows.
        where: the table.
        lines: the line of each row.

    Raises:
        InvalidInputError: names the first such label and its row.
    """
    for line, label in zip(lines, labels, strict=True):
        if not label:
            raise InvalidInputError(f"{where}, line {line}: the label is empty; give every row a label")
        if find_fault_of_plain(label):
            raise InvalidInputError(
                f"{where}, line {line}: the label {shorten_value(label)} cannot be a folder name; correct the table"
            )
