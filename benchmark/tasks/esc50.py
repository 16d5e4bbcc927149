"""ESC-50: environmental sounds, five official folds.

Layout: ``bgknown.corpora.esc50``.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmark.tasks.contract import PLAIN, TaskFacts
from bgknown.corpora import esc50

FACTS = TaskFacts(
    name="esc50",
    title="ESC-50: environmental sounds",
    metric="accuracy",
    classes=50,
    counts={f"fold {fold}": 400 for fold in esc50.FOLDS},
    duration_s=5.0,
    lr=1e-3,
    licence=esc50.FACTS.licence,
    citation=esc50.FACTS.citation,
    url=esc50.FACTS.url,
    protocols=("evar",),
    groups="Freesound recordings",
)
SETTINGS = PLAIN


def index(root: Path) -> pd.DataFrame:
    """Read the table of ESC-50: file, label, fold, group (the Freesound recording).

    Raises:
        NotFoundError: the folder, its table or its audio folder is missing.
        InvalidInputError: the table breaks a rule; names the line.
    """
    clips = esc50.read_listing(root)
    columns = {"file": clips["file"], "label": clips["category"], "fold": clips["fold"].astype(str)}
    return pd.DataFrame({**columns, "group": clips["group"]})
