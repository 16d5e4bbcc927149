"""The commands ``benchmark data``: which corpora are available, and whether they are sound."""

from __future__ import annotations

from pathlib import Path

import click

from bgknown.cli_options import cache_option
from bgknown.commands import FOLDER_PATH, Group, echo
from bgknown.shown import escape_line


@click.group(cls=Group)
def data() -> None:
    """Inspect the corpora of the tasks before measuring.

    \b
    Example:
      benchmark data status corpora
    """


@data.command()
@click.argument("folder", type=FOLDER_PATH)
@cache_option
def status(*, folder: Path, cache: Path | None) -> None:
    """List which corpora of the nine tasks are in FOLDER, and how complete they are.

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
@click.argument("folder", type=FOLDER_PATH)
@click.option("--decode", is_flag=True, help="Also decode every file to its end.")
@cache_option
def validate(*, task: str, folder: Path, decode: bool, cache: Path | None) -> None:
    """List everything that is wrong with a corpus: files, labels, splits, size, leaks.

    TASK is the name of a task, or a table my.csv of your own. The exit status is 1 if anything is wrong.

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
