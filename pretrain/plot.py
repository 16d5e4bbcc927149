"""Curves of training runs, from their logs: losses, spread, learning rate and speed.

A run that was interrupted has the rows up to its last one; a run that was resumed has one log, since rows after the
checkpoint are removed when their steps are repeated. Neither torch nor the checkpoint is needed.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bgknown.documents import read_toml
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.figures.layout import add_legend, make_facets, set_title
from bgknown.figures.saving import FIGURE_FORMATS, read_figure_formats, save_figure
from bgknown.figures.style import import_matplotlib, open_style, pick_mark
from bgknown.jobs.files import describe_storage_error
from bgknown.userpath import absolute, user_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_FILE, CONFIG_FILE = "log.csv", "config.toml"
STEM = "training"
"""Name of the files without their ends."""
LEARNING_RATE = "learning_rate"
CURVES = {
    "loss": "loss",
    "loss_byol": "BYOL's loss",
    "loss_difference": "difference loss",
    "target_spread": "spread of target projections",
    "embedding_spread": "spread of embeddings",
    LEARNING_RATE: "learning rate",
    "clips_per_s": "clips per second",
}
"""Columns of logs that are drawn, in this order, and what they are called; other losses of a log come after these."""
_TITLE = "training: means since the row before; spread: standard deviation over clips of vectors scaled to length 1"
FEW_POINTS = 40
"""Up to so many rows every row has a marker, so that a run of one row shows."""


def plot_runs(
    runs: Sequence[str | Path] | str | Path, to: str | Path, *, formats: str | Sequence[str] = FIGURE_FORMATS
) -> list[Path]:
    """Draw the logs of runs into one figure, and write it with the table that it is drawn from.

    Args:
        runs: folders of ``pretrain train``, or their ``log.csv``.
        to: folder of the figure.
        formats: of png, svg and pdf.

    Returns:
        the files, the table last.

    Raises:
        NotFoundError: a folder has no log, or matplotlib is not installed.
        InvalidInputError: a log has no rows, or a run is given twice.
        StorageError: a file cannot be read or written.
    """
    import_matplotlib()
    chosen = read_figure_formats(formats if isinstance(formats, str) else ",".join(formats))
    paths = [user_path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if not paths:
        raise InvalidInputError("no run is given; give folders of `pretrain train`")
    table = pd.concat([read_log(path, name) for path, name in _name_runs(paths).items()], ignore_index=True)
    with open_style(table["run"]):
        return save_figure(_draw(table), table, user_path(to) / STEM, chosen)


def _name_runs(paths: Sequence[Path]) -> dict[Path, str]:
    """The names of runs: those of their folders, with as many folders above as tell them apart."""
    folders = [absolute(path.parent if path.suffix == ".csv" else path) for path in paths]
    if len(set(folders)) < len(folders):
        twice = next(path for path, folder in zip(paths, folders, strict=True) if folders.count(folder) > 1)
        raise InvalidInputError(f"{twice}: this run is given twice; give each once")
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(folders):
        depth += 1
    return {path: "/".join(folder.parts[-depth:]) or "/" for path, folder in zip(paths, folders, strict=True)}


def read_log(path: Path, name: str) -> pd.DataFrame:
    """The log of a run: its name, step, epoch, all losses, spreads, learning rate and clips per second.

    A row that a kill has cut off is left out. The learning rate is that of the configuration, unless the log has it.

    Args:
        path: folder of the run, or the log.
        name: name of the run.

    Raises:
        NotFoundError: there is no log.
        InvalidInputError: it has no rows.
        StorageError: it cannot be read.
    """
    file = path if path.suffix == ".csv" and not path.is_dir() else path / LOG_FILE
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{file}: no such file; `pretrain train --out {file.parent}` writes one") from error
    except OSError as error:
        raise describe_storage_error(error, file) from error
    header, *rows = list(csv.reader(lines)) or [[]]
    if "step" not in header:
        raise InvalidInputError(f"{file}: is not a log of `pretrain train`: it has no column step")
    place = header.index("step")
    whole = [row for row in rows if len(row) == len(header) and re.fullmatch("[0-9]{1,18}", row[place])]
    if not whole:
        raise InvalidInputError(f"{file}: has no rows yet; the first is written after training.log_every steps")
    columns = zip(header, zip(*whole, strict=True), strict=True)
    table = pd.DataFrame({name: pd.to_numeric(pd.Series(texts), errors="coerce") for name, texts in columns})
    table = table.sort_values("step").drop_duplicates("step", keep="last").reset_index(drop=True)
    if LEARNING_RATE not in table:
        table[LEARNING_RATE] = _read_learning_rate(file.with_name(CONFIG_FILE))
    table.insert(0, "run", name)
    return table


def _read_learning_rate(path: Path) -> float:
    """The learning rate of a run, which is the same at every step; NaN where it is not known."""
    training = read_toml(path).get("training") if path.is_file() else None
    value = training.get(LEARNING_RATE) if isinstance(training, dict) else None
    return float(value) if isinstance(value, int | float) else math.nan


def _draw(table: pd.DataFrame) -> Figure:
    more = [name for name in table.columns if name.startswith("loss") and name not in CURVES]
    curves = {**CURVES, **dict(zip(more, more, strict=True))}
    shown = [name for name in curves if name in table and table[name].notna().any()]
    runs = list(dict.fromkeys(table["run"]))
    facets = make_facets(len(shown), share_y=False)
    handles: dict[str, Any] = {}
    for axis, name in zip(facets.axes, shown, strict=True):
        for number, run in enumerate(runs):
            part = table[(table["run"] == run) & table[name].notna()]
            mark = pick_mark(number)
            style = mark.points(joined=True) | ({} if len(part) <= FEW_POINTS else {"marker": "none"})
            (line,) = axis.plot(part["step"], part[name], **style)
            handles[run] = line if name == shown[0] else handles[run]
        if name in {"target_spread", "embedding_spread", "clips_per_s", LEARNING_RATE}:
            axis.set_ylim(0.0, 1.1 * max(float(table[name].max()), 1e-9))
        axis.locator_params(axis="x", integer=True)
    facets.label(x="step")
    facets.name([curves[name] for name in shown])
    add_legend(facets.figure, list(handles.values()), runs)
    set_title(facets.figure, _TITLE)
    return facets.figure
