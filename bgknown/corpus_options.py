"""Options that name the two corpora of a dataset."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bgknown.cli_options import add_options, cache_option
from bgknown.commands import FILE_PATH, FOLDER_PATH

if TYPE_CHECKING:
    from bgknown.corpora.pair import Corpora


def read_folds(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...]:
    """The value of an option that takes folds with commas between them.

    Raises:
        BadParameter: one of them is not a whole number.
    """
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    for part in parts:
        if not (part.isascii() and part.isdigit() and len(part) < 10):
            raise click.BadParameter(f"{part!r} is not the number of a fold; give numbers with commas between them")
    return tuple(dict.fromkeys(map(int, parts)))


corpora_options = add_options(
    click.option("--esc50", type=FOLDER_PATH, help="ESC-50 folder, with meta/esc50.csv and audio/."),
    click.option(
        "--fsd50k",
        type=FOLDER_PATH,
        help="FSD50K folder, with FSD50K.ground_truth, FSD50K.dev_audio and FSD50K.eval_audio.",
    ),
    click.option("--foreground-table", type=FILE_PATH, help="Table of your own clips, in place of ESC-50."),
    click.option("--background-table", type=FILE_PATH, help="Table of your own recordings, in place of FSD50K."),
    click.option(
        "--test-folds",
        callback=read_folds,
        metavar="N,N,...",
        help="Folds of tables that are for testing [default: the highest 40 %].",
    ),
    click.option("--name", help="Name of a dataset of tables [default: from its corpora]."),
    click.option("--miniature", is_flag=True, help="Use a small built-in pair of corpora instead."),
    cache_option,
)
"""The options that name the corpora and the cache."""
PATH_OPTIONS = ("esc50", "fsd50k", "foreground_table", "background_table", "test_folds", "name")
CORPUS_OPTIONS = (*PATH_OPTIONS, "miniature")
"""Those that do not concern the build itself."""


def open_given_corpora(given: dict[str, Any], cache: Path) -> Corpora:
    """The two corpora named by the options, or the miniature ones."""
    from bgknown.corpora.miniature import make  # noqa: PLC0415
    from bgknown.corpora.pair import CorpusPaths, open_corpora, open_corpus_paths  # noqa: PLC0415

    paths = {name: given[name] for name in PATH_OPTIONS}
    if not given["miniature"]:
        for official, own, what in (
            ("esc50", "foreground_table", "the clips come from one of them"),
            ("fsd50k", "background_table", "the backgrounds come from one of them"),
        ):
            options = f"--{official} and --{own.replace('_', '-')}"
            if paths[official] is not None and paths[own] is not None:
                raise click.UsageError(f"{options} exclude each other: {what}")
            if paths[official] is None and paths[own] is None:
                raise click.UsageError(
                    "give --esc50 and --fsd50k, or --miniature to try the command without them; "
                    "--foreground-table and --background-table take their places"
                )
        if not (paths["foreground_table"] or paths["background_table"]) and (paths["name"] or paths["test_folds"]):
            raise click.UsageError("--name and --test-folds are for datasets of tables; leave them out")
        return open_corpus_paths(CorpusPaths(**paths), cache=cache)
    if any(paths.values()):
        raise click.UsageError(
            "--miniature replaces --esc50 and --fsd50k, or tables in their places; give one or the other"
        )
    logger = logging.getLogger("bgknown.corpora")
    level = logger.level
    logger.setLevel(logging.ERROR)  # these corpora are meant to be small
    try:
        return open_corpora(*make(cache / "miniature"), cache=cache)
    finally:
        logger.setLevel(level)


def describe_test_folds(corpora: Corpora) -> str:
    """Which folds of a user's tables are for testing, one line for each; empty for none."""
    folds = {index.facts.name: index.test_folds for index in (corpora.foreground, corpora.background)}
    return "\n".join(
        f"fold{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))} of {name} "
        f"{'are' if len(numbers) > 1 else 'is'} for testing, the others for training"
        for name, numbers in folds.items()
        if numbers
    )
