"""Surge: which of 88 pitches a synthesiser plays; tones (patches) are disjoint.

Layout::

    {tone}/{midi}.ogg                      MIDI notes 21 to 108

The published audio has no split: a tone goes to training, validation or test by a hash of its name, in proportion to
EVAR's (1,692 / 195 / 197 of 2,084). EVAR's own table works with ``--splits``.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from benchmark.tasks.contract import PLAIN, TaskFacts
from benchmark.tasks.listing import list_top_folders, require_clips, split_by_hash
from bgknown.corpora.listing import compose_name, report_hidden
from bgknown.errors import InvalidInputError

TONES = {"train": 1_692, "valid": 195, "test": 197}
NOTES = range(21, 109)
LABELS = frozenset(map(str, NOTES))

FACTS = TaskFacts(
    name="surge",
    title="Surge: pitches of a synthesiser",
    metric="accuracy",
    classes=len(NOTES),
    counts={"clips": len(NOTES) * sum(TONES.values())},
    duration_s=4.0,
    lr=3e-5,
    licence="see the Zenodo record",
    citation="J. Turian, J. Shier, G. Tzanetakis, K. McNally and M. Henry, One Billion Audio Sounds from GPU-enabled "
    "Modular Synthesis, DAFx 2021",
    url="https://zenodo.org/records/4677097",
    protocol="evar",
    groups="tones",
)
SETTINGS = PLAIN


def index(root: Path) -> pd.DataFrame:
    """List the notes of Surge: file, label (the MIDI note), split, group (the tone).

    Raises:
        NotFoundError: the folder is missing.
        InvalidInputError: a file is not named by one of the 88 MIDI notes, or a tone has no notes.
    """
    tones = list_top_folders(root, "Surge", "tone")
    hidden: list[str] = []
    rows = [(file, tone) for tone in tones for file in require_clips(root, tone, "a tone", hidden)]
    report_hidden(root, hidden)
    notes = [PurePosixPath(file).stem for file, _ in rows]
    for (file, _), note in zip(rows, notes, strict=True):
        if note not in LABELS:
            raise InvalidInputError(
                f"{root / file}: is not named after a MIDI note from {NOTES[0]} to {NOTES[-1]}, such as 60.ogg"
            )
    shares = {split: count / sum(TONES.values()) for split, count in TONES.items()}
    split_of = split_by_hash("surge tone", [compose_name(tone) for tone in tones], shares)
    return pd.DataFrame(
        {
            "file": [file for file, _ in rows],
            "label": notes,
            "split": [split_of[compose_name(tone)] for _, tone in rows],
            "group": [tone for _, tone in rows],
        }
    )
