"""Figures as files: PNG, SVG and PDF, the same bytes for the same figure, and the table next to them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bgknown.errors import InvalidInputError
from bgknown.jobs.files import advise_option, make_folder, write_whole
from bgknown.nearest import suggest
from bgknown.tables import encode_csv

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FIGURE_FORMATS = ("png", "svg", "pdf")
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Creator": None, "Date": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""Without times and versions."""


def read_figure_formats(text: str) -> tuple[str, ...]:
    """Formats from names with commas between them, each once.

    Raises:
        InvalidInputError: there is none, or one is unknown.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if not names:
        raise InvalidInputError(f"--format is {text!r}; give one or more of {', '.join(FIGURE_FORMATS)}")
    for name in names:
        if name not in FIGURE_FORMATS:
            raise InvalidInputError(f"--format {name[:40]!r}: no such format; {suggest(name, FIGURE_FORMATS)}")
    return tuple(dict.fromkeys(names))


def save_figure(figure: Figure, table: pd.DataFrame, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure and its table; each file is whole at any moment.

    Args:
        figure: the figure, made within ``open_style``, which must still be open.
        table: what it is drawn from.
        stem: path of the files without the ends of their names; the folder is made.
        formats: of ``FIGURE_FORMATS``.

    Returns:
        the paths, the table last.

    Raises:
        StorageError: a file cannot be written.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")  # as it is now, in every format
    paths = []
    with advise_option("--to"):
        make_folder(stem.parent)
        for form in formats:
            content = io.BytesIO()
            figure.savefig(content, format=form, metadata=_METADATA[form])
            paths.append(stem.with_name(f"{stem.name}.{form}"))
            write_whole(paths[-1], content.getbuffer())
        paths.append(stem.with_name(f"{stem.name}.csv"))
        write_whole(paths[-1], encode_csv(table))
    return paths
