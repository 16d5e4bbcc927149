"""Options that several commands of benchmark share."""

from __future__ import annotations

from typing import Any

import click

from bgknown.commands import FOLDER


def encoder_options(command: Any) -> Any:
    """The options of loading an encoder."""
    for option in (
        click.option("--name", help="What the encoder is called in results [default: by its file or kind]."),
        click.option("--trust-code", is_flag=True, help="Allow encoders that are programs: they may do anything."),
        click.option("--device", help="cpu, cuda or cuda:N [default: a GPU where there is one]."),
    ):
        command = option(command)
    return command


def embedding_options(command: Any) -> Any:
    """The options of the embedding pass."""
    for option in (
        click.option(
            "--cache", type=FOLDER, help="Folder for embeddings [default: $BGKNOWN_CACHE or the user's cache]."
        ),
        click.option("--jobs", type=int, help="Threads that decode audio [default: all cores]."),
        click.option("--batch", type=int, default=32, show_default=True, help="Clips in a batch."),
        click.option(
            "--precision",
            type=click.Choice(["float32", "bfloat16", "float16"]),
            default="float32",
            show_default=True,
            help="What the encoder computes in.",
        ),
    ):
        command = option(command)
    return command
