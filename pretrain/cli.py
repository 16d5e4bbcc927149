"""The command line of pretrain: thin commands over the library."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from bgknown import __version__
from bgknown.cli_options import (
    add_options,
    cluster_option,
    device_option,
    jobs_option,
    name_option,
    out_option,
    read_numbers,
    seed_option,
    shard_option,
    skip_broken_option,
)
from bgknown.commands import ANY_PATH, FILE_PATH, FOLDER_PATH, HELP_SETTINGS, Group, begin_logging, echo
from bgknown.jobs.shards import describe_share

config_option = click.option(
    "--config",
    "config_name",
    default="paper",
    show_default=True,
    help="Configuration: paper, small, smoke, or a .toml file.",
)
set_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Change one setting, for example training.batch=32; may be repeated.",
)
init_option = click.option(
    "--init",
    type=FILE_PATH,
    help="Start from this encoder: published BYOL-A weights, a checkpoint, or exported [default: drawn from the seed].",
)
config_options = add_options(
    config_option,
    set_option,
    click.option(
        "--lambda",
        "lambda_",
        type=float,
        help="Weight of the difference loss; 0 is BYOL-A [default: objective.lambda of the configuration].",
    ),
    seed_option("training.seed of the configuration"),
)
"""The options that choose a configuration."""


@click.group(
    cls=Group,
    resumable=["pack", "train", "sweep"],
    context_settings=HELP_SETTINGS,
)
@click.version_option(__version__, prog_name="pretrain")
def main() -> None:
    """Train audio encoders: BYOL-A, and difference-aware models whose embeddings can be subtracted.

    \b
    Example:
      pretrain pack --audio recordings --out corpus
      pretrain train --corpus corpus --config small --lambda 0.5 --out run
      benchmark run --encoder run/checkpoint.pt --task bgknown --data DIR --out results
    """
    begin_logging(logging.WARNING)


@main.command()
@click.option("--audio", type=FOLDER_PATH, multiple=True, required=True, help="Folder of audio; may be repeated.")
@out_option("the corpus")
@click.option("--match", multiple=True, metavar="PATTERN", help="Pack only files whose names match; may be repeated.")
@click.option("--sample", type=int, default=0, metavar="N", help="Choose N files at random [default: all].")
@seed_option()
@click.option("--rate", "rate_hz", type=int, default=16_000, show_default=True, help="Sampling rate in Hz.")
@skip_broken_option
@jobs_option
@shard_option
@cluster_option
def pack(*, audio: tuple[Path, ...], match: tuple[str, ...], jobs: int | None, **given: Any) -> None:
    """Pack folders of audio into one corpus, which is all that training reads.

    Subfolders are searched. The name of a file is its path relative to the folder or, with several folders, relative
    to the closest folder that contains them all; links keep the names as typed. Patterns such as '[1-3]-*' or 'dev/*'
    are matched against these names. Hidden files are skipped.

    \b
    Example:
      pretrain pack --audio recordings --out corpus
      pretrain pack --audio audioset --sample 200000 --skip-broken --out corpus
    """
    from bgknown.jobs.cluster import use_cluster  # noqa: PLC0415
    from pretrain.pack import PackOptions  # noqa: PLC0415
    from pretrain.pack import pack as pack_corpus  # noqa: PLC0415

    if jobs is not None:
        given["jobs"] = jobs
    with use_cluster(given.pop("cluster"), read=audio):
        report = pack_corpus(PackOptions(audio=audio, match=match, **given))
    for problem in report.problems[:20]:
        echo(f"skipped: {problem.line()}", err=True)
    if len(report.problems) > 20:
        echo(f"... and {len(report.problems) - 20} more, all in corpus.json", err=True)
    for note in report.notes:
        echo(note, err=True)
    if share := describe_share(report, "file", made=report.clips - report.kept):
        echo(share)
        return
    left_out = f", {len(report.problems):,} broken files skipped" if report.problems else ""
    echo(f"{given['out']}: {report.clips:,} clips, {report.hours:,.2f} hours{left_out}")


@main.command()
@click.option("--corpus", type=FOLDER_PATH, required=True, help="Corpus made by `pretrain pack`.")
@config_options
@out_option("the run; an interrupted run resumes")
@device_option
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard files, next to log.csv.")
@init_option
def train(*, corpus: Path, out: Path, device: str | None, tensorboard: bool, init: Path | None, **given: Any) -> None:
    """Train an encoder; OUT/checkpoint.pt can be measured at any time and holds all that is needed to resume.

    For several processes or GPUs: torchrun --nproc-per-node=8 -m pretrain train ...; they share each batch and learn
    what one process would learn, except for rounding.

    \b
    Example:
      pretrain train --corpus corpus --config small --lambda 0.5 --out run
      pretrain train --corpus corpus --lambda 0.5 --set objective.mix_domain=power --out run-power
      pretrain train --corpus corpus --config small --set objective.contrast=1 --init encoder.safetensors --out more
    """
    from pretrain.train import TrainOptions  # noqa: PLC0415
    from pretrain.train import train as train_encoder  # noqa: PLC0415

    begin_logging(logging.INFO, "%(message)s", force=True)
    config = _read_config(**given)
    options = TrainOptions(corpus=corpus, config=config, out=out, device=device, tensorboard=tensorboard, init=init)
    echo(f"{train_encoder(options)}")


@main.command()
@click.option("--corpus", type=FOLDER_PATH, required=True, help="Corpus made by `pretrain pack`.")
@config_option
@set_option
@click.option(
    "--lambdas",
    callback=read_numbers,
    metavar="NUMBERS",
    help="Weights of the difference loss, separated by commas [default: that of the configuration].",
)
@click.option(
    "--vary",
    multiple=True,
    metavar="TABLE.KEY=VALUES",
    help="A setting with its values, separated by commas; may be repeated.",
)
@click.option("--seeds", type=int, default=1, show_default=True, metavar="N", help="Number of seeds, from 0.")
@init_option
@out_option("the runs, one folder each; an interrupted sweep resumes")
@shard_option
@device_option
def sweep(*, config_name: str, **given: Any) -> None:
    """Train one run for each combination of lambdas, other settings and seeds, in one folder.

    Runs are named after what differs, such as lambda0.5-seed1. `benchmark run` measures their checkpoints, and
    `benchmark plot lambda` draws the results.

    \b
    Example:
      pretrain sweep --corpus corpus --config small --lambdas 0,0.2,0.5 --seeds 3 --out sweep
      pretrain sweep --corpus corpus --config small --vary objective.contrast=0,1 --seeds 3 --shard 1/4 --out contrast
      benchmark run $(printf -- '--encoder %s ' sweep/*/checkpoint.pt) --data DIR --out results
    """
    from pretrain.sweep import SweepOptions  # noqa: PLC0415
    from pretrain.sweep import sweep as train_sweep  # noqa: PLC0415

    begin_logging(logging.INFO, "%(message)s", force=True)
    options = SweepOptions(config=config_name, **{name: value for name, value in given.items() if value is not None})
    for checkpoint in train_sweep(options):
        echo(checkpoint)


@main.command()
@click.argument("checkpoint", type=ANY_PATH)
@click.option(
    "--to",
    type=FILE_PATH,
    required=True,
    help="File to write, NAME.safetensors; NAME.md is its model card, NAME.trained-on.txt its data.",
)
@name_option
def export(checkpoint: Path, to: Path, name: str | None) -> None:
    """Write the encoder of a run (its folder, or its checkpoint) as safetensors, with a model card.

    \b
    Example:
      pretrain export run --to encoder.safetensors
    """
    from pretrain.export import export as export_encoder  # noqa: PLC0415

    exported = export_encoder(checkpoint, to, name=name)
    if not exported.finished:
        echo("the run has not ended; this is the encoder of its last checkpoint", err=True)
    for path in (exported.encoder, exported.card, exported.trained_on):
        if path is not None:
            echo(path)


@main.command()
@click.argument("runs", type=ANY_PATH, nargs=-1, required=True)
@click.option("--to", type=FOLDER_PATH, required=True, help="Folder of the figure, training.png and so on.")
@click.option("--format", "forms", default="png,svg,pdf", show_default=True, help="Formats, separated by commas.")
def plot(runs: tuple[Path, ...], to: Path, forms: str) -> None:
    """Draw losses, spread, learning rate and clips per second of one or several runs, from their log.csv.

    \b
    Example:
      pretrain plot run --to plots
      pretrain plot run run-power --to plots --format pdf
    """
    from bgknown.figures.saving import read_figure_formats  # noqa: PLC0415
    from pretrain.plot import plot_runs  # noqa: PLC0415

    for path in plot_runs(runs, to, formats=read_figure_formats(forms)):
        echo(path)


@main.command()
@config_options
def config(**given: Any) -> None:
    """Print a complete configuration, as a file that --config accepts.

    \b
    Example:
      pretrain config --config small
    """
    echo(_read_config(**given).as_toml(complete=True).rstrip("\n"))


def _read_config(*, config_name: str, changes: tuple[str, ...], lambda_: float | None, seed: int | None) -> Any:
    from pretrain.config import read_config  # noqa: PLC0415

    short = [("objective.lambda", lambda_), ("training.seed", seed)]
    return read_config(config_name, [*changes, *(f"{key}={value}" for key, value in short if value is not None)])
