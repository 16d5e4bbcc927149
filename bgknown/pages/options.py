"""What a page of a dataset is made of, and where it goes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from bgknown.jobs.parallel import check_jobs
from bgknown.userpath import absolute, expand_fields

PAGE_SUFFIXES = (".html", ".htm")
PAGE_NAME = "index.html"
"""The page's name in a folder."""

_MARK = b'<meta name="generator" content="bgknown '


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOptions:
    """What a page of a dataset is made of."""

    folder: Path
    """The dataset: BgKnown, or APwD pairs."""
    out: Path | None = None
    """The page, or its folder; by default the dataset's name with .html, next to the dataset."""
    sample: int | None = None
    """Use at most this many rows."""
    inline_audio: int | None = None
    """Use at most this many rows, and put their audio into the page."""
    verify: bool = False
    """Check every file of the dataset, and not the tables alone."""
    jams: Path | None = None
    """Folder of the JAMS of pairs, for their time lines."""
    jobs: int | None = None
    """Number of processes; None for one per core."""

    def __post_init__(self) -> None:
        expand_fields(self, "folder", "out", "jams")
        if self.sample is not None and self.inline_audio is not None:
            raise InvalidInputError("--sample and --inline-audio both choose the number of rows; give one of them")
        for name, count in (("--sample", self.sample), ("--inline-audio", self.inline_audio)):
            if count is not None and count < 1:
                raise InvalidInputError(f"{name} is {count}; it must be at least 1")
        if self.jobs is not None:
            check_jobs(self.jobs)

    @property
    def rows(self) -> int | None:
        """The number of rows that was asked for."""
        return self.sample if self.inline_audio is None else self.inline_audio

    @property
    def inline(self) -> bool:
        """Whether the page holds its audio."""
        return self.inline_audio is not None


def choose_page(options: PageOptions) -> Path:
    """The path of the page.

    Raises:
        NotFoundError: there is no dataset.
        InvalidInputError: the page would be among the dataset's files, or another file is there.
    """
    root = absolute(options.folder)
    if not root.is_dir():
        raise NotFoundError(f"{options.folder}: no such folder; give the folder of a dataset")
    if options.out is None:
        page = root.with_name(f"{root.name or 'dataset'}.html")
    else:
        page = absolute(options.out)
        if page.suffix.lower() not in PAGE_SUFFIXES or page.is_dir():
            page /= PAGE_NAME
    for inside in ("audio", "jams"):
        if page.parent.resolve().is_relative_to((root / inside).resolve()):
            raise InvalidInputError(
                f"{page}: is among the dataset's files, where it would count as a fault; give another --out"
            )
    check_page(page, "--out")
    return page


def check_page(page: Path, option: str) -> None:
    """Check that a page would replace nothing but a page.

    Args:
        page: the file to write.
        option: the option that chooses it.

    Raises:
        InvalidInputError: another file is there.
        StorageError: the file that is there cannot be read.
    """
    try:
        if not page.is_file():
            return
        with page.open("rb") as file:
            is_page = _MARK in file.read(8_192)
    except OSError as error:
        raise StorageError(f"{page}: {error.strerror or error}; give another {option}") from error
    if not is_page:
        raise InvalidInputError(f"{page}: already exists and is not a page of bgknown; give another {option}")


def list_bases(folder: Path, page: Path) -> list[str]:
    """Where a dataset is, seen from its page: as both were typed, and with links followed where that differs.

    Browsers resolve ``..`` in the address as it was typed, so both may be needed.
    """
    bases = []
    for root, parent in ((absolute(folder), page.parent), (folder.resolve(), page.parent.resolve())):
        base = PurePosixPath(Path(os.path.relpath(root, parent)).as_posix())
        bases.append("" if str(base) == "." else f"{base}/")
    return list(dict.fromkeys(bases))
