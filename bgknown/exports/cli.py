"""The command ``bgknown export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bgknown.cli_options import out_option
from bgknown.commands import FOLDER_PATH, Command, echo


@click.command(cls=Command)
@click.argument("folder", type=FOLDER_PATH)
@click.option(
    "--format",
    "format",
    type=click.Choice(["parquet", "webdataset", "croissant", "soundata", "mteb"]),
    required=True,
    help="Format to write; mteb is for pairs only.",
)
@click.option(
    "--shard-mb",
    type=int,
    default=500,
    show_default=True,
    metavar="MB",
    help="Largest file of audio, in MB.",
)
@out_option("the export")
def export(*, folder: Path, out: Path, format: Any, shard_mb: int) -> None:
    """Export a dataset or a set of pairs to the format of another library, with a dataset card.

    An interrupted export resumes when the same command is run again; a finished one is left alone.

    \b
    Example:
      bgknown export bgknown-esc50 --format parquet --out bgknown-esc50-parquet
    """
    from bgknown.exports.export import export_dataset  # noqa: PLC0415

    report = export_dataset(folder, out, format=format, shard_mb=shard_mb)
    done = "was already complete; nothing was done" if report.was_finished else "exported"
    size = sum(report.files.values())
    echo(f"{report.name} as {format}: {report.rows:,} rows, {len(report.files)} files, {size / 1e6:,.1f} MB {done}")
    echo(f"card   {out / 'README.md'}")
