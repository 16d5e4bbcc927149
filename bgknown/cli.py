"""The command line of bgknown: thin commands over the library."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bgknown import __version__
from bgknown.apwd.cli import apwd
from bgknown.commands import FILE, FOLDER, Group, begin_logging, echo

if TYPE_CHECKING:
    from bgknown.mixtures.build import BuildReport


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="bgknown")
def main() -> None:
    """Build and check difference-aware audio datasets.

    \b
    Example:
      bgknown build --miniature --out bgknown-miniature
    """
    begin_logging(logging.WARNING)


main.add_command(apwd)


def corpora_options(command: Any) -> Any:
    """The options that name the corpora and the cache."""
    for option in (
        click.option(
            "--cache", type=FOLDER, help="Folder for file headers [default: $BGKNOWN_CACHE or the user's cache]."
        ),
        click.option("--miniature", is_flag=True, help="Use a built-in pair of small corpora instead."),
        click.option(
            "--fsd50k", type=FOLDER, help="Folder of FSD50K: FSD50K.ground_truth, FSD50K.dev_audio, FSD50K.eval_audio."
        ),
        click.option("--esc50", type=FOLDER, help="Folder of ESC-50: meta/esc50.csv, audio/."),
    ):
        command = option(command)
    return command


def draw_options(command: Any) -> Any:
    """The options of the draw."""
    for option in (
        click.option(
            "--min-level", type=float, help="Least loudness of crop (a) in its recording, LUFS [default: -60]."
        ),
        click.option("--ref-db", type=float, help="Loudness of the background in the mixture, LUFS [default: -30]."),
        click.option(
            "--snr", type=(float, float), metavar="LOW HIGH", help="Range of the SNR, dB, uniform [default: 0 3]."
        ),
        click.option("--seed", type=int, help="Seed of the draw [default: 0]."),
    ):
        command = option(command)
    return command


def shared_options(command: Any) -> Any:
    """The options of planning and building."""
    for option in (
        click.option("--jobs", type=int, help="Number of processes [default: all cores]."),
        click.option("--limit", type=int, help="Only this many rows, of as many classes as possible and both splits."),
        click.option("--skip-broken", is_flag=True, help="Go on without inputs that are broken, and count them."),
    ):
        command = option(command)
    return command


@main.command()
@corpora_options
@draw_options
@shared_options
@click.option("--out", type=FILE, required=True, help="The recipe to write, a CSV file.")
def plan(*, out: Path, **given: Any) -> None:
    """Write a recipe: which background, which crops and which SNR each clip gets.

    \b
    Example:
      bgknown plan --esc50 ESC-50 --fsd50k FSD50K --seed 0 --out recipe.csv
    """
    from bgknown.jobs.problems import refuse_broken  # noqa: PLC0415
    from bgknown.mixtures import build as building  # noqa: PLC0415  (pandas and Scaper load only where they are used)
    from bgknown.mixtures import recipe as recipes  # noqa: PLC0415

    options = _options(given)
    recipes.check_target(out)
    drawn = building.plan(_corpora(given, options.cache), options.draw, jobs=options.jobs)
    refuse_broken(drawn.problems, skip=options.skip_broken, kept="no recipe was written")
    recipe = recipes.take_rows(drawn.recipe, options.limit)
    recipes.write_recipe(recipe, out)
    echo(_summary(recipe))
    echo(f"\nrecipe  {out}")


@main.command()
@corpora_options
@draw_options
@shared_options
@click.option("--recipe", type=FILE, help="Use this recipe instead of drawing one.")
@click.option(
    "--reference-gain",
    type=click.Choice(["mixture", "source"]),
    default="mixture",
    show_default=True,
    help="Whether references carry the gain that (a) has in the mixture, or none.",
)
@click.option(
    "--format",
    "container",
    type=click.Choice(["wav", "flac"]),
    default="wav",
    show_default=True,
    help="Type of the audio files.",
)
@click.option(
    "--engine",
    type=click.Choice(["scaper", "direct"]),
    help="Scaper itself, or the renderer that writes the same bytes without it [default: scaper where installed].",
)
@click.option("--dry-run", is_flag=True, help="Say what would be built, and write nothing.")
@click.option("--out", type=FOLDER, required=True, help="Folder of the dataset.")
def build(*, out: Path, dry_run: bool, **given: Any) -> None:
    """Make BgKnown ESC-50: mixtures, reference backgrounds a, b and c, and JAMS.

    A build that was stopped goes on where it was when the same command is given again; a finished one is left alone.

    \b
    Example:
      bgknown build --esc50 ESC-50 --fsd50k FSD50K --out bgknown-esc50
    """
    from bgknown.jobs.problems import refuse_broken  # noqa: PLC0415
    from bgknown.mixtures import build as building  # noqa: PLC0415
    from bgknown.mixtures.engine import choose_engine  # noqa: PLC0415

    if given["recipe"] is not None and any(given[name] is not None for name in ("seed", "snr", "ref_db")):
        raise click.UsageError("--seed, --snr and --ref-db belong to the draw; with --recipe the recipe says them")
    options = _options({**given, "engine": given["engine"] or choose_engine(out)})
    corpora = _corpora(given, options.cache)
    if dry_run:
        report = building.dry_run(corpora, options, out)
        echo(_summary(report.table))
        size = len(report.table) * building.ROW_BYTES
        what = (
            f"{out} is already complete" if report.was_finished else f"would write about {size / 1e9:.2f} GB to {out}"
        )
        echo(f"\n{what}")
        refuse_broken(report.problems, skip=options.skip_broken, kept="a build would stop there")
        return
    _tell(building.build(corpora, options, out), out)


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--jobs", type=int, help="Number of processes [default: all cores].")
def verify(folder: Path, jobs: int | None) -> None:
    """Check a dataset: hash and measure every file again, and compare with recipe and manifest.

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
    echo(f"ok: {len(data)} clips, {5 * len(data)} files, largest SNR error {off:.4f} dB")


@main.command()
@click.argument("folder", type=FOLDER)
def miniature(folder: Path) -> None:
    """Write the built-in pair of small corpora to a folder, in the layouts of ESC-50 and FSD50K.

    \b
    Example:
      bgknown miniature corpora
    """
    from bgknown.corpora.miniature import make  # noqa: PLC0415

    for path in make(folder):
        echo(path)


@main.command()
@click.option("--cache", type=FOLDER, help="The cache folder [default: $BGKNOWN_CACHE or the user's cache].")
@click.option("--clear", is_flag=True, help="Delete what is in it.")
def cache(cache: Path | None, clear: bool) -> None:
    """Show where headers and the miniature corpora are kept, or delete them.

    \b
    Example:
      bgknown cache --clear
    """
    from bgknown.corpora.headers import clear_cache, default_cache  # noqa: PLC0415

    folder = cache or default_cache()
    if clear:
        echo(f"{folder}: {clear_cache(folder) / 1e6:.1f} MB deleted")
    else:
        echo(folder)


def _options(given: dict[str, Any]) -> Any:
    """What was given on the command line, over the defaults of the library."""
    from bgknown.mixtures.draw import DrawOptions  # noqa: PLC0415
    from bgknown.mixtures.options import BuildOptions  # noqa: PLC0415

    names = {"seed": "seed", "snr": "snr_db", "ref_db": "ref_db", "min_level": "min_level_lufs"}
    draw = {field: given[name] for name, field in names.items() if given[name] is not None}
    corpora = {"esc50", "fsd50k", "miniature"}
    others = {name: value for name, value in given.items() if value is not None and name not in {*names, *corpora}}
    return BuildOptions(draw=DrawOptions(**draw), **others)


def _corpora(given: dict[str, Any], cache: Path) -> Any:
    """The two corpora that were named, or the miniature ones."""
    from bgknown.corpora.miniature import make  # noqa: PLC0415
    from bgknown.corpora.pair import open_corpora  # noqa: PLC0415

    esc50, fsd50k = given["esc50"], given["fsd50k"]
    if not given["miniature"]:
        if esc50 is None or fsd50k is None:
            raise click.UsageError("give --esc50 and --fsd50k, or --miniature to try it without them")
        return open_corpora(esc50, fsd50k, cache=cache)
    if esc50 or fsd50k:
        raise click.UsageError("--miniature stands instead of --esc50 and --fsd50k")
    logger = logging.getLogger("bgknown.corpora")
    level = logger.level
    logger.setLevel(logging.ERROR)  # these corpora are meant to be small
    try:
        return open_corpora(*make(cache / "miniature"), cache=cache)
    finally:
        logger.setLevel(level)


def _tell(report: BuildReport, out: Path) -> None:
    echo(_summary(report.table))
    done = (
        "was complete already; nothing was done"
        if report.was_finished
        else f"{report.rendered} rendered, {report.kept} kept"
    )
    echo(f"\n{done}")
    if report.problems:
        echo(f"{len(report.problems)} broken inputs left out (see skipped in dataset.json)")
    for title, name in (
        ("table", "manifest.csv"),
        ("audio", "audio/{mix,a,b,c}"),
        ("JAMS", "jams"),
        ("about", "dataset.json"),
    ):
        echo(f"{title:<7}{out / name}")


def _summary(table: Any) -> str:
    measured = "achieved_snr_db" in table.columns
    lines = ["split  clips  classes  backgrounds  SNR dB (mean, range)   seconds"]
    for split, part in table.groupby("split", sort=False):
        snr = part["achieved_snr_db" if measured else "snr_db"]
        lines.append(
            f"{split:<6} {len(part):>5}  {part['category'].nunique():>7}  {part['fsd50k_file'].nunique():>11}  "
            f"{snr.mean():.2f}  {snr.min():.2f} .. {snr.max():.2f}    {5 * len(part):>9,}"
        )
    return "\n".join(lines)
