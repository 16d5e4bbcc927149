"""The command of the page of a dataset: a thin command over the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bgknown.cli_options import jobs_option
from bgknown.commands import ANY_PATH, FOLDER_PATH, Command, echo


@click.command(cls=Command)
@click.argument("folder", type=FOLDER_PATH)
@click.option(
    "--out", type=ANY_PATH, help="Page to write (.html), or a folder for it [default: next to the dataset, NAME.html]."
)
@click.option("--sample", type=int, metavar="N", help="Show at most N rows, of as many classes as possible.")
@click.option(
    "--inline-audio",
    type=int,
    metavar="N",
    help="Show at most N rows, and put their audio, compressed, into the page: one file that can be sent by mail.",
)
@click.option("--verify", is_flag=True, help="Check every file of the dataset first, and not the tables alone.")
@click.option("--jams", type=FOLDER_PATH, help="Folder of the JAMS of APwD pairs, to show their events on a time line.")
@jobs_option
def page(folder: Path, **given: Any) -> None:
    """Write a page to look at a dataset and listen to it, for any browser, without a server.

    Works for BgKnown and for APwD pairs. The page refers to the dataset's own files, so it has to stay where it is,
    relative to the dataset, unless it holds its audio.

    \b
    Example:
      bgknown page bgknown-esc50 --sample 200
    """
    from bgknown.pages.dataset_page import write_dataset_page  # noqa: PLC0415
    from bgknown.pages.options import PageOptions  # noqa: PLC0415

    report = write_dataset_page(PageOptions(folder=folder, **given))
    for fault in report.faults[:20]:
        echo(f"warning: {fault}", err=True)
    checked = "every file" if report.checks.full else "the tables (--verify checks every file)"
    faults = len(report.checks.faults)
    echo(f"rows        {report.rows:,} of {report.total:,}")
    echo(f"checked     {checked}: {f'{faults:,} faults, listed on the page' if faults else 'no fault'}")
    if report.remainders is not None:
        echo(f"remainders  {report.remainders} ({report.remainder_bytes / 1e6:.1f} MB; keep it next to the page)")
    pictures = (
        f", of which pictures {report.picture_bytes / report.rows / 1e3:.1f} kB a row" if report.picture_bytes else ""
    )
    echo(f"page        {report.page} ({report.page_bytes / 1e6:.1f} MB{pictures})")
