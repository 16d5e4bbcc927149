"""The command ``benchmark head``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmark.cli_options import encoder_option, trust_code_option
from bgknown.cli_options import cache_option, device_option, jobs_option, seed_option, skip_broken_option
from bgknown.commands import ANY_PATH, FILE_PATH, FOLDER_PATH, Command, echo


@click.command(cls=Command)
@encoder_option
@click.option("--audio", type=FOLDER_PATH, multiple=True, required=True, help="Folder of recordings; may be repeated.")
@click.option("--out", type=FILE_PATH, required=True, help="File of the head (.safetensors); its card is next to it.")
@click.option(
    "--exclude",
    type=ANY_PATH,
    multiple=True,
    help="List of sounds that are not used, or a BgKnown dataset for its test part; may be repeated.",
)
@click.option(
    "--no-foreground",
    type=ANY_PATH,
    multiple=True,
    help="List of sounds that are not used as foregrounds; heads with and without it share embeddings.",
)
@click.option("--groups", type=FILE_PATH, help="Table of file and group: recordings of a group are of one source.")
@click.option("--mixtures", type=int, default=4000, show_default=True, help="Number of mixtures.")
@click.option(
    "--features",
    type=click.Choice(["full", "linear", "mix"]),
    default="full",
    show_default=True,
    help="What the head sees: y_mix and y_bg (linear), with relu of the difference and minimum (full), or y_mix (mix).",
)
@click.option(
    "--kind",
    type=click.Choice(["ridge", "network"]),
    default="ridge",
    show_default=True,
    help="Ridge regression, or a network of two layers added to it.",
)
@click.option("--snr", type=(float, float), metavar="LOW HIGH", help="Range of the SNR in dB [default: 0 3].")
@click.option(
    "--level",
    type=(float, float),
    metavar="LOW HIGH",
    help="Range of the background's loudness, LUFS [default: -36 -24].",
)
@click.option("--duration", type=float, default=5.0, show_default=True, help="Duration of mixtures in seconds.")
@seed_option()
@skip_broken_option
@jobs_option
@cache_option
@device_option
@trust_code_option
def head(*, encoder: str, audio: tuple[Path, ...], out: Path, **given: Any) -> None:
    """Train a head: a learned subtraction for a frozen encoder, from unlabelled recordings.

    An interrupted training resumes when the same command is run again, and more mixtures extend fewer.

    \b
    Example:
      benchmark head --encoder logmel --audio recordings --exclude bgknown-esc50 --out head.safetensors
    """
    from benchmark.embedding.settings import EmbedSettings  # noqa: PLC0415
    from benchmark.heads.card import describe_kind, list_errors  # noqa: PLC0415
    from benchmark.heads.drawing import MixtureRules  # noqa: PLC0415
    from benchmark.heads.recordings import RecordingChoice  # noqa: PLC0415
    from benchmark.heads.training import HeadOptions, train_head  # noqa: PLC0415
    from benchmark.processes import pick_device  # noqa: PLC0415
    from benchmark.text_tables import align_columns  # noqa: PLC0415
    from bgknown.corpora.headers import default_cache  # noqa: PLC0415
    from bgknown.jobs.parallel import check_jobs, count_cores  # noqa: PLC0415

    ranges = {"snr_db": given["snr"], "level_lufs": given["level"]}
    ranges = {name: value for name, value in ranges.items() if value is not None}
    jobs = count_cores() if given["jobs"] is None else given["jobs"]
    check_jobs(jobs)
    report = train_head(
        HeadOptions(
            encoder=encoder,
            choice=RecordingChoice(
                audio=audio, **{name: given[name] for name in ("groups", "exclude", "no_foreground", "skip_broken")}
            ),
            out=out,
            embedding=EmbedSettings(cache=given["cache"] or default_cache(), jobs=jobs),
            rules=MixtureRules(seed=given["seed"], duration_s=given["duration"], **ranges),
            device=pick_device(given["device"]),
            **{name: given[name] for name in ("mixtures", "features", "kind", "trust_code")},
        )
    )
    facts = report.facts
    echo(f"{facts.encoder}: {describe_kind(facts)}")
    echo(
        f"{facts.mixtures:,} mixtures of {facts.recordings:,} recordings of {facts.sources:,} sources, "
        f"{facts.excluded:,} files excluded"
    )
    lines = [[name, f"{value:.3f}"] for name, value in list_errors(facts) if value is not None]
    echo(align_columns(["held-out error", ""], lines))
    echo(f"head  {report.file}\ncard  {report.card}")
