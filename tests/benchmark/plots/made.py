"""Folders of results with all tables that figures are drawn from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.results.run_folder import ALPHA_TABLE, BREAKDOWN, CONFIGURATION, SNR_TABLE
from benchmark.results.runs import list_runs
from benchmark.results.speeds import SpeedRow, add_speed
from bgknown.jobs.sealed import add_check
from bgknown.tables import encode_csv
from tests.benchmark.results.made_runs import draw_answers, write_results

SHARES = {"mix": 0.5, "a": 0.7, "c": 0.6, "a*": 0.8, "shuffled": 0.4, "shuffled*": 0.5, "clean": 0.95}
GAINS = ("a - mix", "a* - mix", "a* - shuffled*")
ALPHAS = (0.0, 0.5, 1.0)
HOSTILE = ("<script>x</script>", "$\\frac{1}{2}$ $y$", "W" * 200, "日本語", "=1+1")


def write_made(out: Path, names, *, tables=True) -> None:
    """Rows and predictions of encoders on BgKnown, and the tables next to the predictions."""
    for number, name in enumerate(names):
        settings = {
            setting: draw_answers(min(0.98, share + 0.1 * number), 100 * number + place, seeds=1)
            for place, (setting, share) in enumerate(SHARES.items())
        }
        write_results(
            out,
            name,
            settings,
            gains=GAINS,
            groups=[f"s{clip // 2}" for clip in range(60)],
            protocol="linear",
            checkpoint_sha256=f"{number}" * 64,
        )
    for run in list_runs(out) if tables else ():
        write_tables(run.folder)


def write_tables(folder: Path) -> None:
    random = np.random.default_rng(0)
    bands = [
        [band, 20, 10, setting, *100 * np.sort(random.random(3))[[1, 0, 2]]]
        for band in ("-1.50 to -0.50", "0.00 to 2.00")
        for setting in (*SHARES, *GAINS)
    ]
    columns = ["band", "n", "n_groups", "setting", "mean", "low", "high"]
    write(folder / SNR_TABLE, columns, bands)
    chosen = [
        [setting, fold, alpha, n, 50 + 10 * alpha + place, 40.0, int(alpha == 1)]
        for setting in ("a*", "shuffled*")
        for place, (fold, n) in enumerate((("1", 10), ("2", 30)))
        for alpha in ALPHAS
    ]
    columns = ["setting", "fold", "alpha", "n", "accuracy", "ridge_accuracy", "chosen"]
    write(folder / ALPHA_TABLE, columns, chosen)
    changes = [
        [setting, change, metric, 50.0, 40.0, "", 9]
        for setting in ("audio+text", "audio")
        for change in ("added", "removed", "several changes")
        for metric in ("R@1", "R@10", "mean rank")
    ]
    columns = ["setting", "changes", "metric", "mean", "low", "high", "n_test"]
    write(folder / BREAKDOWN, columns, changes)


def write(path: Path, columns, rows) -> None:
    path.write_bytes(encode_csv(pd.DataFrame(rows, columns=columns)))


def write_speed(out: Path, name: str, number: int, rate: float, device="cpu") -> None:
    row = SpeedRow(
        encoder=name,
        checkpoint_sha256=f"{number}" * 64,
        device=device,
        threads=1,
        clip_s=5.0,
        batch_clips=8,
        clips_per_s=rate,
        version="0",
        date="",
    )
    add_speed(out, row)


def say_training(folder: Path, **settings) -> None:
    """Store how an encoder was trained, as a run does."""
    facts = {key.replace("__", "."): value for key, value in settings.items()}
    text = json.dumps(add_check({"training_settings": facts}))
    (folder / CONFIGURATION).write_text(text)
