"""The command line of benchmark: thin commands over the library."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli_options import (
    embedding_options,
    encoder_option,
    encoders_option,
    heads_option,
    loading_options,
    read_embedding_options,
    read_run_options,
    results_option,
)
from benchmark.data_cli import data as data_group
from benchmark.heads.cli import head
from benchmark.map_cli import difference_map
from benchmark.results_cli import compare, leaderboard, plot, show_leaderboard
from bgknown import __version__
from bgknown.cli_options import cache_option, device_option, jobs_option, limit_option, out_option, skip_broken_option
from bgknown.commands import ANY_PATH, FOLDER_PATH, HELP_SETTINGS, Group, begin_logging, echo
from bgknown.shown import escape_line

if TYPE_CHECKING:
    from benchmark.run import Outcome


@click.group(
    cls=Group,
    resumable=["run", "embed", "map", "demo", "head"],
    context_settings=HELP_SETTINGS,
)
@click.version_option(__version__, prog_name="benchmark")
def main() -> None:
    """Measure audio encoders: how much of an added sound survives in y_mix - y_bg.

    \b
    Example:
      benchmark run --encoder ckpt.pt --task bgknown --data bgknown-esc50 --out results
    """
    begin_logging(logging.WARNING)


@main.command()
@encoders_option
@click.option("--task", help="Tasks, separated by commas; my.csv is a task of your own [default: bgknown].")
@click.option("--suite", help="Tasks that are reported together: nine; those without data are skipped.")
@click.option("--data", multiple=True, help="Data folder, DIR or TASK=DIR; may be repeated [default: $BGKNOWN_DATA].")
@click.option("--splits", multiple=True, help="Table of other labels and splits, FILE or TASK=FILE; may be repeated.")
@results_option
@limit_option("clips of each task")
@click.option("--seeds", type=int, help="Number of seeds [default: the protocol's 3].")
@click.option(
    "--protocol",
    multiple=True,
    help="How probes are trained: linear, paper, evar, search or a .toml file; may be repeated [default: the task's].",
)
@click.option("--retrieval-patience", type=int, help="Epochs without gain that end retrieval training [default: off].")
@click.option("--text-encoder", help="Text encoder: a folder, or an id on the hub [default: distilbert-base-uncased].")
@click.option(
    "--text-pooling",
    type=click.Choice(["mean", "cls"]),
    default="mean",
    show_default=True,
    help="Pooling of tokens.",
)
@click.option(
    "--trained-on",
    type=ANY_PATH,
    multiple=True,
    help="List of sounds that the encoder was trained on (Freesound ids, file names, SHA-256); may be repeated.",
)
@heads_option
@skip_broken_option
@click.option("--shuffle-labels", is_flag=True, help="Control: measure with shuffled labels.")
@click.option("--again", is_flag=True, help="Repeat measurements that already exist.")
@embedding_options
@loading_options
def run(*, encoders: tuple[str, ...], task: str | None, suite: str | None, out: Path, **given: Any) -> None:
    """Measure encoders on tasks and add the results to OUT/leaderboard.csv.

    An interrupted run resumes when the same command is run again.

    \b
    Example:
      benchmark run --encoder logmel --data bgknown=bgknown-esc50 --data esc50=ESC-50 --out results
      benchmark run --encoder logmel --suite nine --data corpora --out results
    """
    from benchmark import run as running  # noqa: PLC0415
    from benchmark import suite as suites  # noqa: PLC0415
    from bgknown.jobs.cluster import use_cluster  # noqa: PLC0415

    if task and suite:
        raise click.UsageError("give --task or --suite, not both")
    options = read_run_options(given, encoders=encoders, task=task, suite=suite, out=out)
    if options.embedding.shard is not None:
        for line in running.embed_shares(options):
            echo(f"{options.embedding.shard}: {line}")
        echo("when all shards have ended, run the command without --shard, which measures")
        return
    with use_cluster(given["cluster"], read=options.data.list_folders()) as cluster:
        if cluster is not None:
            running.embed_elsewhere(options, cluster)
    outcomes = []
    for outcome in running.run(options):
        _report(outcome, out)
        outcomes.append(outcome)
    if suite:
        for average in suites.average_suite(suite, outcomes, out):
            echo(average.text())


@main.command()
@encoder_option
@out_option("embeddings.npy [n, D], clips.csv and about.json")
@click.argument("audio", type=ANY_PATH, nargs=-1, required=True)
@click.option("--duration", type=float, help="Cut or pad every clip to this many seconds [default: keep its length].")
@skip_broken_option
@embedding_options
@loading_options
def embed(*, encoder: str, audio: tuple[Path, ...], out: Path, duration: float | None, **given: Any) -> None:
    """Embed audio files, or all audio files in folders, into one array for use elsewhere.

    \b
    Example:
      benchmark embed --encoder logmel ESC-50/audio --out embeddings
    """
    from benchmark.embedding.embed_files import embed_files, embed_shard_of_files  # noqa: PLC0415
    from benchmark.embedding.shares import embed_on_cluster  # noqa: PLC0415
    from benchmark.encoders.registry import load_encoder  # noqa: PLC0415
    from benchmark.processes import pick_device  # noqa: PLC0415
    from bgknown.jobs.cluster import use_cluster  # noqa: PLC0415

    choice = {
        "spec": encoder,
        "trust_code": given["trust_code"],
        "device": pick_device(given["device"]),
        "name": given["name"],
    }
    settings, how = read_embedding_options(given), {"duration_s": duration, "skip_broken": given["skip_broken"]}
    with use_cluster(given["cluster"], read=[path for path in audio if path.is_dir()]) as cluster:
        if cluster is not None:
            work = functools.partial(embed_shard_of_files, choice, audio, settings, how)
            embed_on_cluster(work, cluster, settings.cache, f"embed {encoder}")
    loaded = load_encoder(**choice)
    report = embed_files(loaded, audio, out, settings, **how)
    if report.problems:
        echo(report.note(), err=True)
    if given["shard"] is not None:
        echo(f"{given['shard']}: the cache holds {report.clips:,} embeddings")
        echo("when all shards have ended, run the command without --shard, which writes the array")
        return
    left_out = f", {len(report.problems):,} left out" if report.problems else ""
    echo(f"{report.clips} clips of {loaded.encoder.embedding_size} values{left_out}\narray  {out / 'embeddings.npy'}")
    echo(f"clips  {out / 'clips.csv'}\nabout  {out / 'about.json'}")


main.add_command(data_group)
main.add_command(head)


@main.command()
@encoder_option
@click.option("--out", type=FOLDER_PATH, help="Add the speed to speed.csv in this folder of results.")
@loading_options
def check(*, encoder: str, out: Path | None, **given: Any) -> None:
    """Check an encoder: shapes, determinism, batches, short and long input, speed.

    \b
    Example:
      benchmark check --encoder logmel
      benchmark check --encoder logmel --out results
    """
    from benchmark.encoders.check import (  # noqa: PLC0415
        check_encoder,
        format_findings,
        has_passed,
    )
    from benchmark.encoders.registry import load_encoder  # noqa: PLC0415
    from benchmark.processes import pick_device  # noqa: PLC0415

    loaded = load_encoder(
        encoder, trust_code=given["trust_code"], device=pick_device(given["device"]), name=given["name"]
    )
    findings = check_encoder(loaded)
    echo(format_findings(findings))
    if not has_passed(findings):
        echo(f"error: encoder {loaded.name} fails the check", err=True)
        raise SystemExit(1)
    if out is not None:
        from benchmark.speed import record_speed  # noqa: PLC0415

        echo(f"speed  {record_speed(loaded, out)}")


@main.command()
def encoders() -> None:
    """List the encoders, the kinds of encoders and their options.

    \b
    Example:
      benchmark encoders
    """
    from benchmark.encoders.registry import list_kinds  # noqa: PLC0415

    for kind in list_kinds():
        trust = "   (--trust-code)" if kind.runs_code else ""
        echo(f"{kind.syntax}{trust}\n    {kind.about}")
        for option in kind.options:
            echo(f"    ?{option.name}={option.default}  {option.about}")


@main.command(name="tasks")
def list_tasks() -> None:
    """List the tasks, their settings, licences and sources.

    \b
    Example:
      benchmark tasks
    """
    from benchmark.tasks import MODULES, load_task  # noqa: PLC0415

    for name in MODULES:
        module = load_task(name)
        facts = module.FACTS
        length = "" if facts.duration_s is None else f", {facts.duration_s:g} s"
        echo(
            f"{name}\n    {facts.title}\n    {facts.classes:,} classes, {facts.size()}{length}; {facts.metric}, "
            f"protocol {' and '.join(facts.protocols)}, learning rate {facts.lr:g}"
        )
        for setting, (about, *_) in module.SETTINGS.items():
            echo(f"    {setting:<9} {about}")
        echo(f"    licence: {facts.licence}\n    cite: {facts.citation}\n    get: {facts.url}")


main.add_command(leaderboard)
main.add_command(compare)
main.add_command(difference_map)
main.add_command(plot)


@main.command()
@out_option("the demo", required=False, default=Path("bgknown-demo"), show_default=True)
@jobs_option
@cache_option
@device_option
def demo(*, out: Path, jobs: int | None, cache: Path | None, device: str | None) -> None:
    """Run the whole pipeline on synthetic audio: miniature corpora, BgKnown, two encoders, leaderboard, pages.

    \b
    Example:
      benchmark demo --out bgknown-demo
    """
    from benchmark.demo import demo as run_demo  # noqa: PLC0415
    from benchmark.demo import write_pages  # noqa: PLC0415
    from benchmark.processes import pick_device  # noqa: PLC0415
    from benchmark.results.board import BoardOptions  # noqa: PLC0415
    from bgknown.corpora.headers import default_cache  # noqa: PLC0415
    from bgknown.jobs.parallel import count_cores  # noqa: PLC0415

    jobs, caches = count_cores() if jobs is None else jobs, cache or default_cache()
    for outcome in run_demo(out, cache=caches, jobs=jobs, device=pick_device(device)):
        echo(f"{outcome.encoder}: {len(outcome.rows)} figures, predictions in {outcome.folder}", err=True)
    show_leaderboard([out / "results"], BoardOptions(metric="accuracy"))
    for title, path in (
        ("dataset", out / "bgknown"),
        ("results", out / "results"),
        *write_pages(out, cache=caches, jobs=jobs),
    ):
        echo(f"{title:<11}  {path}")


@main.command()
@cache_option
@click.option("--clear", is_flag=True, help="Delete them.")
def cache(*, cache: Path | None, clear: bool) -> None:
    """List cached embeddings, or delete them.

    \b
    Example:
      benchmark cache --clear
    """
    from benchmark.embedding.store import list_stores  # noqa: PLC0415
    from bgknown.corpora.headers import default_cache  # noqa: PLC0415
    from bgknown.jobs.caches import clear_embeddings  # noqa: PLC0415

    folder = cache or default_cache()
    if clear:
        echo(f"{folder}: {clear_embeddings(folder) / 1e6:.1f} MB deleted")
        return
    for about, size in list_stores(folder):
        facts = f"{about.get('precision', '')}, weights {about.get('weights_sha256', '')[:12] or 'none'}"
        echo(f"{size / 1e6:>9.1f} MB  {about.get('name', '?')}  {facts}")
    echo(folder / "embeddings")


def _report(outcome: Outcome, out: Path) -> None:
    """Print the figures of one encoder on one task."""
    from benchmark.report import format_figures  # noqa: PLC0415

    facts, data = outcome.data.facts, outcome.data
    clips, rows = len(set(data.clips())), len(data.table)
    size = f"{clips:,} clips" + (f" in {rows:,} mixtures" if clips < rows else "")
    echo(
        escape_line(f"{outcome.encoder} on {facts.name}, protocol {outcome.protocol}: ")
        + escape_line(f"{size}, leak check: {outcome.rows[0].leak_check}")
    )
    echo(format_figures(outcome.rows, facts.metric))
    if outcome.endings:
        echo(outcome.endings)
    for note in [*outcome.data.notes, *["already measured; --again repeats the measurement"] * outcome.kept]:
        echo(escape_line(f"note: {note}"))
    echo(f"predictions  {outcome.folder}\nresults      {out / 'leaderboard.csv'}\n")
