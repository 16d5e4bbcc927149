"""A user's own task: a table of files, labels and splits (``benchmark.tasks.splits`` describes its form).

``my.csv?duration_s=4&lr=1e-3``: the task is called ``my``; its files are next to the table (or in ``--data my=DIR``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.encoders.options import parse_options
from benchmark.tasks.contract import TaskFacts
from benchmark.tasks.labelled import count_clips
from benchmark.tasks.splits import read_splits
from bgknown.corpora.listing import find_files
from bgknown.errors import InvalidInputError
from bgknown.settings import read_options
from bgknown.userpath import user_path


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSettings:
    """The options that may follow the table's name."""

    duration_s: float | None = None
    """Cut or pad every clip to this many seconds; by default clips keep their lengths."""
    lr: float = 1e-3
    """Learning rate of the probe, for a protocol that does not search for one."""

    def __post_init__(self) -> None:
        if self.duration_s is not None and not 0 < self.duration_s <= 3600:
            raise InvalidInputError(f"duration_s is {self.duration_s}; it must be above 0 and at most 3600")
        if not 0 < self.lr < 1e3:
            raise InvalidInputError(f"lr is {self.lr}; it must be above 0 and below 1000")


def read_own_facts(name: str) -> TaskFacts:
    """The facts of a user's own task.

    Raises:
        NotFoundError, InvalidInputError: the table does not exist, or it or its options break a rule.
    """
    path, given = locate_table(name), name.partition("?")[2]
    settings = read_options(OwnSettings, parse_options(given, name), name)
    table = read_splits(path)
    return TaskFacts(
        name=path.stem,
        title=f"the clips of {path}",
        metric="accuracy",
        classes=table["label"].nunique(),
        counts=count_clips(table),
        duration_s=settings.duration_s,
        lr=settings.lr,
        licence="",
        citation="",
        url=str(path),
        protocol="search",
        groups="groups",
    )


def locate_table(name: str) -> Path:
    """The table of a user's own task."""
    return user_path(name.partition("?")[0])


def index_own(name: str, root: Path) -> pd.DataFrame:
    """The clips of a user's own task: file (as it is on disk), label, split or fold, group.

    Args:
        name: the table, with or without options.
        root: the folder that its files are in.

    Raises:
        NotFoundError, InvalidInputError: as ``read_own_facts``.
    """
    table = read_splits(locate_table(name))
    return table.assign(file=find_files(root, table["file"].tolist()))
