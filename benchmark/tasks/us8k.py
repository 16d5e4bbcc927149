"""UrbanSound8K: urban sounds, ten official folds.

Layout::

    metadata/UrbanSound8K.csv                    slice_file_name, fold, class, and more
    audio/fold{n}/{fsID}-{class}-{occurrence}-{slice}.wav
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmark.tasks.contract import PLAIN, TaskFacts
from bgknown.corpora import check_folder
from bgknown.corpora.listing import find_files
from bgknown.errors import InvalidInputError
from bgknown.paths import check_inside
from bgknown.tables import find_line_numbers, parse_whole_numbers, read_text_table

_TABLE = "metadata/UrbanSound8K.csv"
FOLD_SIZES = (873, 888, 925, 990, 936, 823, 838, 806, 816, 837)

FACTS = TaskFacts(
    name="us8k",
    title="UrbanSound8K: urban sounds",
    metric="accuracy",
    classes=10,
    counts={f"fold {fold}": size for fold, size in enumerate(FOLD_SIZES, start=1)},
    duration_s=4.0,
    lr=3e-5,
    licence="CC BY-NC 3.0",
    citation="J. Salamon, C. Jacoby and J. P. Bello, A Dataset and Taxonomy for Urban Sound Research, ACM MM 2014",
    url="https://urbansounddataset.weebly.com/urbansound8k.html",
    protocol="evar",
    groups="Freesound recordings",
)
SETTINGS = PLAIN


def index(root: Path) -> pd.DataFrame:
    """Read the table of UrbanSound8K: file, label, fold, group (the Freesound recording).

    Raises:
        NotFoundError: the folder or its table is missing.
        InvalidInputError: the table breaks a rule; names the line.
    """
    check_folder(root, "UrbanSound8K", _TABLE)
    path = root / _TABLE
    columns = ["slice_file_name", "fold", "class"]
    table = read_text_table(path, columns, advice=f"UrbanSound8K's own has {', '.join(columns)} (see {FACTS.url})")
    folds = parse_whole_numbers(table, "fold", path)
    lines = find_line_numbers(table)
    check_inside(table["slice_file_name"], lines, path, "slice_file_name", plain=True)
    for line, fold in zip(lines, folds, strict=True):
        if not 1 <= fold <= len(FOLD_SIZES):
            raise InvalidInputError(f"{path}, line {line}: fold is {fold}; it must be from 1 to {len(FOLD_SIZES)}")
    files = [f"audio/fold{fold}/{name}" for fold, name in zip(folds, table["slice_file_name"], strict=True)]
    return pd.DataFrame(
        {
            "file": find_files(root, files),
            "label": table["class"],
            "fold": [str(fold) for fold in folds],
            "group": [name.split("-")[0] for name in table["slice_file_name"]],
        }
    )
