"""FSD50K: 51,197 Freesound clips in 200 classes, split into development and evaluation sets.

Layout::

    FSD50K.ground_truth/dev.csv    fname, labels, mids, split
    FSD50K.ground_truth/eval.csv   fname, labels, mids
    FSD50K.dev_audio/{fname}.wav   also .flac, .ogg and others: files are found by their stem
    FSD50K.eval_audio/{fname}.wav

A clip's name is its Freesound id.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bgknown.corpora import CorpusFacts, CorpusIndex, check_folder, check_labels
from bgknown.corpora.headers import read_header_facts
from bgknown.corpora.listing import find_by_stem
from bgknown.errors import InvalidInputError
from bgknown.paths import check_inside
from bgknown.tables import find_line_numbers, read_text_table

FACTS = CorpusFacts(
    name="FSD50K",
    counts={"dev": 40_966, "eval": 10_231},
    licence="CC0, CC BY, CC BY-NC or CC Sampling+ for each clip (see its metadata); the dataset as a whole CC BY 4.0",
    citation=(
        "E. Fonseca, X. Favory, J. Pons, F. Font and X. Serra, FSD50K: An Open Dataset of Human-Labeled Sound Events, "
        "IEEE/ACM TASLP 30, 2022, doi:10.1109/TASLP.2021.3133208"
    ),
    url="https://zenodo.org/records/4060432",
)

PARTS = ("dev", "eval")
PART_OF_SPLIT = {"train": "dev", "test": "eval"}
"""Which part gives the backgrounds of each split of a dataset."""
_IDENTITY = {name: name for name in ("recording_id", "part", "labels", "label")}
"""See ``CorpusIndex``."""
COLUMNS = ["fname", "labels"]


def index(root: Path, *, cache: Path) -> CorpusIndex:
    """Read both tables and every file's header.

    Args:
        root: folder of FSD50K.
        cache: folder of the header cache.

    Returns:
        Table columns: recording_id, part (dev or eval), split, labels, label (the first of labels), source and group
        (the Freesound id, which is the recording_id), then file and its header facts; sorted by part and recording_id.

    Raises:
        NotFoundError: the folder, a table or an audio folder is missing.
        InvalidInputError: a table breaks a rule; the message names the line.
    """
    check_folder(root, FACTS.name, "FSD50K.ground_truth")
    recordings = pd.concat([_read_part(root, part) for part in PARTS], ignore_index=True)
    shared = recordings["recording_id"][recordings["recording_id"].duplicated()]
    if not shared.empty:
        raise InvalidInputError(
            f"{root}: recording {shared.iloc[0]} is listed twice; no recording may be in both dev and eval"
        )
    facts = read_header_facts(root, recordings["file"].tolist(), cache=cache, title="FSD50K headers")
    return CorpusIndex(
        facts=FACTS,
        root=root,
        table=pd.concat([recordings, facts], axis=1),
        parts={part: int((recordings["part"] == part).sum()) for part in PARTS},
        key="recording_id",
        identity=_IDENTITY,
        reader="fsd50k",
        part_of_split=PART_OF_SPLIT,
    )


def _read_part(root: Path, part: str) -> pd.DataFrame:
    path = root / "FSD50K.ground_truth" / f"{part}.csv"
    table = read_text_table(path, COLUMNS, advice=f"FSD50K's own has {', '.join(COLUMNS)} (see {FACTS.url})")
    lines = find_line_numbers(table)
    check_inside(table["fname"], lines, path, "fname", plain=True)
    recordings = pd.DataFrame({"recording_id": table["fname"], "part": part})
    recordings["split"] = next(split for split, name in PART_OF_SPLIT.items() if name == part)
    recordings["labels"] = table["labels"]
    recordings["label"] = [labels.split(",")[0].strip() for labels in table["labels"]]
    recordings["source"] = recordings["group"] = recordings["recording_id"]
    check_labels(recordings["label"].tolist(), path, lines)
    recordings = recordings.sort_values("recording_id", ignore_index=True)
    folder = f"FSD50K.{part}_audio"
    names = find_by_stem(root / folder, recordings["recording_id"].tolist(), missing_suffix=".wav")
    return recordings.assign(file=[f"{folder}/{name}" for name in names])
