"""Audio next to a page: which files of a dataset belong to the clips of a task, relative to the page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bgknown.corpora.columns import find_corpus_prefixes
from bgknown.corpora.listing import find_by_stem
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.mixtures.dataset import DESCRIPTION, open_dataset
from bgknown.mixtures.manifest import SIGNALS
from bgknown.mixtures.naming import list_clip_names
from bgknown.paths import find_fault
from bgknown.userpath import user_path

CLEAN = "clean"
"""The signal of the clip itself, before it was mixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The audio of a task's clips."""

    folders: Mapping[str, str] = field(default_factory=dict)
    """For each signal its folder, relative to the page."""
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """For each signal the file of each row, relative to that folder; of ``clean`` that of each clip by its name."""
    clip_names: Mapping[str, str] = field(default_factory=dict)
    """For each row of a dataset the clip that is in it."""
    snr_db: Mapping[str, float] = field(default_factory=dict)
    """For each row the SNR that was achieved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFolders:
    """The folders of datasets that a page may play."""

    datasets: Mapping[str, Path] = field(default_factory=dict)
    """Datasets that ``bgknown build`` made, by their ids."""
    corpora: Mapping[str, Path] = field(default_factory=dict)
    """Corpora by the names of their tasks."""

    def find(self, task: str, dataset_sha256: str, clips: Sequence[str], page: Path) -> Beside:
        """The audio of a task's clips; empty where its folder was not given.

        Args:
            task: the task.
            dataset_sha256: fingerprint of its dataset.
            clips: their ids.
            page: the page.

        Raises:
            NotFoundError: a corpus that was given for the task has none of its clips.
        """
        if task == "bgknown":
            root = self.datasets.get(dataset_sha256)
            return Beside() if root is None else list_mixture_files(root, self.corpora.get("esc50"), page)
        root = self.corpora.get(task)
        if root is None:
            return Beside()
        files = {clip: clip for clip in clips if not find_fault(clip) and (root / clip).is_file()}
        if not files:
            raise NotFoundError(f"--dataset {task}={root}: has no test clip of task {task}, such as {clips[0]}")
        return Beside(folders={"audio": relate(root, page)}, files={"audio": files})


def list_mixture_files(root: Path, esc50: Path | None, page: Path) -> Beside:
    """The audio of a dataset that ``bgknown build`` made.

    Args:
        root: its folder.
        esc50: the corpus of its clips, for the clean clips.
        page: the page.

    Raises:
        NotFoundError: there is no dataset, or the corpus has no folder of audio.
    """
    dataset = open_dataset(root)
    table = dataset.table
    ids = [str(name) for name in table["clip_id"]]
    files = {signal: dict(zip(ids, table[f"{signal}_file"].astype(str), strict=True)) for signal in SIGNALS}
    folders = dict.fromkeys(SIGNALS, relate(root, page))
    names = list_clip_names(table)
    if esc50 is not None:
        column = find_corpus_prefixes(table.columns).foreground_file
        stems = [PurePosixPath(str(file)).stem for file in table[column]]
        found = dict(zip(names, find_by_stem(esc50 / "audio", stems, missing_suffix=".wav"), strict=True))
        files[CLEAN] = {name: file for name, file in found.items() if (esc50 / "audio" / file).is_file()}
        folders[CLEAN] = relate(esc50 / "audio", page)
    snr_db = dict(zip(ids, table["achieved_snr_db"].astype(float), strict=True))
    return Beside(folders=folders, files=files, clip_names=dict(zip(ids, names, strict=True)), snr_db=snr_db)


def parse_audio_folders(given: Sequence[str], measured: Sequence[str]) -> AudioFolders:
    """Read the values of ``--dataset``: DIR for a dataset of ``bgknown build``, or TASK=DIR for the corpus of a task.

    Args:
        given: the values.
        measured: fingerprints of the datasets that the page shows.

    Raises:
        NotFoundError: a folder does not exist, or a dataset is not one of those that were measured.
        InvalidInputError: a value is empty.
    """
    datasets, corpora = {}, {}
    for value in given:
        name, equals, folder = value.partition("=")
        plain = not equals or user_path(value).exists()
        path = user_path(value if plain else folder)
        if not str(value).strip() or not (plain or (name and folder)):
            raise InvalidInputError(f"--dataset is {value!r}; it must be DIR or TASK=DIR")
        if not path.is_dir():
            raise NotFoundError(f"{path}: no such folder; --dataset must name the folder of a dataset")
        if not plain and not (name == "bgknown" and (path / DESCRIPTION).is_file()):
            corpora[name] = path
            continue
        found = open_dataset(path).id
        if found not in measured:
            raise NotFoundError(
                f"--dataset {path}: no result was measured on this dataset, {found[:8]}; "
                f"there are {', '.join(sorted({one[:8] for one in measured if one})) or 'none'}"
            )
        datasets[found] = path
    return AudioFolders(datasets=datasets, corpora=corpora)


def relate(folder: Path, page: Path) -> str:
    """A folder's path as seen from a page, with ``/`` between its parts."""
    return Path(os.path.relpath(folder.resolve(), page.resolve().parent)).as_posix()
