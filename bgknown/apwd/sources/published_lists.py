"""The published lists of the sources of APwD and of AudioDiffCaps.

Two layouts are known::

    background/fsd50k/{label}/{dev,eval}.csv    fname, label                    org_audio_csv/ of nttcslab/apwd-dataset
    event/esc50/*.csv                           fname, label, clean             (fold 5 is eval)

    bg/fsd50k.csv                               fname, label, split             audio_csv/ of nttcslab/audio-diff-caps
    ev/esc50.csv                                fname, label, split, st, ed     (active part, samples at 44.1 kHz)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bgknown.apwd.scenes import SPLITS
from bgknown.corpora import check_labels
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.paths import check_inside
from bgknown.tables import find_line_numbers, parse_whole_numbers, read_text_table
from bgknown.userpath import user_path

BACKGROUND, EVENT, FOREGROUND = "background", "event", "foreground"
APWD, AUDIODIFFCAPS = "org_audio_csv", "audio_csv"
"""The published layouts, by the names of their folders."""
_LANDMARKS = {APWD: ("background/fsd50k", "event/esc50"), AUDIODIFFCAPS: ("bg/fsd50k.csv", "ev/esc50.csv")}
_EVAL_FOLD = "5"
_ADVICE = "give the folder of published lists as it is in its repository"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A recording or clip to prepare."""

    role: str
    """background (of FSD50K) or event (of ESC-50)."""
    label: str
    """Its label in JAMS, and its folder."""
    split: str
    """dev or eval."""
    stem: str
    """FSD50K's recording id, or ESC-50's file name without its suffix."""
    active: tuple[int, int] | None = None
    """Published active part [start, stop) of an event, samples at 44.1 kHz."""

    @property
    def files(self) -> tuple[str, ...]:
        """Where it goes in the source tree; a background is also among the foregrounds."""
        roles = (BACKGROUND, FOREGROUND) if self.role == BACKGROUND else (FOREGROUND,)
        return tuple(f"{self.split}/{role}/{self.label}/{self.stem}.wav" for role in roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What a folder of published lists holds."""

    layout: str
    """org_audio_csv or audio_csv."""
    sources: tuple[SourceSpec, ...]
    """The sources to prepare, sorted."""
    not_clean: tuple[SourceSpec, ...]
    """Events that the lists mark as not clean, which are left out."""


def read_lists(folder: Path) -> Lists:
    """Published lists, of either layout.

    Args:
        folder: the folder of the lists, or the one that holds it.

    Raises:
        NotFoundError: there are no such lists.
        InvalidInputError: a list breaks a rule, or a recording is listed twice or in both splits; names file and line.
    """
    folder = user_path(folder)
    root, layout = _find_layout(folder)
    if layout == APWD:
        backgrounds = [
            row for path in _list_tables(root, "background/fsd50k/*/*.csv") for row in _read_apwd_backgrounds(path)
        ]
        events = [row for path in _list_tables(root, "event/esc50/*.csv") for row in _read_apwd_events(path)]
    else:
        backgrounds = list(_read_audiodiffcaps(root / "bg/fsd50k.csv", BACKGROUND))
        events = list(_read_audiodiffcaps(root / "ev/esc50.csv", EVENT))
    rows = [*backgrounds, *events]
    _check_disjoint([row for row, _ in rows], root)
    return Lists(
        layout=layout,
        sources=sort_sources(row for row, clean in rows if clean),
        not_clean=sort_sources(row for row, clean in rows if not clean),
    )


def sort_sources(specs: Iterable[SourceSpec]) -> tuple[SourceSpec, ...]:
    """Sources in the order of their files."""
    return tuple(sorted(specs, key=lambda row: row.files))


def _find_layout(folder: Path) -> tuple[Path, str]:
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder; {_ADVICE}")
    found = [
        (root, layout)
        for layout, landmarks in _LANDMARKS.items()
        for root in (folder, folder / layout)
        if all((root / landmark).exists() for landmark in landmarks)
    ]
    if not found:
        layouts = " or ".join(f"{' and '.join(landmarks)} ({layout}/)" for layout, landmarks in _LANDMARKS.items())
        raise NotFoundError(f"{folder}: does not hold published lists, which are {layouts}; {_ADVICE}")
    if len(found) > 1:
        raise InvalidInputError(
            f"{folder}: holds several sets of lists ({', '.join(str(root) for root, _ in found)}); give one of them"
        )
    return found[0]


def _list_tables(root: Path, pattern: str) -> list[Path]:
    paths = sorted(path for path in root.glob(pattern) if not path.name.startswith("."))
    if not paths:
        raise NotFoundError(f"{root}: no list {pattern}; {_ADVICE}")
    return paths


_Row = tuple[SourceSpec, bool]


def _read_apwd_backgrounds(path: Path) -> Iterator[_Row]:
    if path.stem not in SPLITS:
        raise InvalidInputError(f"{path}: a list of backgrounds is called {' or '.join(SPLITS)}.csv; {_ADVICE}")
    for stem, label in zip(*_parse_names(path, _read_list(path, [])), strict=True):
        yield SourceSpec(role=BACKGROUND, label=label, split=path.stem, stem=stem), True


def _read_apwd_events(path: Path) -> Iterator[_Row]:
    table = _read_list(path, ["clean"])
    rows = zip(find_line_numbers(table), *_parse_names(path, table), table["clean"], strict=True)
    for line, stem, label, clean in rows:
        if clean.strip().upper() not in {"TRUE", "FALSE"}:
            raise InvalidInputError(f"{path}, line {line}: clean is {clean[:40]!r}, must be TRUE or FALSE")
        if stem[0] not in "12345":
            raise InvalidInputError(f"{path}, line {line}: {stem!r} must begin with its fold in ESC-50, 1 to 5")
        split = "eval" if stem[0] == _EVAL_FOLD else "dev"
        yield SourceSpec(role=EVENT, label=label, split=split, stem=stem), clean.strip().upper() == "TRUE"


def _read_audiodiffcaps(path: Path, role: str) -> Iterator[_Row]:
    bounds = ["st", "ed"] if role == EVENT else []
    table = _read_list(path, ["split", *bounds])
    active: list[tuple[int, int] | None] = [None] * len(table)
    if bounds:
        active = list(zip(*(parse_whole_numbers(table, name, path) for name in bounds), strict=True))
    rows = zip(find_line_numbers(table), *_parse_names(path, table), table["split"], active, strict=True)
    for line, stem, label, split, part in rows:
        if split not in SPLITS:
            raise InvalidInputError(f"{path}, line {line}: split is {split[:40]!r}, must be {' or '.join(SPLITS)}")
        if part is not None and not 0 <= part[0] < part[1]:
            raise InvalidInputError(f"{path}, line {line}: st {part[0]} and ed {part[1]} must be 0 <= st < ed")
        yield SourceSpec(role=role, label=label, split=split, stem=stem, active=part), True


def _read_list(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    return read_text_table(path, ["fname", "label", *columns], advice=_ADVICE)


def _parse_names(path: Path, table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The file names of a list without their suffix, and its labels."""
    labels = table["label"].tolist()
    lines = find_line_numbers(table)
    check_labels(labels, path, lines)
    stems = [name.strip().removesuffix(".wav") for name in table["fname"]]
    check_inside(stems, lines, path, "fname", plain=True)
    return stems, labels


def _check_disjoint(rows: Sequence[SourceSpec], root: Path) -> None:
    splits: dict[tuple[str, str], str] = {}
    for row in rows:
        if splits.setdefault((row.role, row.stem), row.split) != row.split:
            raise InvalidInputError(
                f"{root}: the {row.role} {row.stem} is listed in both dev and eval; no source may be in both"
            )
