"""NSynth: which of eleven families of instruments plays a note, official split.

Layout::

    nsynth-{train,valid,test}/examples.json       {note: {instrument_family_str, instrument_str, ...}}
    nsynth-{train,valid,test}/audio/{note}.wav
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmark.tasks.contract import PLAIN, TaskFacts
from benchmark.tasks.labelled import TASK_SPLITS
from bgknown.corpora import check_folder
from bgknown.corpora.listing import find_files
from bgknown.documents import read_object, shorten_value
from bgknown.errors import InvalidInputError
from bgknown.paths import find_fault_of_plain

FACTS = TaskFacts(
    name="nsynth",
    title="NSynth: families of instruments",
    metric="accuracy",
    classes=11,
    counts={"train": 289_205, "valid": 12_678, "test": 4_096},
    duration_s=4.0,
    lr=1e-3,
    licence="CC BY 4.0",
    citation="J. Engel, C. Resnick, A. Roberts, S. Dieleman, D. Eck, K. Simonyan and M. Norouzi, Neural Audio "
    "Synthesis of Musical Notes with WaveNet Autoencoders, ICML 2017",
    url="https://magenta.tensorflow.org/datasets/nsynth",
    protocols=("evar",),
    groups="instruments",
)
SETTINGS = PLAIN


def index(root: Path) -> pd.DataFrame:
    """Read the three lists of NSynth: file, label (the family), split, group (the instrument).

    Raises:
        NotFoundError: the folder or a list is missing.
        InvalidInputError: a list is damaged, or a note in it has no family.
    """
    rows = []
    instruments: dict[str, str] = {}  # one text for all notes of an instrument
    for split in TASK_SPLITS:
        check_folder(root, "NSynth", f"nsynth-{split}/examples.json")
        path = root / f"nsynth-{split}" / "examples.json"
        for note, facts in read_object(path).items():
            if fault := find_fault_of_plain(note):
                raise InvalidInputError(f"{path}: the note {shorten_value(note)} {fault}; get the file again")
            about = facts if isinstance(facts, dict) else {}
            family, instrument = about.get("instrument_family_str"), about.get("instrument_str")
            if not isinstance(family, str) or not isinstance(instrument, str):
                raise InvalidInputError(
                    f"{path}: note {shorten_value(note)} lacks instrument_family_str or instrument_str; "
                    f"download the file again"
                )
            shared = [instruments.setdefault(name, name) for name in (family, instrument)]
            rows.append((f"nsynth-{split}/audio/{note}.wav", shared[0], split, shared[1]))
    table = pd.DataFrame(rows, columns=["file", "label", "split", "group"])
    return table.assign(file=find_files(root, table["file"].tolist()))
