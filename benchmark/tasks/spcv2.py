"""Speech Commands v2: one of 35 spoken words, official lists.

Layout::

    {word}/{speaker}_nohash_{n}.wav
    validation_list.txt  testing_list.txt      one {word}/{file} per line; all other clips are for training
    _background_noise_/                        no class
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmark.tasks.contract import PLAIN, TaskFacts
from benchmark.tasks.listing import list_folders, read_numbered_lines, require_clips
from bgknown.corpora import check_folder
from bgknown.corpora.listing import find_files, report_hidden
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError
from bgknown.paths import find_fault
from bgknown.shown import escape_line

LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}

FACTS = TaskFacts(
    name="spcv2",
    title="Speech Commands v2: spoken words",
    metric="accuracy",
    classes=35,
    counts={"train": 84_843, "valid": 9_981, "test": 11_005},
    duration_s=1.0,
    lr=3e-5,
    licence="CC BY 4.0",
    citation="P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209, 2018",
    url="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    protocol="evar",
    groups="speakers",
)
SETTINGS = PLAIN


def index(root: Path) -> pd.DataFrame:
    """List the clips of Speech Commands: file, label, split, group (the speaker).

    Raises:
        NotFoundError: the folder or a list is missing.
        InvalidInputError: a list names a clip of no word, or a clip is listed twice, or a word has no clips.
    """
    for name in LISTS.values():
        check_folder(root, "Speech Commands v2", name)
    words, hidden = list_folders(root), list[str]()
    split_of = dict.fromkeys((file for word in words for file in require_clips(root, word, "a word", hidden)), "train")
    for split, name in LISTS.items():
        listed = read_numbered_lines(root / name)
        for number, file in listed:
            _check_form(file, f"{root / name}, line {number}")
        there = find_files(root, [file for _, file in listed], hidden)
        for (number, file), found in zip(listed, there, strict=True):
            if found.split("/")[0] not in words:
                raise InvalidInputError(
                    f"{root / name}, line {number}: {escape_line(file)} is a clip of a word whose folder is missing"
                )
            if split_of.get(found, "train") != "train":
                where = "twice" if split_of[found] == split else f"on {LISTS['valid']}, too"
                raise InvalidInputError(
                    f"{root / name}, line {number}: {escape_line(file)} is listed {where}; a clip has one split"
                )
            split_of[found] = split
    report_hidden(root, hidden)
    files = sorted(split_of)
    return pd.DataFrame(
        {
            "file": files,
            "label": [file.split("/")[0] for file in files],
            "split": [split_of[file] for file in files],
            "group": [file.split("/")[1].split("_nohash_")[0] for file in files],
        }
    )


def _check_form(file: str, where: str) -> None:
    """Check that a line of a list is a folder and a file."""
    _, *names = file.split("/")
    if len(names) != 1 or find_fault(file) or find_fault(names[0]):
        raise InvalidInputError(f"{where}: {shorten_value(file)} is not of the form 'bed/0a7c2a8d_nohash_0.wav'")
