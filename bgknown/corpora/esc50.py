"""ESC-50: Environmental Sound Classification, 2,000 clips of 5 s in 50 classes and 5 folds.

Layout::

    meta/esc50.csv                            filename, fold, target, category, esc10, src_file, take
    audio/{fold}-{clip}-{take}-{target}.wav   also .flac, .ogg and others: files are found by their stem
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from bgknown.corpora import CorpusFacts, CorpusIndex, check_folder, check_labels
from bgknown.corpora.headers import read_header_facts
from bgknown.corpora.listing import find_by_stem
from bgknown.errors import InvalidInputError
from bgknown.paths import check_inside
from bgknown.tables import find_line_numbers, parse_whole_numbers, read_text_table

FACTS = CorpusFacts(
    name="ESC-50",
    counts={"esc50": 2000},
    licence="CC BY-NC (the ESC-10 part: CC BY)",
    citation=(
        "K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015, "
        "doi:10.1145/2733373.2806390"
    ),
    url="https://github.com/karolpiczak/ESC-50",
)

TABLE = "meta/esc50.csv"
COLUMNS = ["filename", "fold", "target", "category", "src_file"]
FOLDS = (1, 2, 3, 4, 5)
SPLIT_OF_FOLD = {1: "train", 2: "train", 3: "train", 4: "test", 5: "test"}
"""Folds 1-3 are for training, 4 and 5 for testing (Takeuchi et al., section 5.2)."""
_IDENTITY = {**{name: name for name in ("clip_id", "fold", "target", "category")}, "source": "freesound_id"}
"""See ``CorpusIndex``."""


def index(root: Path, *, cache: Path) -> CorpusIndex:
    """Read the table and every file's header.

    Args:
        root: folder of ESC-50.
        cache: folder of the header cache.

    Returns:
        Table columns: those of ``read_listing``, then the files' header facts; sorted by clip_id.

    Raises:
        NotFoundError: the folder, its table or its audio folder is missing.
        InvalidInputError: the table breaks a rule; the message names the line.
    """
    clips = read_listing(root)
    facts = read_header_facts(root, clips["file"].tolist(), cache=cache, title="ESC-50 headers")
    return CorpusIndex(
        facts=FACTS,
        root=root,
        table=pd.concat([clips, facts], axis=1),
        parts={"esc50": len(clips)},
        key="clip_id",
        identity=_IDENTITY,
        reader="esc50",
    )


def read_listing(root: Path) -> pd.DataFrame:
    """Read the table alone; sorted by clip_id.

    Returns:
        clip_id (the stem), fold, split, target, category, source (the Freesound id), group (the same) and file.

    Raises:
        NotFoundError, InvalidInputError: as ``index``.
    """
    check_folder(root, FACTS.name, TABLE)
    path = root / TABLE
    table = read_text_table(path, COLUMNS, advice=f"ESC-50's own has {', '.join(COLUMNS)} (see {FACTS.url})")
    lines = find_line_numbers(table)
    check_inside(table["filename"], lines, path, "filename", plain=True)
    stems = [PurePosixPath(name).stem for name in table["filename"]]
    clips = pd.DataFrame(
        {
            "clip_id": stems,
            "fold": _parse_numbers_within(table, "fold", path, low=1, high=5),
            "target": _parse_numbers_within(table, "target", path, low=0, high=49),
            "category": table["category"],
            "source": table["src_file"].str.strip(),
        }
    )
    clips.insert(2, "split", clips["fold"].map(SPLIT_OF_FOLD))
    clips["group"] = clips["source"]
    check_labels(clips["category"].tolist(), path, lines)
    repeated = clips["clip_id"][clips["clip_id"].duplicated()]
    if not repeated.empty:
        raise InvalidInputError(f"{path}, line {lines[repeated.index[0]]}: the clip {repeated.iloc[0]} is listed twice")
    clips = clips.sort_values("clip_id", ignore_index=True)
    names = find_by_stem(root / "audio", clips["clip_id"].tolist(), missing_suffix=".wav")
    return clips.assign(file=[f"audio/{name}" for name in names])


def _parse_numbers_within(table: pd.DataFrame, column: str, path: Path, *, low: int, high: int) -> list[int]:
    numbers = parse_whole_numbers(table, column, path)
    for line, number in zip(find_line_numbers(table), numbers, strict=True):
        if not low <= number <= high:
            raise InvalidInputError(f"{path}, line {line}: {column} is {number}; it must be in {low}..{high}")
    return numbers
