"""The commands of APwD: thin commands over the library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bgknown.commands import FILE, FOLDER, Group, echo

if TYPE_CHECKING:
    from bgknown.apwd.build import PairReport


class ApwdGroup(Group):
    """The group of these commands."""

    resumable = frozenset({"prepare", "build", "draw"})


@click.group(cls=ApwdGroup)
def apwd() -> None:
    """Audio pairs that differ: prepare sources, draw pairs, render them, and describe the differences.

    \b
    Example:
      bgknown apwd build --jams apwd-dataset/datasets --source source --out apwd
    """


def jobs_option(command: Any) -> Any:
    """The option for the number of processes."""
    return click.option("--jobs", type=int, help="Number of processes [default: all cores].")(command)


def scenes_option(command: Any) -> Any:
    """The option for another file of scenes."""
    return click.option(
        "--scenes", "scenes_file", type=FILE, help="TOML file of scenes [default: data_manifests/apwd_scenes.toml]."
    )(command)


@apwd.command()
@click.option("--fsd50k", type=FOLDER, required=True, help="Folder of FSD50K, or of a corpus in its layout.")
@click.option("--esc50", type=FOLDER, required=True, help="Folder of ESC-50, or of a corpus in its layout.")
@click.option(
    "--lists",
    type=FOLDER,
    help="Published lists of sources: org_audio_csv of APwD or audio_csv of AudioDiffCaps [default: by labels].",
)
@click.option("--scene", "scene_names", multiple=True, help="Only the sources of this scene; may be repeated.")
@click.option(
    "--background",
    "backgrounds",
    multiple=True,
    metavar="LABEL=FSD50K_LABEL",
    help="Your own background: recordings with this label of FSD50K, or with one of several (separated by commas).",
)
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="LABEL[=CATEGORY]",
    help="Your own event class: clips of this category of ESC-50.",
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
@click.option("--skip-broken", is_flag=True, help="Leave out missing and broken sources, and count them.")
@click.option("--cache", type=FOLDER, help="Folder for file headers [default: $BGKNOWN_CACHE or the user's cache].")
@jobs_option
@click.option("--out", type=FOLDER, required=True, help="Folder of the source tree.")
def prepare(*, scenes_file: Path | None, jobs: int | None, cache: Path | None, **given: Any) -> None:
    """Make the source tree that the JAMS refer to: looped backgrounds, trimmed events, 16 bits, 44.1 kHz.

    \b
    Example:
      bgknown apwd prepare --fsd50k FSD50K --esc50 ESC-50 --lists apwd-dataset/org_audio_csv --out source
    """
    from bgknown.apwd.sources import prepare as preparing  # noqa: PLC0415

    given["backgrounds"] = {
        name: tuple(value.split(",")) for name, value in _parse_assignments(given["backgrounds"]).items()
    }
    given["events"] = _parse_assignments(given["events"])
    chosen: dict[str, Any] = {} if cache is None else {"cache": cache}
    report = preparing.prepare(
        preparing.PrepareOptions(**given, **chosen, **_set_jobs(jobs), scenes=_read_scenes(scenes_file))
    )
    echo("split  role        label                 files   seconds")
    for (split, role, label), part in report.table.groupby(["split", "role", "label"]):
        echo(f"{split:<6} {role:<11} {label:<20} {len(part):>6,} {part['frames'].sum() / 44_100:>9,.0f}")
    done = f"{report.prepared} sources prepared, {report.kept} kept"
    echo(f"\n{'was already complete; nothing was done' if report.was_finished else done}")
    if report.not_clean:
        echo(f"{report.not_clean} clips that the lists mark as not clean left out, as published")
    if report.problems:
        echo(f"{len(report.problems)} missing or broken sources left out (see skipped in source.json)")
    echo(f"tree   {given['out']}")


RANGE: dict[str, Any] = {"type": (float, float), "metavar": "LOW HIGH"}


@apwd.command()
@click.option("--source", type=FOLDER, required=True, help="The source tree to draw from (`bgknown apwd prepare`).")
@click.option("--scene", required=True, help="The scene: its background, its event classes.")
@click.option("--event", "events", multiple=True, help="An event class, instead of the scene's; may be repeated.")
@click.option(
    "--pairs",
    multiple=True,
    metavar="[SPLIT=]N",
    help="Pairs of a split, or of each [default: as published, dev=50000 and eval=1000].",
)
@click.option("--name", help="Name of the draw [default: apwd_SCENE_seedN].")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draw.")
@click.option("--duration", "duration_s", type=float, help="Length of a soundscape, s [default: 10].")
@click.option("--backgrounds", type=int, help="Background layers of a soundscape [default: 2].")
@click.option("--ref-db", **RANGE, help="Loudness of a background, LUFS [default: -36 -26].")
@click.option("--snr", "snr_db", **RANGE, help="SNR of an event, dB [default: 0 12].")
@click.option("--change", "change_db", **RANGE, help="Change of an event's level, dB [default: 6 11].")
@click.option("--event-length", "event_s", **RANGE, help="Length of an event, s [default: 3 5].")
@click.option("--onset", "onset_s", **RANGE, help="Onset of an event, s [default: 0 8].")
@click.option("--changes", metavar="W,W,...", help="Weights of one change, of two, ... [default: 21,18].")
@click.option(
    "--kept", metavar="W,W,...", help="Weights of keeping no class on both sides, one class, ... [default: none]."
)
@click.option("--kind", "kinds", multiple=True, metavar="KIND=W", help="Weight of a kind of change; other kinds get 0.")
@scenes_option
@jobs_option
@click.option("--out", type=FOLDER, required=True, help="Folder in which the folder of the draw is made.")
def draw(*, scenes_file: Path | None, jobs: int | None, **given: Any) -> None:
    """Draw new pairs and write them as JAMS, for `bgknown apwd build`.

    \b
    Example:
      bgknown apwd draw --source source --scene rain --pairs dev=1000 --pairs eval=100 --out drawn
    """
    from bgknown.apwd import draw as draws  # noqa: PLC0415
    from bgknown.apwd import pair_draw as drawing  # noqa: PLC0415

    scenes = _read_scenes(scenes_file)
    places = {name: given.pop(name) for name in ("source", "scene", "events", "name", "out")}
    pairs = _parse_counts(given.pop("pairs"), tuple(scenes.splits))
    for name in ("changes", "kept"):
        if given[name] is not None:
            given[name] = _parse_weights(given[name], f"--{name}")
    given["kinds"] = {
        kind: _parse_weights(weight, "--kind")[0] for kind, weight in _parse_assignments(given["kinds"]).items()
    } or None
    rules = drawing.PairRules(**{name: value for name, value in given.items() if value is not None})
    report = draws.draw(draws.PairDrawOptions(**places, scenes=scenes, pairs=pairs, rules=rules, **_set_jobs(jobs)))
    echo("\n".join(f"{split:<20} {count:>8,} pairs" for split, count in report.counts.items()))
    echo("\n".join(f"{kind:<20} {count:>8,}" for kind, count in report.kinds.items()))
    if report.was_finished:
        echo("\nwas already complete; nothing was done")
    echo(f"\nJAMS   {report.folder}")


@apwd.command()
@click.option("--jams", type=FOLDER, required=True, help="Folder of the JAMS pairs, at any depth.")
@click.option("--source", type=FOLDER, help="The source tree that the JAMS refer to.")
@click.option("--manifest-only", is_flag=True, help="Write manifest and texts from the JAMS alone, without audio.")
@click.option(
    "--text-table",
    "text_tables",
    type=FILE,
    multiple=True,
    help="CSV of texts to use instead: pair,text or AudioDiffCaps'.",
)
@scenes_option
@click.option(
    "--engine", type=click.Choice(["direct", "scaper"]), default="direct", show_default=True, help="What renders."
)
@click.option(
    "--format",
    "container",
    type=click.Choice(["wav", "flac"]),
    default="wav",
    show_default=True,
    help="Type of the audio.",
)
@click.option("--bits", type=click.Choice(["16", "32"]), default="16", show_default=True, help="Bits of a sample.")
@click.option("--limit", type=int, help="Only this many pairs, of every scene and split.")
@click.option("--skip-broken", is_flag=True, help="Leave out broken pairs, and count them.")
@jobs_option
@click.option("--out", type=FOLDER, required=True, help="Folder of the set.")
def build(*, manifest_only: bool, scenes_file: Path | None, bits: str, jobs: int | None, **given: Any) -> None:
    """Render JAMS pairs, and write what changes from s1 to s2 as text, codes and classes.

    Renders what scaper.generate_from_jams renders. A build that was stopped resumes where it left off when you run the
    same command again; a finished one is left alone.

    \b
    Example:
      bgknown apwd build --jams apwd-dataset/datasets --source source --out apwd
    """
    from bgknown.apwd import build as building  # noqa: PLC0415  (pandas loads only where it is used)

    if manifest_only == (given["source"] is not None):
        raise click.UsageError("give --source to render audio, or --manifest-only to write none")
    options = building.PairBuildOptions(
        **given, scenes=_read_scenes(scenes_file), bits=32 if bits == "32" else 16, **_set_jobs(jobs)
    )
    _print_report(building.build(options), options.out)


@apwd.command()
@click.argument("folder", type=FOLDER)
@click.option("--jams", type=FOLDER, help="Folder of its JAMS: read them again and compare texts and changes.")
@click.option("--source", type=FOLDER, help="Its source tree, for --against-scaper.")
@click.option("--against-scaper", type=int, default=0, metavar="N", help="Render N files with Scaper and compare.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the choice of those files.")
@scenes_option
@jobs_option
def verify(folder: Path, *, scenes_file: Path | None, jobs: int | None, **given: Any) -> None:
    """Check a set of pairs: hash every file again and compare with the manifest.

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
    """LABEL=VALUE options; a label alone is also its value."""
    pairs = {}
    for text in texts:
        label, _, value = text.partition("=")
        if label in pairs:
            raise click.UsageError(f"the label {label!r} is given twice")
        pairs[label] = value or label
    return pairs


def _parse_counts(texts: tuple[str, ...], splits: tuple[str, ...]) -> dict[str, int]:
    """SPLIT=N options; a number alone applies to every split."""
    counts: dict[str, int] = {}
    for text in texts:
        split, equals, number = text.rpartition("=")
        if not number.isdecimal():
            raise click.UsageError(f"--pairs {text}: must be N or SPLIT=N, with N a whole number")
        counts |= {name: int(number) for name in ([split] if equals else splits)}
    return counts


def _parse_weights(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.UsageError(f"{option} {text}: must be numbers, separated by commas") from error


def _read_scenes(file: Path | None) -> Any:
    from bgknown.apwd import scenes  # noqa: PLC0415

    return scenes.read_published_scenes() if file is None else scenes.read_scenes(file)


def _set_jobs(jobs: int | None) -> dict[str, Any]:
    return {} if jobs is None else {"jobs": jobs}


def _print_report(report: PairReport, out: Path) -> None:
    echo(_format_summary(report.table))
    done = f"{report.rendered} made, {report.kept} kept"
    echo(f"\n{'was already complete; nothing was done' if report.was_finished else done}")
    if report.problems:
        echo(f"{len(report.problems)} broken pairs left out (see skipped in dataset.json)")
    echo(f"table  {out / 'manifest.csv'}")
    if (report.table["s1"] != "").any():
        echo(f"audio  {out / 'audio'}")


def _format_summary(table: Any) -> str:
    lines = ["scene        split   pairs  one change  several  example of a text"]
    for (scene, split), part in table.groupby(["scene", "split"]):
        count = part["changes"].str.count(";") + (part["changes"] != "")
        text = part["text"][count > 0].iloc[0] if (count > 0).any() else part["text"].iloc[0]
        lines.append(
            f"{scene:<12} {split:<5} {len(part):>7,}  {(count == 1).sum():>10,}  {(count > 1).sum():>7,}  {text}"
        )
    return "\n".join(lines)
