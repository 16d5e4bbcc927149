"""The commands ``benchmark data``: what is there of the corpora."""

from __future__ import annotations

from pathlib import Path

import click

from bgknown.commands import FOLDER, echo
from bgknown.shown import escape_line


@click.group()
def data() -> None:
    """Look at the corpora of the tasks before anything is measured.

    \b
    Example:
      benchmark data status corpora
    """


@data.command()
@click.argument("folder", type=FOLDER)
@click.option("--cache", type=FOLDER, help="The cache folder [default: $BGKNOWN_CACHE or the user's cache].")
def status(*, folder: Path, cache: Path | None) -> None:
    """List which corpora of the nine tasks are in FOLDER, and how much of each.

    \b
    Example:
      benchmark data status corpora
    """
    from benchmark.tasks import inventory  # noqa: PLC0415
    from benchmark.text_tables import align_columns  # noqa: PLC0415
    from bgknown.corpora.headers import default_cache  # noqa: PLC0415

    stocks = inventory.status(folder, cache=cache or default_cache())
    lines = [
        [stock.facts.name, stock.state, stock.facts.licence, f"{stock.clips:,}", f"{stock.hours:.1f}"]
        for stock in stocks
    ]
    echo(align_columns(["task", "state", "licence", "clips", "hours"], lines, left=3))
    for stock in stocks:
        if stock.what:
            echo(f"{stock.facts.name}: {stock.what}")
    echo(f"{sum(stock.complete for stock in stocks)} of {len(stocks)} complete")


@data.command()
@click.argument("task")
@click.argument("folder", type=FOLDER)
@click.option("--decode", is_flag=True, help="Decode every file to its end, too.")
@click.option("--cache", type=FOLDER, help="The cache folder [default: $BGKNOWN_CACHE or the user's cache].")
def validate(*, task: str, folder: Path, decode: bool, cache: Path | None) -> None:
    """Say everything that is wrong with a corpus: files, labels, splits, size, leaks.

    TASK is a task's name, or a table my.csv of your own. The status is 1 if there is anything.

    \b
    Example:
      benchmark data validate esc50 corpora/esc50
    """
    from benchmark.tasks import inventory  # noqa: PLC0415
    from bgknown.corpora.headers import default_cache  # noqa: PLC0415

    found = inventory.validate(task, folder, cache=cache or default_cache(), decode=decode)
    for fault in found.faults:
        echo(escape_line(fault))
    for note in found.notes:
        echo(escape_line(f"note: {note}"))
    if found.faults:
        echo(f"error: {folder}: {len(found.faults)} fault{'s' * (len(found.faults) > 1)}", err=True)
        raise SystemExit(1)
    echo(f"{folder}: no faults")
