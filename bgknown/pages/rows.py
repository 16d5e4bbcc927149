"""What a page of a dataset shows, whatever the dataset: rows as columns for the script, and facts for the header."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgknown import seeding
from bgknown.pages.listening import AudioRow

MOST_ROWS = 3_000
"""Rows of a page where no number is given; larger datasets are sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSignal:
    """One of the signals that a row of a page lets people hear."""

    name: str
    """Short, for buttons."""
    about: str
    """What it is, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact of a page's header."""

    name: str
    """What it is."""
    value: str
    """Its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """Whether the dataset passed its checks."""

    full: bool
    """Whether every file was checked, and not the tables alone."""
    faults: tuple[str, ...]
    """What was found, one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageListing:
    """The rows of a page and the facts of its header."""

    kind: str
    """mixtures or pairs: which script describes a row."""
    title: str
    """What the dataset is called."""
    total: int
    """Rows of the dataset; a page may show some of them."""
    signals: tuple[PageSignal, ...]
    """The signals of every row, in the order of their keys."""
    columns: dict[str, Any]
    """One list per column, a value per row; see the scripts."""
    audio: tuple[AudioRow, ...]
    """The audio of every row."""
    facts: tuple[Fact, ...]
    """Facts of the whole dataset."""
    corpora: tuple[dict[str, str], ...] = ()
    """Name, licence and address of each corpus."""
    licences: tuple[tuple[str, int], ...] = ()
    """How many sources have each licence, where that is known."""
    snr_bars: tuple[SnrBar, ...] = ()
    """The histogram of the SNR."""
    notes: tuple[str, ...] = ()
    """What else to know, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnrBar:
    """A bar of the histogram."""

    low_db: float
    """Its lower edge."""
    high_db: float
    """Its upper edge, which belongs to the next bar."""
    train: int
    """Rows of the training set in it."""
    test: int
    """Rows of the test set in it."""


def choose_rows(names: Sequence[str], groups: Sequence[object], count: int | None) -> list[int]:
    """Choose rows at random, of as many groups as possible; a smaller number chooses some of the rows of a larger.

    Args:
        names: the name of each row.
        groups: the group of each row, such as its class and split.
        count: how many; None for all, up to ``MOST_ROWS``.

    Returns:
        their places, in order.
    """
    wanted = MOST_ROWS if count is None else count
    if wanted >= len(names):
        return list(range(len(names)))
    ranks = seeding.draw_ranks(0, "page", names)
    order = np.argsort(ranks, kind="stable").tolist()
    rounds: dict[object, int] = {}
    placed: list[tuple[int, int, int]] = []
    for place in order:
        rounds[groups[place]] = rounds.get(groups[place], -1) + 1
        placed.append((rounds[groups[place]], len(placed), place))
    return sorted(place for _, _, place in sorted(placed)[:wanted])


def index_values(values: Iterable[str]) -> dict[str, Any]:
    """A column in which few values repeat often: the values, sorted, and each row's place among them."""
    listed = list(values)
    known = sorted(set(listed))
    places = {value: place for place, value in enumerate(known)}
    return {"values": known, "places": [places[value] for value in listed]}


def count_snr(snr_db: NDArray[np.float64], is_test: NDArray[np.bool_]) -> tuple[SnrBar, ...]:
    """The histogram of [rows] SNRs, in at most 24 bars of a round width."""
    low, high = float(snr_db.min()), float(snr_db.max())
    width = next(step for step in (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 1e3) if (high - low) / step <= 22)
    first = np.floor(round(low / width, 6))
    places = np.floor(np.round(snr_db / width, 6)).astype(np.int64) - int(first)
    bars = int(places.max()) + 1
    counts = [np.bincount(places[chosen], minlength=bars) for chosen in (~is_test, is_test)]
    return tuple(
        SnrBar(
            low_db=round((first + bar) * width, 6),
            high_db=round((first + bar + 1) * width, 6),
            train=int(counts[0][bar]),
            test=int(counts[1][bar]),
        )
        for bar in range(bars)
    )
