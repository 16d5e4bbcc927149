"""The predictions of runs, packed for a page: one block for the clips of a dataset, and one for each run.

A run's block has its series: one for each setting, metric and seed. A series says what was predicted for each clip, as
numbers of the dataset's names, and which predictions were right. Equal columns of a run are stored once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.pages.audio_beside import CLEAN, AudioFolders, Beside
from benchmark.pages.packing import Names, Packed, pack_flags, pack_numbers


@dataclass(slots=True, kw_only=True)
class ClipTable:
    """The test clips of a dataset that runs share, and all names that their predictions use."""

    task: str
    """The task."""
    dataset_sha256: str
    """Fingerprint of the dataset."""
    names: Names = field(default_factory=Names)
    """Labels, groups, backgrounds and predictions."""
    clips: Names = field(default_factory=Names)
    """Ids of the clips."""
    facts: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """For each clip the numbers of its label, group and background."""

    def add(self, table: pd.DataFrame) -> None:
        """Add the clips of a table of predictions."""
        first = table.drop_duplicates("clip_id")
        columns = (first[name] for name in ("clip_id", "label", "group", "background"))
        for clip, *facts in zip(*columns, strict=True):
            self.clips.number(clip)
            label, group, background = (self.names.number(text) for text in facts)
            self.facts.setdefault(clip, (label, group, background))
        for name in table["predicted"].unique():
            self.names.number(name)

    def pack(self, folders: AudioFolders, page: Path) -> dict[str, Any]:
        """The table as a block of data, with the audio that is next to the page.

        Raises:
            NotFoundError: a corpus that was given for the task has none of its clips.
        """
        ids = self.clips.list()
        beside = folders.find(self.task, self.dataset_sha256, ids, page)
        sources = [self.names.number(beside.clip_names.get(clip, clip)) for clip in ids] if beside.clip_names else []
        columns = zip(*(self.facts[clip] for clip in ids), strict=True)
        label, group, background = (pack_numbers(list(column), largest=len(self.names)) for column in columns)
        return {
            "names": self.names.list(),
            "clips": ids,
            "label": label,
            "group": group,
            "background": background,
            "source": pack_numbers(sources, largest=len(self.names)),
            "snr": [None if clip not in beside.snr_db else round(beside.snr_db[clip], 2) for clip in ids],
            "audio": pack_audio(beside, ids),
        }


def pack_audio(beside: Beside, ids: list[str]) -> dict[str, Any]:
    """For each signal its folder, and the files of clips: a pattern where these follow one, otherwise by clip.

    Clean clips go by their own names, which several rows of a dataset may share.
    """
    signals = {}
    for signal, files in beside.files.items():
        keys = list(dict.fromkeys(beside.clip_names.get(row, row) for row in ids)) if signal == CLEAN else ids
        known = {key: files[key] for key in keys if key in files}
        pattern = re.sub(re.escape(keys[0]) + r"(?=(\.[a-z0-9]+)?$)", "*", known.get(keys[0], ""))
        regular = len(known) == len(keys) and all(file == pattern.replace("*", key) for key, file in known.items())
        signals[signal] = {"folder": beside.folders[signal], "files": pattern if regular and "*" in pattern else known}
    return signals


def pack_run(table: pd.DataFrame, clips: ClipTable) -> tuple[dict[str, Any], int]:
    """The block of a run, and how many predictions it holds.

    Metrics whose scores are not all 0 or 1, such as ranks, have no series.

    Args:
        table: its predictions.
        clips: the clips of its dataset, which knows all names of the table.
    """
    pool: dict[Packed, int] = {}
    series: dict[str, list[tuple[str, int, int]]] = {}
    size, largest, count = len(clips.clips), len(clips.names), 0
    for (setting, metric), part in table.groupby(["setting", "metric"], sort=False):
        if not part["score"].isin((0.0, 1.0)).all() or not part["predicted"].any():
            continue
        for seed, rows in _divide(part):
            places = clips.clips.find(rows["clip_id"].tolist())
            predicted = np.full(size, largest, dtype=np.int64)
            predicted[places] = [clips.names.number(name) for name in rows["predicted"]]
            right = np.zeros(size, dtype=np.bool_)
            right[places] = rows["score"].to_numpy() == 1.0
            columns = (pack_numbers(predicted, largest=largest), pack_flags(right))
            first, second = (pool.setdefault(column, len(pool)) for column in columns)
            series.setdefault(f"{setting}\t{metric}", []).append((seed, first, second))
            count += len(rows)
    return {"pool": list(pool), "missing": largest, "series": series}, count


def _divide(part: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The predictions of each seed; of each seed and fold where a clip is tested in several folds."""
    keys = ["seed", "fold"] if part.duplicated(["seed", "clip_id"]).any() else ["seed"]
    return [(" ".join(map(str, key)).strip(), rows) for key, rows in part.groupby(keys, sort=True)]
