"""A user's own corpus: a table of files, with labels and with splits or folds.

Layout::

    corpus.csv     file, label, split or fold; optionally group, source, licence, uploader, title
    ...            the files, at paths relative to the table's folder; any type of audio, in any folders

- ``label``: the class of a clip; of a background its labels with commas, of which the first is Scaper's.
- ``split``: train or test, or what others call them (``SPLIT_NAMES``).
- ``fold``: a whole number; some folds are for testing, by default the highest 40 %, as folds 4 and 5 of ESC-50's five.
- ``source``: the sound that a file was cut from; a Freesound id, its address, or any other name. Where it is
  missing or empty, it is the id in the file's name, as ESC-50, UrbanSound8K and Freesound give them.
- ``group``: what belongs together beyond that, such as a speaker or a place; by default the source.

No source and no group may be in both splits.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from bgknown.corpora import CorpusFacts, CorpusIndex, check_labels
from bgknown.corpora.headers import read_header_facts
from bgknown.corpora.listing import compose_name, find_files, report_hidden
from bgknown.corpora.names import drop_type, name_clip, name_clip_by_path
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError
from bgknown.freesound import find_distinctive_id
from bgknown.paths import check_inside
from bgknown.shown import name_few
from bgknown.tables import find_line_numbers, parse_whole_numbers, read_csv, select
from bgknown.userpath import user_path

log = logging.getLogger(__name__)

TABLE_FORM = "it must have the columns file, label, and split (train, test) or fold; group and source are optional"
OPTIONAL_FACTS = ("group", "source", "licence", "uploader", "title")
"""Columns that a table may have; without them they are empty."""
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "dev", "development", "val", "valid", "validation"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""What tables call the two splits, in capitals or not."""
TEST_SHARE = 0.4
"""The share of the folds that is for testing, by default."""
LONGEST_CLIP_ID_BYTES = 200
"""Names of files may have 255; the number of the draw, the SNR and the type are added."""
_SPLITS = ("train", "test")
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?freesound\.org/(?:s|people/[^/]+/sounds)/([1-9][0-9]{0,8})/?")
_CLIP_IDENTITY = ("clip_id", "fold", "split", "target", "category", "source", "group")
_RECORDING_IDENTITY = ("recording_id", "split", "labels", "label", "source", "group")


def index_foreground(path: Path, *, cache: Path, test_folds: Sequence[int] = ()) -> CorpusIndex:
    """Read a table of clips and every file's header.

    Args:
        path: the table.
        cache: folder of the header cache.
        test_folds: the folds that are for testing; by default the highest 40 %.

    Returns:
        Table columns: those of ``CorpusIndex``, licence, uploader and title; sorted by clip_id.

    Raises:
        NotFoundError: the table does not exist.
        InvalidInputError: it breaks a rule; the message names the line.
    """
    table, folds = _read_rows(path, test_folds)
    check_labels(table["label"].tolist(), path, table["line"].tolist())
    classes = sorted(set(table["label"]))
    _warn_of_classes(table, path)
    clips = pd.DataFrame(
        {
            "clip_id": _name_clips(table["file"].tolist(), path),
            **{name: table[name] for name in ("fold", "split")},
            "target": [classes.index(label) for label in table["label"]],
            "category": table["label"],
            **{name: table[name] for name in ("source", "group", "licence", "uploader", "title", "file")},
        }
    ).sort_values("clip_id", ignore_index=True)
    return _make_index(path, clips, key="clip_id", identity=_CLIP_IDENTITY, cache=cache, test_folds=folds)


def index_background(path: Path, *, cache: Path, test_folds: Sequence[int] = ()) -> CorpusIndex:
    """Read a table of recordings and every file's header; arguments and errors as ``index_foreground``.

    Returns:
        Table columns: those of ``CorpusIndex``, licence, uploader and title; sorted by recording_id, which is the file
        without its type.
    """
    table, folds = _read_rows(path, test_folds)
    labels = [text.split(",")[0].strip() for text in table["label"]]
    check_labels(labels, path, table["line"].tolist())
    recordings = pd.DataFrame(
        {
            "recording_id": [drop_type(file) for file in table["file"]],
            "split": table["split"],
            "labels": table["label"],
            "label": labels,
            **{name: table[name] for name in ("source", "group", "licence", "uploader", "title", "file")},
        }
    ).sort_values("recording_id", ignore_index=True)
    return _make_index(
        path, recordings, key="recording_id", identity=_RECORDING_IDENTITY, cache=cache, test_folds=folds
    )


def _warn_of_classes(table: pd.DataFrame, path: Path) -> None:
    """Log a warning about clips that no probe can be trained or tested on."""
    train, test = (set(table["label"][table["split"] == split]) for split in _SPLITS)
    if len(train | test) == 1:
        log.warning("%s: has a single class, %s, so nothing can be learned from the labels", path, *(train | test))
    if not (train and test):
        log.warning("%s: lists no clips for %s, so nothing can be measured", path, "testing" if train else "training")
    elif test - train:
        log.warning(
            "%s: classes for testing that training lacks cannot be learned: %s", path, name_few(sorted(test - train))
        )


def _make_index(
    path: Path, table: pd.DataFrame, *, key: str, identity: Sequence[str], cache: Path, test_folds: Sequence[int]
) -> CorpusIndex:
    root = user_path(path).parent
    table = table.assign(file=find_files(root, table["file"].tolist()))
    facts = read_header_facts(root, table["file"].tolist(), cache=cache, title=f"{path.stem} headers")
    licences = sorted(set(table["licence"]) - {""})
    return CorpusIndex(
        facts=CorpusFacts(name=path.stem, counts={}, licence=", ".join(licences), citation="", url=""),
        root=root,
        table=pd.concat([table, facts], axis=1),
        parts={split: int((table["split"] == split).sum()) for split in _SPLITS},
        key=key,
        identity={name: name for name in identity},
        test_folds=tuple(test_folds),
    )


def _read_rows(path: Path, test_folds: Sequence[int]) -> tuple[pd.DataFrame, list[int]]:
    """The rows of a table: file, label, fold (0 for none), split and ``OPTIONAL_FACTS``; and the folds for testing."""
    path = user_path(path)
    whole = read_csv(path, advice=TABLE_FORM)
    if "file" not in whole and "file_name" in whole:
        whole = whole.rename(columns={"file_name": "file"})
    by_fold = "fold" in whole and ("split" not in whole or bool(test_folds))
    needed = ["file", "label", "fold" if by_fold else "split"]
    optional = [name for name in ("fold", *OPTIONAL_FACTS) if name in whole and name not in needed]
    table = select(whole, [*needed, *optional], path, advice=TABLE_FORM)
    lines = list(find_line_numbers(whole))
    check_inside(table["file"], lines, path, "file")
    table = table.apply(lambda column: column.str.strip())
    table["file"] = [PurePosixPath(name.replace("\\", "/")).as_posix() for name in table["file"]]
    _check_repeats(table["file"].tolist(), lines, path)
    folds: list[int] = []
    table["fold"] = _parse_folds(whole, path) if "fold" in table else 0
    if by_fold:
        folds = _choose_test_folds(set(table["fold"]), test_folds, path)
        table["split"] = ["test" if fold in folds else "train" for fold in table["fold"]]
    else:
        table["split"] = _parse_splits(table["split"].tolist(), lines, path)
    table = _add_sources(table)
    table["line"] = lines
    for column in ("source", "group"):
        _check_sides(table, column, path)
    hidden = table["file"].str.rpartition("/")[2].str.startswith(".")
    report_hidden(path, table["file"][hidden].tolist())
    table = table[~hidden].reset_index(drop=True)
    if table.empty:
        raise InvalidInputError(f"{path}: lists hidden files only; list the audio files")
    return table, folds


def _parse_folds(table: pd.DataFrame, path: Path) -> list[int]:
    return parse_whole_numbers(table.assign(fold=table["fold"].str.removesuffix(".0")), "fold", path)


def _choose_test_folds(folds: set[int], given: Sequence[int], path: Path) -> list[int]:
    ordered = sorted(folds)
    unknown = sorted(set(given) - folds)
    if unknown:
        raise InvalidInputError(
            f"{path}: has no fold {unknown[0]} to test on; its folds are {', '.join(map(str, ordered))}"
        )
    if len(ordered) == 1:
        raise InvalidInputError(f"{path}: has a single fold, {ordered[0]}; give at least two, or a column split")
    if len(set(given)) == len(ordered):
        raise InvalidInputError(f"{path}: all its folds are for testing; leave some of them for training")
    count = min(max(round(TEST_SHARE * len(ordered)), 1), len(ordered) - 1)
    return sorted(set(given)) or ordered[-count:]


def _parse_splits(names: Sequence[str], lines: Sequence[int], path: Path) -> list[str]:
    for line, name in zip(lines, names, strict=True):
        if name.lower() not in SPLIT_NAMES:
            raise InvalidInputError(
                f"{path}, line {line}: split is {shorten_value(name)}; it must be train (or training, dev, val, valid, "
                "validation) or test (or eval, evaluation)"
            )
    return [SPLIT_NAMES[name.lower()] for name in names]


def _check_repeats(files: Sequence[str], lines: Sequence[int], path: Path) -> None:
    """Refuse files that are listed twice, or whose names differ in their type only: both are called the same."""
    first: dict[str, tuple[str, int]] = {}
    for line, file in zip(lines, files, strict=True):
        before, at = first.setdefault(compose_name(drop_type(file)), (file, line))
        if at != line:
            what = "is listed twice" if before == file else f"differs from {shorten_value(before)} in its type only"
            raise InvalidInputError(
                f"{path}, line {line}: the file {shorten_value(file)} {what} (see line {at}); list every sound once"
            )


def _add_sources(table: pd.DataFrame) -> pd.DataFrame:
    """The table with all of ``OPTIONAL_FACTS``; sources from names of files where none is given."""
    given = table["source"] if "source" in table else [""] * len(table)
    sources = [
        _read_source(text) or str(find_distinctive_id(file) or "")
        for text, file in zip(given, table["file"], strict=True)
    ]
    table = table.assign(source=sources)
    groups = table["group"] if "group" in table else pd.Series("", index=table.index)
    table["group"] = groups.where(groups != "", table["source"])
    return table.assign(**{name: "" for name in OPTIONAL_FACTS if name not in table})


def _read_source(text: str) -> str:
    """A source as it is compared: a sound on Freesound by its id, whether given as that or as its address."""
    match = _ADDRESS.fullmatch(text)
    return match[1] if match else text


def _check_sides(table: pd.DataFrame, column: str, path: Path) -> None:
    """Refuse what is in both splits, where it would be recognised instead of its class."""
    known = table[table[column] != ""]
    sides = known.groupby(column)["split"].nunique()
    both = known[known[column].isin(sides[sides > 1].index)]
    if both.empty:
        return
    name = both[column].iloc[0]
    train, test = (both["line"][(both[column] == name) & (both["split"] == split)].iloc[0] for split in _SPLITS)
    count = both[column].nunique()
    more = f" (and {count - 1:,} more)" if count > 1 else ""
    raise InvalidInputError(
        f"{path}: the {column} {shorten_value(name)}{more} is in train (line {train}) and in test (line {test}); "
        "put its files into one split"
    )


def _name_clips(files: Sequence[str], path: Path) -> list[str]:
    """A name for every clip: that of its file or, where several have it, its path; also on disks without capitals."""
    names = [name_clip(file) for file in files]
    counts = Counter(map(_fold_case, names))
    names = [
        name if counts[_fold_case(name)] == 1 else name_clip_by_path(file)
        for name, file in zip(names, files, strict=True)
    ]
    taken: dict[str, str] = {}
    for name, file in zip(names, files, strict=True):
        other = taken.setdefault(_fold_case(name), file)
        if other != file:
            raise InvalidInputError(
                f"{path}: {shorten_value(other)} and {shorten_value(file)} would both be called {shorten_value(name)} "
                "in the dataset; rename one of them"
            )
        if len(name.encode()) > LONGEST_CLIP_ID_BYTES:
            raise InvalidInputError(
                f"{path}: the name {shorten_value(name)} has {len(name.encode())} bytes; "
                f"at most {LONGEST_CLIP_ID_BYTES} fit into the names of the dataset's files; rename the file"
            )
    return names


def _fold_case(name: str) -> str:
    return compose_name(name).casefold()
