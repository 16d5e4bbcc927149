"""Options that several commands of benchmark share, each with one help text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bgknown.cli_options import (
    add_options,
    cache_option,
    cluster_option,
    device_option,
    jobs_option,
    name_option,
    out_option,
    shard_option,
)
from bgknown.commands import FILE_PATH

if TYPE_CHECKING:
    from benchmark.embedding.settings import EmbedSettings
    from benchmark.run import RunOptions

_ENCODER = "Encoder: a name, a file or KIND:TARGET (see `benchmark encoders`)"

encoder_option = click.option("--encoder", required=True, help=f"{_ENCODER}.")
encoders_option = click.option(
    "--encoder", "encoders", multiple=True, required=True, help=f"{_ENCODER}; may be repeated."
)
heads_option = click.option(
    "--head", "heads", type=FILE_PATH, multiple=True, help="Head of an encoder (see `benchmark head`); may be repeated."
)
results_option = out_option("the results")
task_filter_option = click.option("--task", help="Only this task.")
trust_code_option = click.option(
    "--trust-code", is_flag=True, help="Load encoders that run arbitrary code, if you trust them."
)
loading_options = add_options(
    device_option,
    trust_code_option,
    name_option,
)
"""The options of loading an encoder."""
_precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Precision that the encoder computes in.",
)
_batch_option = click.option("--batch", type=int, default=32, show_default=True, help="Clips per batch.")
embedding_options = add_options(
    _precision_option, _batch_option, jobs_option, shard_option, cluster_option, cache_option
)
"""The options of the embedding pass."""
local_embedding_options = add_options(_precision_option, _batch_option, jobs_option, cache_option)
"""Those of a command that embeds on this machine alone."""


def read_embedding_options(given: dict[str, Any]) -> EmbedSettings:
    """How embeddings are computed, from the values of ``embedding_options`` or ``local_embedding_options``.

    Raises:
        InvalidInputError: a value breaks a rule.
    """
    from benchmark.embedding.settings import EmbedSettings  # noqa: PLC0415
    from bgknown.corpora.headers import default_cache  # noqa: PLC0415
    from bgknown.jobs.parallel import check_jobs, count_cores  # noqa: PLC0415

    jobs = count_cores() if given["jobs"] is None else given["jobs"]
    check_jobs(jobs)
    return EmbedSettings(
        cache=given["cache"] or default_cache(),
        batch_size=given["batch"],
        precision=given["precision"],
        jobs=jobs,
        shard=given.get("shard"),
    )


def read_run_options(
    given: dict[str, Any], *, encoders: tuple[str, ...], task: str | None, suite: str | None, out: Path
) -> RunOptions:
    """The options of ``run``, for the tasks that are named, or those of a suite that are there."""
    from benchmark.processes import pick_device  # noqa: PLC0415
    from benchmark.protocol import TEXT_ENCODER, open_protocol  # noqa: PLC0415
    from benchmark.run import RunOptions  # noqa: PLC0415
    from benchmark.suite import find_present_tasks  # noqa: PLC0415
    from benchmark.tasks import name_of  # noqa: PLC0415
    from benchmark.tasks.locations import parse_locations, split_tables  # noqa: PLC0415

    data = parse_locations(given["data"])
    named = tuple(name.strip() for name in (task or "bgknown").split(","))
    names = find_present_tasks(suite, data) if suite else named
    alike = ("name", "limit", "trust_code", "skip_broken", "shuffle_labels", "again", "seeds", "retrieval_patience")
    return RunOptions(
        encoders=encoders,
        tasks=names,
        data=data,
        out=out,
        embedding=read_embedding_options(given),
        protocols=tuple(open_protocol(name) for name in given["protocol"]),
        splits=split_tables(given["splits"], [name_of(name) for name in names]),
        device=pick_device(given["device"]),
        text_encoder=given["text_encoder"] or TEXT_ENCODER,
        **{name: given[name] for name in (*alike, "text_pooling", "trained_on", "heads")},
    )
