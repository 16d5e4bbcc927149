"""Whether an encoder was trained on what it is tested on.

Sounds are compared by their Freesound ids, which BgKnown lists and the file names of several corpora hold, and by the
SHA-256 of files.
Copies in other formats whose names hold no id, and sounds of other sources, are not recognised.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.embedding.hashes import hash_contents
from benchmark.results.leak_check import NOT_COMPARABLE, TRAINED_ON, UNKNOWN, describe_overlap
from benchmark.tasks.contract import TaskData
from bgknown.freesound import find_freesound_id
from bgknown.sounds import SoundList

_SOURCE_COLUMNS = ("clip_source", "file")
_BACKGROUND_COLUMNS = ("background_source", "background")
"""Columns with the source of a sound, or else with a name that may hold it; the first that a table has counts."""


def check_training_data(data: TaskData, trained_on: SoundList | None, *, cache: Path) -> str:
    """Look for test clips among the sounds that an encoder was trained on.

    Args:
        data: the task.
        trained_on: those sounds, empty for none; None where they are unknown.
        cache: folder of the hashes of files.

    Returns:
        how many there are, that there are none, or that it is unknown; empty for an encoder that was not trained.
    """
    if trained_on is None:
        return UNKNOWN
    if trained_on.is_empty:
        return ""
    tested = np.unique(np.concatenate([fold.test for fold in data.folds]))
    sources, backgrounds = (_find_column(data, names) for names in (_SOURCE_COLUMNS, _BACKGROUND_COLUMNS))
    source_found, source_known = _find_names(_list_texts(data, sources, tested), trained_on)
    background_found, background_known = _find_names(_list_texts(data, backgrounds, tested), trained_on)
    comparable = bool((source_known | background_known).any())
    if len(trained_on.file_sha256):
        minus = {setting.minus for setting in data.settings if setting.minus}
        for signal in data.signals:
            found, known = _find_files(data, signal, tested, trained_on, cache)
            # soundscapes made of several sources, which are in no column, have hashes that tell nothing of these
            comparable |= bool(known.any() and sources) or bool(found.any())
            if signal in minus:
                background_found |= found
            else:
                source_found |= found
    if not comparable:
        return NOT_COMPARABLE
    return describe_overlap(sources=int(source_found.sum()), backgrounds=int(background_found.sum()), clips=len(tested))


def check_with_head(data: TaskData, encoder: SoundList | None, head: SoundList, *, cache: Path) -> str:
    """``check_training_data`` for an encoder with a head, which was trained on sounds of its own.

    Where the encoder's are unknown, that is the finding, unless the head was trained on test clips.
    """
    if encoder is not None:
        return check_training_data(data, encoder | head, cache=cache)
    found = check_training_data(data, head, cache=cache)
    return found if found.startswith(f"{TRAINED_ON} the ") else UNKNOWN


def _find_column(data: TaskData, names: tuple[str, ...]) -> str | None:
    """The first of these columns that the table has."""
    return next((name for name in names if name in data.table), None)


def _list_texts(data: TaskData, column: str | None, rows: NDArray[np.int64]) -> list[str]:
    """[n] the texts of some rows in a column; empty without one."""
    return [""] * len(rows) if column is None else [str(text) for text in data.table[column].to_numpy()[rows]]


def _find_names(names: list[str], trained_on: SoundList) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[n] which files hold a Freesound id of the list in their names, and [n] which could."""
    ids = [find_freesound_id(name) for name in names]
    known = np.array([number is not None for number in ids], dtype=np.bool_)
    return trained_on.has_ids(ids), known & bool(len(trained_on.freesound_ids))


def _find_files(
    data: TaskData, signal: str, tested: NDArray[np.int64], trained_on: SoundList, cache: Path
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[n] which test clips of a signal are files of the list, and [n] which have a hash."""
    clips = [data.signals[signal][row] for row in tested]
    unknown = sorted({clip.path for clip in clips if not clip.sha256 and clip.rendering is None})
    of_path = dict(zip(unknown, hash_contents(unknown, cache=cache), strict=True))
    hashes = ["" if clip.rendering is not None else clip.sha256 or of_path[clip.path] for clip in clips]
    return trained_on.has_hashes(hashes), np.array([bool(digest) for digest in hashes], dtype=np.bool_)
