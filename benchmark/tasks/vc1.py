"""VoxCeleb1, identification: which of 1,251 people speaks, official split.

Layout::

    iden_split.txt                         lines "{1, 2 or 3} {speaker}/{video}/{clip}.wav": training, validation, test
    wav/{speaker}/{video}/{clip}.wav
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmark.tasks.contract import PLAIN, TaskFacts
from benchmark.tasks.listing import read_numbered_lines
from bgknown.corpora import check_folder
from bgknown.corpora.listing import find_files
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError
from bgknown.paths import find_fault

LIST = "iden_split.txt"
_SPLITS = {"1": "train", "2": "valid", "3": "test"}

FACTS = TaskFacts(
    name="vc1",
    title="VoxCeleb1: who speaks",
    metric="accuracy",
    classes=1251,
    counts={"train": 138_361, "valid": 6_904, "test": 8_251},
    duration_s=8.2,
    lr=4e-5,
    licence="CC BY 4.0 (annotations)",
    citation="A. Nagrani, J. S. Chung and A. Zisserman, VoxCeleb: a large-scale speaker identification dataset, "
    "Interspeech 2017",
    url="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
    protocol="evar",
    groups="videos",
)
SETTINGS = PLAIN


def index(root: Path) -> pd.DataFrame:
    """Read the official split of VoxCeleb1: file, label (the speaker), split, group (the video).

    Raises:
        NotFoundError: the folder, its list or its audio folder is missing.
        InvalidInputError: a line of the list breaks its form; names the line.
    """
    for name in (LIST, "wav"):
        check_folder(root, "VoxCeleb1", name)
    rows = []
    for number, line in read_numbered_lines(root / LIST):
        split, _, file = line.partition(" ")
        parts = file.strip().split("/")
        if split not in _SPLITS or len(parts) != 3 or find_fault(file.strip()) or "" in parts or "." in parts:
            raise InvalidInputError(
                f"{root / LIST}, line {number}: {shorten_value(line)} is not of the form "
                f"'1 id10001/1zcIwhmdeo4/00001.wav'"
            )
        rows.append((f"wav/{file.strip()}", parts[0], _SPLITS[split], f"{parts[0]}/{parts[1]}"))
    table = pd.DataFrame(rows, columns=["file", "label", "split", "group"])
    return table.assign(file=find_files(root, table["file"].tolist()))
