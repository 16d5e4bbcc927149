"""The commands of APwD: thin commands over the library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bgknown.cli_options import (
    cache_option,
    cluster_option,
    format_option,
    jobs_option,
    keep_sources_option,
    limit_option,
    out_option,
    seed_option,
    shard_option,
    skip_broken_option,
)
from bgknown.commands import FILE_PATH, FOLDER_PATH, Group, echo
from bgknown.jobs.shards import describe_share

if TYPE_CHECKING:
    from bgknown.apwd.build import PairReport


@click.group(cls=Group, resumable=["prepare", "build", "draw"])
def apwd() -> None:
    """Audio pairs with a difference: prepare sources, draw pairs, render them, describe what differs.

    \b
    Example:
      bgknown apwd build --jams apwd-dataset/datasets --source source --out apwd
    """


scenes_option = click.option(
    "--scenes", "scenes_file", type=FILE_PATH, help="TOML file of scenes [default: data_manifests/apwd_scenes.toml]."
)


@apwd.command()
@click.option("--fsd50k", type=FOLDER_PATH, required=True, help="FSD50K folder, or a corpus with the same layout.")
@click.option("--esc50", type=FOLDER_PATH, required=True, help="ESC-50 folder, or a corpus with the same layout.")
@click.option(
    "--lists",
    type=FOLDER_PATH,
    help="Published source lists: org_audio_csv of APwD or audio_csv of AudioDiffCaps [default: by label].",
)
@click.option("--scene", "scene_names", multiple=True, help="Prepare only the sources of this scene; may be repeated.")
@click.option(
    "--background",
    "backgrounds",
    multiple=True,
    metavar="LABEL=FSD50K_LABEL",
    help="Your own background: recordings with this FSD50K label, or one of several (with commas); may be repeated.",
)
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="LABEL[=CATEGORY]",
    help="Your own event class: clips of this ESC-50 category; may be repeated.",
)
@scenes_option
@click.option(
    "--style",
    type=click.Choice(["apwd", "audiodiffcaps"]),
    default="apwd",
    show_default=True,
    help="apwd scales backgrounds to a peak of 0.95 and fades events; audiodiffcaps does neither.",
)
@click.option(
    "--repeat-samples",
    is_flag=True,
    help="Reproduce a fault of AudioDiffCaps: repeat each sample of a background instead of looping the recording.",
)
@keep_sources_option
@skip_broken_option
@cache_option
@jobs_option
@shard_option
@cluster_option
@out_option("the source tree")
def prepare(*, scenes_file: Path | None, jobs: int | None, cache: Path | None, **given: Any) -> None:
    """Prepare the source tree that the JAMS refer to: looped backgrounds, trimmed events, 16 bits, 44.1 kHz.

    \b
    Example:
      bgknown apwd prepare --fsd50k FSD50K --esc50 ESC-50 --lists apwd-dataset/org_audio_csv --out source
    """
    from bgknown.apwd.sources import prepare as preparing  # noqa: PLC0415
    from bgknown.jobs.cluster import use_cluster  # noqa: PLC0415

    given["backgrounds"] = {
        name: tuple(value.split(",")) for name, value in _parse_assignments(given["backgrounds"]).items()
    }
    given["events"] = _parse_assignments(given["events"])
    chosen: dict[str, Any] = {} if cache is None else {"cache": cache}
    cluster = given.pop("cluster")
    options = preparing.PrepareOptions(**given, **chosen, **_choose_jobs(jobs), scenes=_read_scenes(scenes_file))
    with use_cluster(cluster, read=[options.esc50, options.fsd50k]):
        report = preparing.prepare(options)
    if share := describe_share(report, "source", made=report.prepared):
        echo(share)
        return
    echo("split  role        label                 files   seconds")
    for (split, role, label), part in report.table.groupby(["split", "role", "label"]):
        echo(f"{split:<6} {role:<11} {label:<20} {len(part):>6,} {part['frames'].sum() / 44_100:>9,.0f}")
    done = f"{report.prepared} sources prepared, {report.kept} kept"
    echo(f"\n{'was already complete; nothing was done' if report.was_finished else done}")
    if report.not_clean:
        echo(f"{report.not_clean} clips that the lists mark as not clean left out, as published")
    if report.sources_of_clips:
        count = report.sources_of_clips
        noun = "recording" if count == 1 else "recordings"
        echo(f"{count} {noun} left out because clips were cut from them (--keep-sources)")
    if report.problems:
        echo(f"{len(report.problems)} missing or broken sources skipped (listed in source.json)")
    echo(f"tree   {given['out']}")


RANGE: dict[str, Any] = {"type": (float, float), "metavar": "LOW HIGH"}


@apwd.command()
@click.option("--source", type=FOLDER_PATH, required=True, help="Source tree to draw from, of `apwd prepare`.")
@click.option(
    "--scene", required=True, help="Scene to draw, or the label of your own background; the latter needs --event."
)
@click.option("--event", "events", multiple=True, help="Event class to use instead of the scene's; may be repeated.")
@click.option(
    "--pairs",
    multiple=True,
    metavar="[SPLIT=]N",
    help="Number of pairs of a split, or of every split not named; a split without a number is not drawn "
    "[default: as published, dev=50000 and eval=1000].",
)
@click.option("--name", help="Name of the draw [default: apwd_SCENE_seedN].")
@seed_option()
@click.option("--duration", "duration_s", type=float, help="Length of a soundscape, s [default: 10].")
@click.option("--backgrounds", type=int, help="Background layers in a soundscape [default: 2].")
@click.option("--ref-db", **RANGE, help="Loudness of a background, LUFS [default: -36 -26].")
@click.option("--snr", "snr_db", **RANGE, help="SNR of an event, dB [default: 0 12].")
@click.option("--change", "change_db", **RANGE, help="Change in the level of an event, dB [default: 6 11].")
@click.option("--event-length", "event_s", **RANGE, help="Length of an event, s [default: 3 5].")
@click.option("--onset", "onset_s", **RANGE, help="Onset of an event, s [default: 0 8].")
@click.option("--changes", metavar="W,W,...", help="Weights of one change, two changes, ... [default: 21,18].")
@click.option(
    "--kept", metavar="W,W,...", help="Weights of no class, one class, ... kept on both sides [default: none]."
)
@click.option("--kind", "kinds", multiple=True, metavar="KIND=W", help="Weight of a kind of change; others get 0.")
@keep_sources_option
@scenes_option
@jobs_option
@out_option("draws; each draw gets a folder in it")
def draw(*, scenes_file: Path | None, jobs: int | None, **given: Any) -> None:
    """Draw new pairs and write them as JAMS, for `bgknown apwd build`.

    \b
    Example:
      bgknown apwd draw --source source --scene rain --pairs dev=1000 --pairs eval=100 --out drawn
    """
    from bgknown.apwd import draw as draws  # noqa: PLC0415
    from bgknown.apwd import pair_draw as drawing  # noqa: PLC0415

    scenes = _read_scenes(scenes_file)
    places = {name: given.pop(name) for name in ("source", "scene", "events", "name", "keep_sources", "out")}
    pairs = _parse_counts(given.pop("pairs"), tuple(scenes.splits))
    for name in ("changes", "kept"):
        if given[name] is not None:
            given[name] = _parse_weights(given[name], f"--{name}")
    given["kinds"] = {
        kind: _parse_weights(weight, "--kind")[0] for kind, weight in _parse_assignments(given["kinds"]).items()
    } or None
    rules = drawing.PairRules(**{name: value for name, value in given.items() if value is not None})
    report = draws.draw(draws.PairDrawOptions(**places, scenes=scenes, pairs=pairs, rules=rules, **_choose_jobs(jobs)))
    echo("\n".join(f"{split:<20} {report.counts.get(split, 0):>8,} pairs" for split in scenes.splits))
    echo("\n".join(f"{kind:<20} {count:>8,}" for kind, count in report.kinds.items()))
    for why, what in draws.LEFT_OUT_WORDS.items():
        if report.left_out.get(why):
            echo(f"{what:<20} {report.left_out[why]:>8,} recordings left out")
    if report.was_finished:
        echo("\nwas already complete; nothing was done")
    echo(f"\nJAMS   {report.folder}")


@apwd.command()
@click.option("--jams", type=FOLDER_PATH, required=True, help="Folder of JAMS pairs; subfolders are searched.")
@click.option("--source", type=FOLDER_PATH, help="Source tree that the JAMS refer to.")
@click.option("--manifest-only", is_flag=True, help="Write only manifest and texts, from the JAMS, without audio.")
@click.option(
    "--text-table",
    "text_tables",
    type=FILE_PATH,
    multiple=True,
    help="CSV file of texts to use instead, with columns pair,text or as in AudioDiffCaps; may be repeated.",
)
@click.option(
    "--text-style",
    type=click.Choice(["1", "2"]),
    help="Style of the texts: 2, or 1 as of version 0.1.0 [default: 2; in a folder that has a set, that of the set].",
)
@scenes_option
@click.option(
    "--engine", type=click.Choice(["direct", "scaper"]), default="direct", show_default=True, help="Renderer to use."
)
@format_option
@click.option("--bits", type=click.Choice(["16", "32"]), default="16", show_default=True, help="Bits per sample.")
@limit_option("pairs, of every scene and split")
@skip_broken_option
@jobs_option
@shard_option
@cluster_option
@out_option("the set")
def build(
    *,
    manifest_only: bool,
    text_style: str | None,
    scenes_file: Path | None,
    bits: str,
    jobs: int | None,
    **given: Any,
) -> None:
    """Render JAMS pairs, and write what changes from s1 to s2 as text, codes and classes.

    Renders what scaper.generate_from_jams renders. An interrupted build resumes when the same command is run again; a
    finished one is left alone.

    \b
    Example:
      bgknown apwd build --jams apwd-dataset/datasets --source source --out apwd
    """
    from bgknown.apwd import build as building  # noqa: PLC0415  (pandas loads only where it is used)
    from bgknown.jobs.cluster import use_cluster  # noqa: PLC0415

    if manifest_only == (given["source"] is not None):
        raise click.UsageError("give --source to render audio, or --manifest-only to write none")
    given["text_style"] = None if text_style is None else 1 if text_style == "1" else 2
    cluster = given.pop("cluster")
    options = building.PairBuildOptions(
        **given, scenes=_read_scenes(scenes_file), bits=32 if bits == "32" else 16, **_choose_jobs(jobs)
    )
    with use_cluster(cluster, read=[folder for folder in (options.jams, options.source) if folder is not None]):
        report = building.build(options)
    _report(report, options.out)


@apwd.command()
@click.argument("folder", type=FOLDER_PATH)
@click.option("--jams", type=FOLDER_PATH, help="Folder of its JAMS: also compare texts and changes with them.")
@click.option("--source", type=FOLDER_PATH, help="Its source tree, needed by --against-scaper.")
@click.option("--against-scaper", type=int, default=0, metavar="N", help="Also render N files with Scaper.")
@seed_option()
@scenes_option
@jobs_option
def verify(folder: Path, *, scenes_file: Path | None, jobs: int | None, **given: Any) -> None:
    """Check a set of pairs: rehash every file and compare with the manifest.

    \b
    Example:
      bgknown apwd verify apwd --jams apwd-dataset/datasets --source source --against-scaper 20
    """
    from bgknown.apwd.verify import verify as check  # noqa: PLC0415
    from bgknown.jobs.parallel import count_cores  # noqa: PLC0415

    checked = check(folder, jobs=count_cores() if jobs is None else jobs, scenes=_read_scenes(scenes_file), **given)
    for fault in checked.faults:
        echo(fault)
    if checked.faults:
        echo(f"error: {folder}: {len(checked.faults)} fault{'s' * (len(checked.faults) > 1)}", err=True)
        raise SystemExit(1)
    rendered, stepped = checked.against_scaper
    scaper = f", {rendered} rendered by Scaper too: {rendered - stepped} equal, {stepped} off by one step at most"
    echo(f"ok: {checked.pairs} pairs, {checked.files} files{scaper if rendered else ''}")


def _parse_assignments(texts: tuple[str, ...]) -> dict[str, str]:
    """LABEL=VALUE options; without a value, the label is the value."""
    pairs = {}
    for text in texts:
        label, _, value = text.partition("=")
        if label in pairs:
            raise click.UsageError(f"the label {label!r} is given twice")
        pairs[label] = value or label
    return pairs


def _parse_counts(texts: tuple[str, ...], splits: tuple[str, ...]) -> dict[str, int]:
    """SPLIT=N options; a number alone is used for every split that is not named."""
    counts: dict[str, int] = {}
    for text in texts:
        split, _, number = text.rpartition("=")
        if not number.isdecimal() or text.startswith("="):
            raise click.UsageError(f"--pairs is {text}; it must be N or SPLIT=N, with N a whole number")
        if split in counts:
            raise click.UsageError(f"--pairs is given twice for {split or 'every split'}; give it once")
        counts[split] = int(number)
    others = counts.pop("", None)
    return counts if others is None else dict.fromkeys(splits, others) | counts


def _parse_weights(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.UsageError(f"{option} is {text}; it must be numbers, separated by commas") from error


def _read_scenes(file: Path | None) -> Any:
    from bgknown.apwd import scenes  # noqa: PLC0415

    return scenes.read_published_scenes() if file is None else scenes.read_scenes(file)


def _choose_jobs(jobs: int | None) -> dict[str, Any]:
    return {} if jobs is None else {"jobs": jobs}


def _report(report: PairReport, out: Path) -> None:
    if share := describe_share(report, "pair", made=report.rendered):
        echo(share)
        return
    echo(_format_summary(report.table))
    done = f"{report.rendered} made, {report.kept} kept"
    echo(f"\n{'was already complete; nothing was done' if report.was_finished else done}")
    if report.problems:
        echo(f"{len(report.problems)} broken pairs skipped (listed in dataset.json)")
    echo(f"table  {out / 'manifest.csv'}")
    if (report.table["s1"] != "").any():
        echo(f"audio  {out / 'audio'}")


def _format_summary(table: Any) -> str:
    lines = ["scene        split   pairs  one change  several  a text, for example"]
    for (scene, split), part in table.groupby(["scene", "split"]):
        count = sum(part[name].str.count(";") + (part[name] != "") for name in ("changes", "other_changes"))
        text = part["text"][count > 0].iloc[0] if (count > 0).any() else part["text"].iloc[0]
        lines.append(
            f"{scene:<12} {split:<5} {len(part):>7,}  {(count == 1).sum():>10,}  {(count > 1).sum():>7,}  {text}"
        )
    return "\n".join(lines)
