"""Tables of splits: file_name, label, and split (train, valid, test) or fold, the form in which EVAR publishes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath, PurePosixPath

import pandas as pd

from bgknown.corpora.listing import compose_name, find_files, is_audio, report_hidden
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.paths import find_fault
from bgknown.shown import escape_line
from bgknown.tables import find_line_numbers, read_csv, select
from bgknown.userpath import user_path

FORM = "it must have the columns file_name (or file), label, and split (train, valid, test) or fold; group is optional"


def read_splits(path: Path) -> pd.DataFrame:
    """Read a table of splits.

    Returns:
        file, label, split or fold, and group (empty where the table has none); rows without a split, which are clips
        that are not used, and rows of hidden files are left out.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: it is not such a table.
    """
    path = user_path(path)
    whole = read_csv(path, advice=FORM)
    named = "file_name" if "file_name" in whole else "file"
    part = "fold" if "fold" in whole and "split" not in whole else "split"
    columns = [named, "label", part, *(["group"] if "group" in whole else [])]
    table = select(whole, columns, path, advice=FORM).rename(columns={named: "file"})
    _check_names(table["file"], find_line_numbers(whole), path)
    table["file"] = [PurePosixPath(name.replace("\\", "/")).as_posix() for name in table["file"]]
    table["label"] = table["label"].str.strip()
    table[part] = table[part].str.strip().str.removesuffix(".0")
    hidden = table["file"].str.rpartition("/")[2].str.startswith(".")
    report_hidden(path, table["file"][hidden].tolist())
    table = table[(table[part] != "") & ~hidden].reset_index(drop=True)
    if table.empty:
        raise InvalidInputError(f"{path}: no clip has a {part}")
    return table if "group" in table else table.assign(group="")


def apply_splits(path: Path, table: pd.DataFrame, root: Path) -> pd.DataFrame:
    """The clips of a corpus with the labels and splits of another table.

    Names are compared without their types (.wav, .flac, .ogg), and may have folders more or fewer in front. A clip of
    the corpus that is not in the table is not used.

    Args:
        path: the table of splits.
        table: the corpus's own table, with file and group.
        root: the corpus's folder; the table may also name files there that the corpus's own table leaves out.

    Raises:
        NotFoundError: the table, or a file that it names, does not exist.
        InvalidInputError: it is not such a table, or a name in it fits several clips.
    """
    chosen = read_splits(path)
    files = _match(chosen["file"].tolist(), table["file"].tolist(), root, path)
    own = dict(zip(table["file"], table["group"], strict=True))
    groups = [given or own.get(file, "") for file, given in zip(files, chosen["group"], strict=True)]
    return chosen.assign(file=files, group=groups)


def _check_names(names: Iterable[str], lines: Sequence[int], path: Path) -> None:
    """Refuse names that lead out of the folder; absolute paths are the user's own word for where a file is."""
    for line, name in zip(lines, names, strict=True):
        own = PurePath(name.replace("\\", "/"))
        if fault := find_fault(own.relative_to(own.anchor).as_posix() if own.is_absolute() else name):
            raise InvalidInputError(
                f"{path}, line {line}: the file {shorten_value(name)} {fault}; "
                "it must be a path inside the folder, or absolute"
            )


def _match(names: Sequence[str], files: Sequence[str], root: Path, path: Path) -> list[str]:
    """The corpus's file for every name of a table of splits.

    A name is looked for as it is, then without its type, then with folders fewer in front, then with more; the first
    of these that finds anything must find one file alone.
    """
    exact = set(files)
    by_stem: dict[str, list[str]] = {}
    tails: dict[str, list[str]] = {}
    for file in files:
        stem = _stem(file)
        by_stem.setdefault(stem, []).append(file)
        for tail in _list_tails(stem)[1:]:
            tails.setdefault(tail, []).append(file)
    found, unknown = [], []
    for name in names:
        stem = _stem(name)
        near = next((by_stem[tail] for tail in _list_tails(stem) if tail in by_stem), [])
        fits = [name] if name in exact else near or tails.get(stem, [])
        if len(fits) > 1:
            raise InvalidInputError(
                f"{path}: {escape_line(name)} may be {fits[0]} or {fits[1]} in {root}; add its folder and suffix"
            )
        there = fits[0] if fits else find_files(root, [name], [])[0]
        if not fits and (PurePosixPath(name).is_absolute() or not (root / there).is_file()):
            unknown.append(name)
        found.append(there)
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise NotFoundError(
            f"{path}: {escape_line(unknown[0])}{more} is not in {root}; names must be relative to that folder"
        )
    return found


def _stem(name: str) -> str:
    """A name without the type of audio file, in one Unicode form."""
    path = PurePosixPath(compose_name(name))
    return str(path.with_suffix("")) if is_audio(path.name) else str(path)


def _list_tails(stem: str) -> list[str]:
    """A name, then the same with one folder after another taken off in front."""
    parts = stem.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]
