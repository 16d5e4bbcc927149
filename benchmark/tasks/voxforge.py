"""VoxForge: which of six languages is spoken; speakers are disjoint.

Layout::

    {language}/{user}-{date}-{letters}/wav/*.wav       or flac/*.flac; if an upload has both, wav

VoxForge has no split: a speaker (the user's name of the upload) goes to training, validation or test by a hash of the
name, in the proportions 70/10/20. Uploads by ``anonymous`` are by unknown people, and stay together.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pandas as pd

from benchmark.tasks.contract import PLAIN, TaskFacts
from benchmark.tasks.listing import list_folders, list_top_folders, split_by_hash
from bgknown.corpora.listing import compose_name, list_files, report_hidden
from bgknown.errors import InvalidInputError

log = logging.getLogger(__name__)

SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}

FACTS = TaskFacts(
    name="voxforge",
    title="VoxForge: which language is spoken",
    metric="accuracy",
    classes=6,
    counts={"clips": 176_428},
    duration_s=5.8,
    lr=1e-4,
    licence="GPL",
    citation="K. MacLean, Voxforge, http://www.voxforge.org/home",
    url="http://www.voxforge.org/ (the six languages de, en, es, fr, it, ru, each upload unpacked into its language)",
    protocol="evar",
    groups="speakers",
)
SETTINGS = PLAIN


def index(root: Path) -> pd.DataFrame:
    """List the uploads of VoxForge: file, label (the language), split, group (the speaker).

    Uploads without audio are reported as a log warning.

    Raises:
        NotFoundError: the folder is missing.
        InvalidInputError: a language holds no uploads with audio.
    """
    rows: list[tuple[str, str, str]] = []
    silent: list[str] = []
    hidden: list[str] = []
    for language in list_top_folders(root, "VoxForge", "language"):
        before = len(rows)
        for upload in list_folders(root / language):
            clips = _list_clips(root, f"{language}/{upload}", hidden)
            rows += [(file, language, speaker_of(upload)) for file in clips]
            silent += [f"{language}/{upload}"] * (not clips)
        if len(rows) == before:
            inside = "an upload" if _list_clips(root, language, hidden) else "no upload with audio in wav/ or flac/"
            raise InvalidInputError(
                f"{root / language}: {inside}; every folder of {root} must be a language with its uploads in it"
            )
    report_hidden(root, hidden)
    if silent:
        log.warning("%s: %d uploads hold no audio in wav/ or flac/, such as %s", root, len(silent), silent[0])
    table = pd.DataFrame(rows, columns=["file", "label", "group"])
    split_of = split_by_hash("voxforge speaker", sorted(set(table["group"])), SHARES)
    return table.assign(split=[split_of[speaker] for speaker in table["group"]])


def _list_clips(root: Path, upload: str, hidden: list[str]) -> list[str]:
    """The clips of an upload, from its ``wav`` or ``flac`` folder."""
    return list_files(root, f"{upload}/wav", hidden) or list_files(root, f"{upload}/flac", hidden)


def speaker_of(upload: str) -> str:
    """The user in the name of an upload: the part before the date."""
    found = re.match(r"(.+?)-\d{8}", upload)
    return compose_name((found.group(1) if found else upload).lower())
