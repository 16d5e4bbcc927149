"""Options that commands of all packages share, each with one help text."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from bgknown.commands import FOLDER_PATH
from bgknown.errors import InvalidInputError
from bgknown.jobs.shards import Shard, read_shard

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _read_shard(context: click.Context, option: click.Parameter, text: str | None) -> Shard | None:
    try:
        return None if text is None else read_shard(text)
    except InvalidInputError as error:
        raise click.BadParameter(str(error)) from error


cache_option = click.option(
    "--cache", type=FOLDER_PATH, help="Cache folder [default: $BGKNOWN_CACHE or the user's cache]."
)
jobs_option = click.option("--jobs", type=int, help="Number of parallel workers [default: all cores].")
shard_option = click.option(
    "--shard",
    metavar="I/N",
    callback=_read_shard,
    help="Make only share I of N, beside other runs of this command; run it without --shard at the end.",
)
cluster_option = click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Work on a Dask cluster: tcp://HOST:PORT, a scheduler file (.json), local:N, or a TOML file of a queue.",
)
skip_broken_option = click.option("--skip-broken", is_flag=True, help="Skip missing or broken inputs, and count them.")
device_option = click.option("--device", help="cpu, cuda or cuda:N [default: a GPU if there is one].")
name_option = click.option("--name", help="Name of the encoder in results [default: from its file, kind or run].")
keep_sources_option = click.option(
    "--keep-sources",
    is_flag=True,
    help="Also use as backgrounds the recordings that clips were cut from.",
)
format_option = click.option(
    "--format",
    "container",
    type=click.Choice(["wav", "flac"]),
    default="wav",
    show_default=True,
    help="Format of the audio files.",
)


def out_option(what: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """The option ``--out``, a folder.

    Args:
        what: what the folder holds.
        settings: further settings of the option.
    """
    return click.option("--out", type=FOLDER_PATH, **{"required": True, **settings}, help=f"Folder of {what}.")


def limit_option(what: str) -> Callable[[Decorated], Decorated]:
    """The option ``--limit``.

    Args:
        what: what is counted.
    """
    return click.option("--limit", type=int, metavar="N", help=f"Use at most N {what} (for a quick try).")


def seed_option(default: str | None = None) -> Callable[[Decorated], Decorated]:
    """The option ``--seed``: 0 by default, or None where ``default`` says in words what is used then."""
    settings: dict[str, Any] = {} if default else {"default": 0, "show_default": True}
    return click.option(
        "--seed", type=int, help=f"Random seed{f' [default: {default}]' if default else ''}.", **settings
    )


def read_numbers(context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """The value of an option that takes numbers with commas between them, such as ``-10,0,2.5``.

    Raises:
        BadParameter: one of them is not a number.
    """
    if text is None:
        return None
    numbers = []
    for part in text.split(","):
        try:
            numbers.append(math.nan if "_" in part else float(part))
        except ValueError:
            numbers.append(math.nan)
        if not math.isfinite(numbers[-1]):
            raise click.BadParameter(f"{part.strip()!r} is not a number; give numbers with commas between them")
    return tuple(numbers)


def add_options(*options: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    """One decorator for several options, listed by the help in this order."""

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
