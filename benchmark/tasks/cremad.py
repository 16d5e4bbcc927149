"""CREMA-D: which of six emotions is acted; speakers are disjoint.

Layout::

    AudioWAV/{speaker}_{sentence}_{emotion}_{level}.wav

CREMA-D has no split. This one is EVAR's, by speaker: ``data_manifests/cremad_speakers.csv``. Four clips that EVAR and
TensorFlow Datasets leave out are left out here too.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from benchmark.tasks.contract import PLAIN, TaskFacts
from benchmark.tasks.listing import read_published_table
from bgknown.corpora import check_folder
from bgknown.corpora.listing import list_files, report_hidden
from bgknown.errors import InvalidInputError

LEFT_OUT = ("1040_ITH_SAD", "1006_TIE_NEU", "1013_WSI_DIS", "1017_IWW_FEA")
EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")

FACTS = TaskFacts(
    name="cremad",
    title="CREMA-D: acted emotions",
    metric="accuracy",
    classes=6,
    counts={"clips": 7_438},
    duration_s=2.5,
    lr=3e-4,
    licence="Open Database License (ODbL) 1.0",
    citation="H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova and R. Verma, CREMA-D: Crowd-sourced "
    "Emotional Multimodal Actors Dataset, IEEE Transactions on Affective Computing 5(4), 2014",
    url="https://github.com/CheyneyComputerScience/CREMA-D",
    protocol="evar",
    groups="speakers",
)
SETTINGS = PLAIN


def index(root: Path) -> pd.DataFrame:
    """List the clips of CREMA-D: file, label (the emotion), split, group (the speaker).

    Raises:
        NotFoundError: the folder is missing.
        InvalidInputError: a file is not named as CREMA-D's are, or its speaker is none of the 91.
    """
    check_folder(root, "CREMA-D", "AudioWAV")
    split_of = dict(
        read_published_table("cremad_speakers.csv", ["speaker", "split"]).itertuples(index=False, name=None)
    )
    rows, hidden = [], list[str]()
    files = list_files(root, "AudioWAV", hidden)
    report_hidden(root, hidden)
    for file in files:
        found = re.fullmatch(r"AudioWAV/(\d{4})_([A-Z]{3})_([A-Z]{3})_[A-Z]{1,2}\.\w+", file)
        if found is None or found.group(3) not in EMOTIONS:
            raise InvalidInputError(f"{root / file}: is not named like a clip of CREMA-D, such as 1001_DFA_ANG_XX.wav")
        speaker, sentence, emotion = found.groups()
        if speaker not in split_of:
            raise InvalidInputError(f"{root / file}: speaker is {speaker}; it must be from 1001 to 1091")
        if f"{speaker}_{sentence}_{emotion}" not in LEFT_OUT:
            rows.append((file, emotion, split_of[speaker], speaker))
    return pd.DataFrame(rows, columns=["file", "label", "split", "group"])
