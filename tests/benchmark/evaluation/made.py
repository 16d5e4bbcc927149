"""A task of mixtures that is made of random embeddings: clean clips, backgrounds, and their sum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.tasks.contract import Fold, Setting, TaskData, TaskFacts

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
FACTS = TaskFacts(
    name="made",
    title="made",
    metric="accuracy",
    classes=4,
    counts={"clips": 0},
    duration_s=1.0,
    lr=1e-3,
    licence="",
    citation="",
    url="",
)


def make_setting(name: str, signal: str = "mix", minus: str = "", **facts) -> Setting:
    """A setting whose meaning is not of interest."""
    return Setting(name=name, about=name, signal=signal, minus=minus, **facts)


def make_task(settings=(), *, folds=("1", "2", "3", "4", "5"), takes=8, gains=(), **facts) -> TaskData:
    """A task of ``takes`` clips of each class in each fold, the last fold tested; two clips are of one source."""
    rows = [
        (f"{fold}-{label}-{take}", fold, label, f"{fold}{label}{take // 2}")
        for fold in folds
        for label in "abcd"
        for take in range(takes)
    ]
    table = pd.DataFrame(rows, columns=["clip_id", "fold", "label", "group"])
    test = (table["fold"] == folds[-1]).to_numpy()
    return TaskData(
        facts=FACTS,
        root=Path("made"),
        table=table,
        signals={},
        settings=list(settings),
        folds=[Fold(name="", train=np.flatnonzero(~test), test=np.flatnonzero(test))],
        sha256="0" * 64,
        gains=gains,
        **facts,
    )


def make_embeddings(data: TaskData, *, size=12, loud=3.0, seed=0) -> dict[str, np.ndarray]:
    """Clean clips that are easy to tell apart, louder backgrounds, their exact sum, and backgrounds of no mixture."""
    draw = np.random.default_rng(seed)
    n, labels = len(data.table), data.labels()
    clean = draw.standard_normal((4, size))[labels] + 0.3 * draw.standard_normal((n, size))
    background, other = (loud * draw.standard_normal((n, size)) for _ in range(2))
    named = {"clean": clean, "a": background, "mix": clean + background, "other": other}
    return {name: values.astype(np.float32) for name, values in named.items()}
