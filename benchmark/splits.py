"""Tables of splits: file_name, label, and split (train, valid, test) or fold, the form in which EVAR publishes them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.listing import find_files, is_audio, nfc, report_hidden
from bgknown.tables import read_text_table
from bgknown.userpath import user_path

FORM = "it must have the columns file_name (or file), label, and split (train, valid, test) or fold; group is optional"


def read_splits(path: Path) -> pd.DataFrame:
    """Read a table of splits.

    Returns:
        file, label, split or fold, and group (empty where the table has none); rows without a split, which are clips
        that are not used, and rows of hidden files are left out.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is no such table.
    """
    path = user_path(path)
    header = _header(path)
    named = "file_name" if "file_name" in header else "file"
    part = "fold" if "fold" in header and "split" not in header else "split"
    wanted = [named, "label", part, *(["group"] if "group" in header else [])]
    table = read_text_table(path, wanted, advice=FORM).rename(columns={named: "file"})
    table["file"] = [PurePosixPath(name.replace("\\", "/")).as_posix() for name in table["file"]]
    table["label"] = table["label"].str.strip()
    table[part] = table[part].str.strip().str.removesuffix(".0")
    hidden = table["file"].str.rpartition("/")[2].str.startswith(".")
    report_hidden(path, table["file"][hidden].tolist())
    table = table[(table[part] != "") & ~hidden].reset_index(drop=True)
    if table.empty:
        raise InvalidInputError(f"{path}: no clip has a {part}")
    return table if "group" in table else table.assign(group="")


def applied(path: Path, table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """A corpus's clips with the labels and splits of a table in place of their own.

    Names are compared without their types (.wav, .flac, .ogg), and may have folders more or fewer in front. A clip of
    the corpus that is not in the table is not used.

    Args:
        path: the table of splits.
        table: the corpus's own table, with file and group.
        root: the corpus's folder; the table may also name files there that the corpus's own table leaves out.

    Raises:
        NotFoundError: there is no such table, or files that it names are not in the corpus.
        InvalidInputError: it is no such table, or a name in it fits several clips.
    """
    wanted = read_splits(path)
    files = _matched(wanted["file"].tolist(), table["file"].tolist(), root, path)
    own = dict(zip(table["file"], table["group"], strict=True))
    groups = [given or own.get(file, "") for file, given in zip(files, wanted["group"], strict=True)]
    return wanted.assign(file=files, group=groups)


def _header(path: Path) -> list[str]:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; {FORM}")
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            return next(csv.reader(file), [])
        except csv.Error as error:
            raise InvalidInputError(f"{path}: not a CSV table ({error}); {FORM}") from error


def _matched(names: Sequence[str], files: Sequence[str], root: Path, path: Path) -> list[str]:
    """The corpus's file for every name of a table of splits."""
    by_stem = {_stem(file): file for file in files}
    tails: dict[str, list[str]] = {}
    for stem, file in by_stem.items():
        for tail in _tails(stem)[1:]:
            tails.setdefault(tail, []).append(file)
    found, unknown = [], []
    for name in names:
        stem = _stem(name)
        fits = [by_stem[tail] for tail in _tails(stem) if tail in by_stem][:1] or tails.get(stem, [])
        if len(fits) > 1:
            raise InvalidInputError(f"{path}: {name} may be {fits[0]} or {fits[1]} of {root}; name it with its folder")
        there = fits[0] if fits else find_files(root, [name], [])[0]
        if not fits and not (root / there).is_file():
            unknown.append(name)
        found.append(there)
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise NotFoundError(f"{path}: {unknown[0]}{more} is not in {root}; names must be relative to that folder")
    return found


def _stem(name: str) -> str:
    """A name without the type of audio file, in one Unicode form."""
    path = PurePosixPath(nfc(name))
    return str(path.with_suffix("")) if is_audio(path.name) else str(path)


def _tails(stem: str) -> list[str]:
    """A name, then the same with one folder after another taken off in front."""
    parts = stem.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]
