"""GTZAN: which of ten genres, in the fault-filtered split (Kereliuk, Sturm and Larsen 2015).

Layout::

    {genre}/{genre}.{00000..00099}.wav     also .au, as it was first published
    GTZANindex.txt                         optional: Sturm's index of artists, lines "file ::: artist ::: title"

930 of the 1,000 clips are in the split, ``data_manifests/gtzan_fault_filtered.csv``: no repeated recordings, no
distorted ones, and no artist on both sides. The artists can only be checked if the index exists. In the
circulating WAV copies, ``jazz.00054.wav``, which is in the split, does not decode: skip it with ``--skip-broken``.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from benchmark.tasks.contract import PLAIN, TaskFacts
from benchmark.tasks.listing import read_lines, read_published_table
from bgknown.corpora import check_folder
from bgknown.corpora.listing import find_files

ARTISTS = "GTZANindex.txt"

FACTS = TaskFacts(
    name="gtzan",
    title="GTZAN: music genres, fault-filtered",
    metric="accuracy",
    classes=10,
    counts={"train": 443, "valid": 197, "test": 290},
    duration_s=30.0,
    lr=1e-3,
    licence="not stated; for research",
    citation="G. Tzanetakis and P. Cook, Musical genre classification of audio signals, IEEE Transactions on Speech "
    "and Audio Processing 10(5), 2002; split: C. Kereliuk, B. L. Sturm and J. Larsen, Deep Learning and Music "
    "Adversaries, IEEE Transactions on Multimedia 17(11), 2015",
    url="http://marsyas.info/downloads/datasets.html",
    protocol="evar",
    groups="artists",
)
SETTINGS = PLAIN


def index(root: Path) -> pd.DataFrame:
    """List the clips of the fault-filtered split: file, label (the genre), split, group (the artist, where known).

    Raises:
        NotFoundError: the folder is missing, or is not GTZAN's.
    """
    check_folder(root, "GTZAN", "blues")
    table = read_published_table("gtzan_fault_filtered.csv", ["file", "split"])
    artist_of: dict[str, str] = {}
    if (root / ARTISTS).is_file():
        for line in read_lines(root / ARTISTS):
            name, *rest = (part.strip() for part in line.split(":::"))
            artist_of[PurePosixPath(name).name.lower()] = rest[0].lower() if rest else ""
    names = [PurePosixPath(file).name for file in table["file"]]
    return pd.DataFrame(
        {
            "file": find_files(root, table["file"].tolist()),
            "label": [file.split("/")[0] for file in table["file"]],
            "split": table["split"],
            "group": [artist_of.get(name, "") for name in names],
        }
    )
