"""Options that several commands of benchmark share, each with one help text."""

from __future__ import annotations

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

_ENCODER = "Encoder: a name, a file or KIND:TARGET (see `benchmark encoders`)"

encoder_option = click.option("--encoder", required=True, help=f"{_ENCODER}.")
encoders_option = click.option(
    "--encoder", "encoders", multiple=True, required=True, help=f"{_ENCODER}; may be repeated."
)
results_option = out_option("the results")
task_filter_option = click.option("--task", help="Only this task.")
loading_options = add_options(
    device_option,
    click.option("--trust-code", is_flag=True, help="Load encoders that run arbitrary code, if you trust them."),
    name_option,
)
"""The options of loading an encoder."""
embedding_options = add_options(
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        default="float32",
        show_default=True,
        help="Precision that the encoder computes in.",
    ),
    click.option("--batch", type=int, default=32, show_default=True, help="Clips per batch."),
    jobs_option,
    shard_option,
    cluster_option,
    cache_option,
)
"""The options of the embedding pass."""
