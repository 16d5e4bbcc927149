"""The commands that read results: ``benchmark leaderboard``, ``benchmark compare`` and ``benchmark plot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli_options import results_option, task_filter_option
from bgknown.commands import FILE_PATH, FOLDER_PATH, Command, echo
from bgknown.errors import StorageError
from bgknown.jobs.files import advise_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.pages.leaderboard_page import ResultPage
    from benchmark.results.board import BoardOptions

FORMAT_NAMES = ("text", "csv", "md", "latex", "json")


@click.command(cls=Command)
@click.option(
    "--out", "outs", type=FOLDER_PATH, multiple=True, required=True, help="Folder of the results; may be repeated."
)
@task_filter_option
@click.option("--metric", help="Only this metric [default: the key metrics].")
@click.option("--all", "everything", is_flag=True, help="All settings, controls and metrics, not only the key figures.")
@click.option("--columns", help="Only these columns, separated by commas, in this order.")
@click.option("--sort", help="The column that ranks the encoders.")
@click.option("--names", multiple=True, help='Display names: OLD=NEW or a .toml file of OLD = "NEW"; may be repeated.')
@click.option("--paper/--no-paper", default=True, show_default=True, help="Show the paper's figures next to ours.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMAT_NAMES),
    default="text",
    show_default=True,
    help="Form of the tables.",
)
@click.option("--html", type=FILE_PATH, help="Write one HTML page instead, with the predictions behind each figure.")
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Folder whose audio the page plays, DIR (a built BgKnown) or TASK=DIR; may be repeated.",
)
@click.option("--per-class", is_flag=True, help="Print the accuracy of every class as CSV instead.")
@click.option("--confusion", is_flag=True, help="Print how often classes are taken for others as CSV instead.")
def leaderboard(
    *,
    outs: tuple[Path, ...],
    per_class: bool,
    confusion: bool,
    form: str,
    html: Path | None,
    datasets: tuple[str, ...],
    **given: Any,
) -> None:
    """Print results as tables with intervals and ranks.

    As text from one folder, this also writes all tables to OUT/leaderboard.md. A page of --html opens without a server
    or a network.

    \b
    Example:
      benchmark leaderboard --out results
      benchmark leaderboard --out results --format latex --columns "a,a*,mix" --names logmel="log-mel"
      benchmark leaderboard --out results --per-class
      benchmark leaderboard --out results --html leaderboard.html --dataset bgknown-esc50
    """
    from benchmark.pages.leaderboard_page import write_leaderboard_page  # noqa: PLC0415
    from benchmark.results.board import BoardOptions  # noqa: PLC0415
    from benchmark.results.classes import format_confusion, format_per_class  # noqa: PLC0415
    from benchmark.results.export import FORMATS as WRITERS  # noqa: PLC0415
    from benchmark.results.leaderboard import arrange  # noqa: PLC0415
    from benchmark.results.merge import read_names, read_results  # noqa: PLC0415

    if per_class and confusion:
        raise click.UsageError("give --per-class or --confusion, not both")
    if html is not None and (per_class or confusion or form != "text"):
        raise click.UsageError("give --html without --format, --per-class or --confusion; the page has all of these")
    if datasets and html is None:
        raise click.UsageError("--dataset is for the page of --html")
    columns = tuple(name.strip() for name in (given.pop("columns") or "").split(",") if name.strip())
    options = BoardOptions(columns=columns, names=read_names(given.pop("names")), **given)
    if per_class or confusion:
        board = arrange(read_results(outs), options)
        rows = [row for row in board.rows if not columns or {row.setting, row.task} & set(columns)]
        echo((format_per_class if per_class else format_confusion)(rows, outs), nl=False)
    elif html is not None:
        with advise_option("--html"):
            show_page(write_leaderboard_page(outs, html, options, datasets=datasets))
    elif form == "text":
        show_leaderboard(outs, options)
    else:
        echo(WRITERS[form](arrange(read_results(outs), options, outs=outs)), nl=False)


def show_page(report: ResultPage) -> None:
    """Print where a page is, and what it holds."""
    echo(f"page  {report.path}  ({report.predictions:,} predictions, {report.size / 1e6:.1f} MB)")


def show_leaderboard(outs: Sequence[Path], options: BoardOptions) -> None:
    """Print the tables of folders of results, and for one folder write its page with all tables."""
    from benchmark.results.board import BoardOptions  # noqa: PLC0415
    from benchmark.results.clip_scores import ClipScores  # noqa: PLC0415
    from benchmark.results.export import WITH_PAPER, format_text, write_page  # noqa: PLC0415
    from benchmark.results.leaderboard import arrange  # noqa: PLC0415
    from benchmark.results.merge import read_results  # noqa: PLC0415

    rows, clips = read_results(outs), ClipScores(outs)
    echo(format_text(arrange(rows, options, clips=clips)))
    if len(outs) > 1:
        return
    try:
        echo(f"page  {write_page(outs[0], arrange(rows, BoardOptions(everything=True), clips=clips))}")
        echo(f"rows  {outs[0] / WITH_PAPER}")
    except StorageError as error:  # the tables are printed; somebody else's folder may be read-only
        echo(f"warning: the page was not written: {error}; copy the folder and pass the copy as --out", err=True)


@click.command(cls=Command)
@click.argument("a")
@click.argument("b")
@results_option
@task_filter_option
@click.option("--metric", help="Only this metric; p-values are then corrected for fewer tests.")
def compare(*, a: str, b: str, out: Path, task: str | None, metric: str | None) -> None:
    """Compare two encoders, or two settings (ENCODER:SETTING), clip by clip.

    Key figures come first. P-values are from paired tests by groups of clips and are corrected for their number.

    \b
    Example:
      benchmark compare logmel melpower --out results
    """
    from benchmark.results import compare as comparing  # noqa: PLC0415

    echo(comparing.format_comparison(comparing.compare(out, a, b, task=task, metric=metric)))


@click.command(cls=Command)
@click.argument("kind")
@click.option(
    "--out", "outs", type=FOLDER_PATH, multiple=True, required=True, help="Folder of the results; may be repeated."
)
@click.option("--to", type=FOLDER_PATH, help="Folder of the figures [default: OUT/plots].")
@click.option("--format", "forms", default="png,svg,pdf", show_default=True, help="Formats, separated by commas.")
@task_filter_option
@click.option("--metric", help="This metric [default: accuracy, or the task's first].")
@click.option("--setting", help="Setting of figures that show only one [default: the one that ranks the encoders].")
@click.option("--encoder", "encoders", multiple=True, help="Only this encoder (its name in results); may be repeated.")
@click.option("--names", multiple=True, help='Display names: OLD=NEW or a .toml file of OLD = "NEW"; may be repeated.')
def plot(*, kind: str, outs: tuple[Path, ...], forms: str, names: tuple[str, ...], **given: Any) -> None:
    """Draw figures of results, each with the CSV that it is drawn from.

    KIND is ladder, gains, differences, ranks, snr, alpha, lambda, speed, changes, confusion, or all of which there are
    data. Tasks, protocols and datasets have figures of their own.

    \b
    Example:
      benchmark plot all --out results
      benchmark plot ladder --out results --format pdf --names logmel="log-mel"
    """
    from benchmark.plots.make import make_plots  # noqa: PLC0415
    from benchmark.plots.material import PlotOptions  # noqa: PLC0415
    from benchmark.results.merge import read_names  # noqa: PLC0415
    from bgknown.figures.saving import read_figure_formats  # noqa: PLC0415

    options = PlotOptions(outs=outs, formats=read_figure_formats(forms), names=read_names(names), **given)
    made = make_plots(kind, options)
    for note in made.notes:
        echo(f"note: {note}", err=True)
    for paths in made.files.values():
        echo(f"{paths[0].with_suffix('')}  {', '.join(path.suffix[1:] for path in paths)}")
    for name, reason in made.missing.items():
        echo(f"not made: {name}: {reason}")
