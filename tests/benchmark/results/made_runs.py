"""Folders of results with rows and predictions, as a benchmark writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.predictions import average_by_seed, list_groupings, score_clips
from benchmark.results.rows import add_rows, make_row
from benchmark.results.run_folder import run_name, write_run
from benchmark.scores import Score

CLIPS = [f"4-{n}-A-{n % 5}" for n in range(60)]
CLASSES = ("bell", "dog", "rain", "saw", "wind")


def draw_answers(share: float, seed: int, seeds: int = 3, clips: Sequence[str] = CLIPS) -> pd.DataFrame:
    """[seeds, clips] right and wrong answers."""
    drawn = np.random.default_rng(seed).random((seeds, len(clips))) < share
    return pd.DataFrame(drawn, columns=list(clips)).astype(float)


def write_results(
    out: Path,
    encoder: str,
    settings: Mapping[str, pd.DataFrame],
    *,
    metric: str = "accuracy",
    gains: Sequence[str] = (),
    folds: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    order: int = 1,
    facts: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    **changes: str,
) -> str:
    """Write rows and the folder of a run; gives the name of the folder.

    Args:
        out: folder of results.
        encoder: its name.
        settings: answers of each setting.
        metric: their metric.
        gains: settings such as ``a - mix`` that have rows but no predictions of their own.
        folds, groups: those of each clip.
        order: of the predictions' rows, -1 for backwards.
        facts: further values of the scores.
        labels: label of each clip (default: by the end of its name).
        changes: task, protocol, dataset_sha256 or checkpoint_sha256.
    """
    identity = {"task": "bgknown", "protocol": "paper", "dataset_sha256": "d1", "checkpoint_sha256": ""} | changes
    tables = []
    for setting, answers in settings.items():
        table = answers.rename_axis("seed").reset_index().melt("seed", var_name="clip_id", value_name="score")
        for column, values in (("fold", folds), ("group", groups)):
            by_clip = dict(zip(answers.columns, values or [""] * answers.shape[1], strict=True))
            table[column] = table["clip_id"].map(by_clip)
        label = table["clip_id"].map(lambda name: labels[name] if labels else CLASSES[int(name.split("-")[-1])])
        table = table.assign(label=label, predicted=label.where(table["score"] > 0, "bell"))
        tables.append(table.assign(encoder=encoder, task=identity["task"], setting=setting, metric=metric)[::order])
    predictions = pd.concat(tables).assign(background="")
    rows = []
    for setting in (*settings, *gains):
        clips = score_clips(predictions, setting, metric)
        by_seed = average_by_seed(predictions, setting, metric)
        score = Score(
            setting=setting,
            metric=metric,
            by_seed=by_seed,
            by_clip=clips.clip(-1, 1).to_numpy(),
            groupings=tuple(np.array(names) for names in list_groupings(predictions, clips.index)),
            seeds=len(by_seed),
            **{"lr": None, **(facts or {})},  # type: ignore[arg-type]
        )
        rows.append(make_row(score, encoder=encoder, **identity))
    name = run_name(encoder=encoder, **identity)
    write_run(out, name, config={}, predictions=predictions)
    add_rows(out, rows)
    return name
