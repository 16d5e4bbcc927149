"""The command line of bgknown: thin commands over the library."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bgknown import __version__
from bgknown.apwd.cli import apwd
from bgknown.cli_options import (
    add_options,
    cache_option,
    cluster_option,
    format_option,
    jobs_option,
    keep_sources_option,
    limit_option,
    out_option,
    read_numbers,
    seed_option,
    shard_option,
    skip_broken_option,
)
from bgknown.commands import FILE_PATH, FOLDER_PATH, HELP_SETTINGS, Group, begin_logging, echo
from bgknown.corpus_options import CORPUS_OPTIONS, corpora_options, describe_test_folds, open_given_corpora
from bgknown.exports.cli import export
from bgknown.jobs.shards import describe_share
from bgknown.pages.cli import page

if TYPE_CHECKING:
    from bgknown.corpora.pair import Corpora
    from bgknown.mixtures.build import BuildReport


@click.group(cls=Group, resumable=["build", "export"], context_settings=HELP_SETTINGS)
@click.version_option(__version__, prog_name="bgknown")
def main() -> None:
    """Build and check difference-aware audio datasets.

    \b
    Example:
      bgknown build --miniature --out bgknown-miniature
    """
    begin_logging(logging.WARNING)


main.add_command(apwd)
main.add_command(export)
main.add_command(page)


LICENCE_HELP = "Use only backgrounds of these licences, such as cc0,cc-by [default: all]."
draw_options = add_options(
    seed_option("0"),
    click.option("--snr", type=(float, float), metavar="LOW HIGH", help="Range of the SNR in dB [default: 0 3]."),
    click.option("--draws", type=int, metavar="R", help="Backgrounds, crops and SNRs of each clip [default: 1]."),
    click.option(
        "--snr-grid",
        callback=read_numbers,
        metavar="DB,DB,...",
        help="Mix every clip at each of these SNRs, with the same background, instead of drawing one.",
    ),
    click.option("--ref-db", type=float, help="Loudness of the background in the mixture, LUFS [default: -30]."),
    click.option("--licence", metavar="NAME,...", help=LICENCE_HELP),
    click.option("--exclude-same-class", is_flag=True, help="Give no clip a background that contains its class."),
    keep_sources_option,
    click.option("--duration", type=float, help="Duration of mixtures and references, seconds [default: 5]."),
    click.option("--min-level", type=float, help="Minimum loudness of crop (a) in its recording, LUFS [default: -60]."),
)
"""The options of the draw."""
DRAWING = ("seed", "snr", "draws", "snr_grid", "ref_db", "licence", "exclude_same_class")
"""Those that a recipe replaces."""
row_options = add_options(
    skip_broken_option,
    limit_option("clips, each with all its rows, of as many classes as possible and both splits"),
    jobs_option,
)
"""The options of planning and building."""


@main.command()
@corpora_options
@draw_options
@row_options
@click.option("--out", type=FILE_PATH, required=True, help="Recipe file to write (CSV).")
def plan(*, out: Path, **given: Any) -> None:
    """Write a recipe: the background, crops and SNR of every clip.

    \b
    Example:
      bgknown plan --esc50 ESC-50 --fsd50k FSD50K --seed 0 --out recipe.csv
    """
    from bgknown.jobs.problems import refuse_broken  # noqa: PLC0415
    from bgknown.mixtures import build as building  # noqa: PLC0415  (pandas and Scaper load only where they are used)
    from bgknown.mixtures import recipe as recipes  # noqa: PLC0415
    from bgknown.mixtures.selection import take_rows  # noqa: PLC0415

    options = _make_options(given)
    recipes.check_target(out)
    corpora = open_given_corpora(given, options.cache)
    drawn = building.plan(corpora, options.draw, jobs=options.jobs, cache=options.cache)
    refuse_broken(drawn.problems, skip=options.skip_broken, kept="no recipe was written")
    recipe = take_rows(drawn.recipe, options.limit)
    recipes.write_recipe(recipe, out)
    echo(_format_summary(recipe, corpora, options.draw.duration_s, building.summarise_draw(drawn, recipe, corpora)))
    echo(f"\nrecipe  {out}")


@main.command()
@corpora_options
@draw_options
@row_options
@click.option("--recipe", type=FILE_PATH, help="Build this recipe instead of drawing one.")
@click.option(
    "--reference-gain",
    type=click.Choice(["mixture", "source"]),
    default="mixture",
    show_default=True,
    help="Gain of the references: that of (a) in the mixture, or none (as in the source).",
)
@shard_option
@cluster_option
@format_option
@click.option(
    "--engine",
    type=click.Choice(["scaper", "direct"]),
    help="Scaper itself, or the renderer that writes the same bytes without it [default: scaper where installed].",
)
@click.option("--dry-run", is_flag=True, help="Show what would be built, without writing anything.")
@out_option("the dataset")
def build(*, out: Path, dry_run: bool, **given: Any) -> None:
    """Build BgKnown ESC-50: mixtures, reference backgrounds a, b and c, and JAMS.

    Tables of your own clips and recordings may take the places of ESC-50 and FSD50K.

    An interrupted build resumes when the same command is run again; a finished one is left alone.

    \b
    Example:
      bgknown build --esc50 ESC-50 --fsd50k FSD50K --out bgknown-esc50
    """
    from bgknown.jobs.memory import load_libraries  # noqa: PLC0415

    with load_libraries(own_process=True):
        from bgknown.jobs.cluster import use_cluster  # noqa: PLC0415
        from bgknown.jobs.problems import refuse_broken  # noqa: PLC0415
        from bgknown.mixtures import build as building  # noqa: PLC0415
        from bgknown.mixtures.engine import choose_engine  # noqa: PLC0415

    if given["recipe"] is not None and any(given[name] not in {None, False} for name in DRAWING):
        raise click.UsageError(
            "--seed, --snr, --draws, --snr-grid, --ref-db, --licence and --exclude-same-class set up a draw; "
            "leave them out with --recipe"
        )
    cluster = given.pop("cluster")
    options = _make_options({**given, "engine": given["engine"] or choose_engine(out)})
    corpora = open_given_corpora(given, options.cache)
    if dry_run:
        report = building.dry_run(corpora, options, out)
        echo(_format_summary(report.table, corpora, options.draw.duration_s, report.summary))
        size = len(report.table) * building.count_row_bytes(options.draw.clip_frames)
        what = (
            f"{out} is already complete" if report.was_finished else f"would write about {size / 1e9:.2f} GB to {out}"
        )
        echo(f"\n{what}")
        refuse_broken(report.problems, skip=options.skip_broken, kept="a build would stop there")
        return
    with use_cluster(cluster, read=[corpora.foreground.root, corpora.background.root]):
        report = building.build(corpora, options, out)
    if report.shard is None:
        echo(_format_summary(report.table, corpora, options.draw.duration_s, report.summary))
    _report(report, out)


@main.command()
@click.argument("folder", type=FOLDER_PATH)
@jobs_option
def verify(folder: Path, jobs: int | None) -> None:
    """Check a dataset: rehash and remeasure every file, and compare with recipe and manifest.

    \b
    Example:
      bgknown verify bgknown-esc50
    """
    from bgknown.jobs.parallel import count_cores  # noqa: PLC0415
    from bgknown.mixtures.verify import verify as check  # noqa: PLC0415

    data, faults = check(folder, jobs=count_cores() if jobs is None else jobs)
    for fault in faults:
        echo(fault)
    if faults:
        echo(f"error: {folder}: {len(faults)} fault{'s' * (len(faults) > 1)}", err=True)
        raise SystemExit(1)
    off = (data.table["achieved_snr_db"] - data.table["snr_db"]).abs().max()
    what = "rows" if "clips" in data.description["counts"] else "clips"
    echo(f"ok: {len(data)} {what}, {5 * len(data)} files, largest SNR error {off:.4f} dB")


@main.command()
@click.argument("folder", type=FOLDER_PATH)
def miniature(folder: Path) -> None:
    """Write the small built-in corpora to a folder, in the layouts of ESC-50 and FSD50K.

    \b
    Example:
      bgknown miniature corpora
    """
    from bgknown.corpora.miniature import make  # noqa: PLC0415

    for path in make(folder):
        echo(path)


@main.command()
@cache_option
@click.option("--clear", is_flag=True, help="Delete its content.")
def cache(cache: Path | None, clear: bool) -> None:
    """Show the folder in which headers and miniature corpora are cached, or clear it.

    \b
    Example:
      bgknown cache --clear
    """
    from bgknown.corpora.headers import default_cache  # noqa: PLC0415
    from bgknown.jobs.caches import clear_corpora  # noqa: PLC0415

    folder = cache or default_cache()
    if clear:
        echo(f"{folder}: {clear_corpora(folder) / 1e6:.1f} MB deleted")
    else:
        echo(folder)


def _make_options(given: dict[str, Any]) -> Any:
    """The options on the command line; those not given keep the library's defaults."""
    from bgknown.mixtures.draw import DrawOptions  # noqa: PLC0415
    from bgknown.mixtures.options import BuildOptions  # noqa: PLC0415

    names = {"seed": "seed", "snr": "snr_db", "draws": "draws", "snr_grid": "snr_grid_db", "ref_db": "ref_db"}
    names |= {"min_level": "min_level_lufs", "duration": "duration_s"}
    names |= {name: name for name in ("keep_sources", "exclude_same_class", "licences")}
    given["licences"] = None if given["licence"] is None else tuple(given["licence"].split(","))
    if given["snr"] is not None and given["snr_grid"] is not None:
        raise click.UsageError("--snr is a range to draw from, --snr-grid replaces the drawing; give one of them")
    draw = {field: given[name] for name, field in names.items() if given[name] is not None}
    apart = {*names, *CORPUS_OPTIONS, "licence"}
    others = {name: value for name, value in given.items() if value is not None and name not in apart}
    return BuildOptions(draw=DrawOptions(**draw), **others)


def _report(report: BuildReport, out: Path) -> None:
    if share := describe_share(report, "row", made=report.rendered):
        echo(share)
        return
    done = (
        "was already complete; nothing was done"
        if report.was_finished
        else f"{report.rendered} rendered, {report.kept} kept"
    )
    echo(f"\n{done}")
    if report.problems:
        echo(f"{len(report.problems)} broken inputs skipped (listed in dataset.json)")
    for title, name in (
        ("table", "manifest.csv"),
        ("audio", "audio/{mix,a,b,c}"),
        ("JAMS", "jams"),
        ("about", "dataset.json"),
        ("credit", "ATTRIBUTION.csv"),
    ):
        echo(f"{title:<7}{out / name}")


def _format_summary(table: Any, corpora: Corpora, duration_s: float, backgrounds: Sequence[str]) -> str:
    from bgknown.corpora.columns import find_corpus_prefixes  # noqa: PLC0415

    measured = "achieved_snr_db" in table.columns
    prefixes = find_corpus_prefixes(table.columns)
    clips = table[prefixes.foreground_file]
    several = bool(clips.duplicated().any())
    lines = [f"split  {'  rows  ' * several}clips  classes  backgrounds  SNR dB (mean, range)   seconds"]
    for split, part in sorted(table.groupby("split"), key=lambda found: found[0] != "train"):
        snr = part["achieved_snr_db" if measured else "snr_db"]
        mean, low, high = (round(value, 2) + 0.0 for value in (snr.mean(), snr.min(), snr.max()))  # no -0.00
        rows = f"{len(part):>6}  " if several else ""
        lines.append(
            f"{split:<6} {rows}{clips[part.index].nunique():>5}  {part['category'].nunique():>7}  "
            f"{part[prefixes.background_file].nunique():>11}  "
            f"{mean:.2f}  {low:.2f} .. {high:.2f}    {duration_s * len(part):>9,.6g}"
        )
    notes = [*([folds] if (folds := describe_test_folds(corpora)) else []), *backgrounds]
    return "\n".join([*lines, *([""] * bool(notes)), *notes])
