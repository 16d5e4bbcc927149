"""What the readers of the tasks share: folders, lists, and splits by a hash."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bgknown.corpora.listing import check_utf8, list_files
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error
from bgknown.seeding import draw_ranks
from bgknown.tables import decode_text, parse_csv


def list_folders(root: Path) -> list[str]:
    """Names of the folders in a folder, sorted, except those that begin with ``_`` or a dot.

    Raises:
        InvalidInputError: a name is not UTF-8.
    """
    names = sorted(path.name for path in root.iterdir() if path.name[0] not in "_." and path.is_dir())
    for name in names:
        check_utf8(root / name)
    return names


def list_top_folders(root: Path, corpus: str, what: str) -> list[str]:
    """The folders of a corpus with one folder per class, or per source.

    Args:
        root: folder of the corpus.
        corpus: its name.
        what: what a folder in it is.

    Raises:
        NotFoundError: there are none.
    """
    if not root.is_dir():
        raise NotFoundError(f"{root}: no such folder; give the folder of {corpus}, with a folder for each {what}")
    names = list_folders(root)
    if not names:
        raise NotFoundError(f"{root}: this is not the folder of {corpus}: it has no folder for each {what}")
    return names


def require_clips(root: Path, folder: str, what: str, hidden: list[str]) -> list[str]:
    """``bgknown.corpora.listing.list_files``, at least one.

    Args:
        root: folder of the corpus.
        folder: the folder in it.
        what: what a folder there is.
        hidden: gets the hidden files.

    Raises:
        InvalidInputError: there are none.
    """
    clips = list_files(root, folder, hidden)
    if not clips:
        raise InvalidInputError(
            f"{root / folder}: contains no audio, but every folder there is {what}; fill it or remove it"
        )
    return clips


def read_numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file with their numbers, from 1, without empty ones.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: it is not text; names the line.
        StorageError: it cannot be read.
    """
    try:
        text = decode_text(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file") from error
    except OSError as error:
        raise describe_storage_error(error, path) from error
    lines = re.split("\r\n|\r|\n", text)  # splitlines() also splits at separators that a name may hold
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def read_lines(path: Path) -> list[str]:
    """``read_numbered_lines`` without the numbers."""
    return [line for _, line in read_numbered_lines(path)]


def split_by_hash(purpose: str, names: Sequence[str], shares: Mapping[str, float]) -> dict[str, str]:
    """A part for each name, by a hash of the name alone, in proportion to the shares.

    Args:
        purpose: what the names are; another purpose gives other parts.
        names: speakers, tones.
        shares: parts and their shares, which sum to 1.
    """
    parts = list(shares)
    bounds = pd.Series([shares[part] for part in parts]).cumsum().to_numpy()
    places = (draw_ranks(0, purpose, names) / 2.0**64)[:, None] >= bounds[None, :-1]
    return {name: parts[place] for name, place in zip(names, places.sum(axis=1), strict=True)}


def read_published_table(name: str, columns: Sequence[str]) -> pd.DataFrame:
    """A table of ``data_manifests``, every value as text.

    Raises:
        NotFoundError: the installation lacks it.
    """
    try:
        data = (importlib.resources.files("data_manifests") / name).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise NotFoundError(
            f"data_manifests/{name} is missing from this installation; install bgknown again"
        ) from error
    return parse_csv(data, f"data_manifests/{name}", advice="install bgknown again")[list(columns)]
