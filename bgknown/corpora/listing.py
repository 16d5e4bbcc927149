"""Which files of a folder are audio, and which file a name in a table means: one rule for every command.

- Audio files are recognised by their suffix, in capitals or not: those of the types that libsndfile reads.
- Hidden files (``._clip.wav``, which macOS puts next to ``clip.wav``) and hidden folders (``.git``) are skipped. Hidden
  files with a suffix of audio are counted and reported, because someone may have expected them.
- Links are followed; no folder is entered twice. A folder called ``x.wav`` is a folder. A broken link is listed, so
  that it is reported as a missing file.
- A name in a table means the file of exactly that name, or else the one whose name differs only in its Unicode form
  (NFC, NFD), in the capitals of its suffix, or in its type.
"""

from __future__ import annotations

import itertools
import logging
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error

log = logging.getLogger(__name__)

SUFFIXES = (
    *(".wav", ".flac", ".ogg"),
    *(".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".w64", ".rf64", ".caf", ".wave"),
)
"""Types of audio files, in order of preference if a name has several."""
_KNOWN = frozenset(SUFFIXES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Files of a folder."""

    files: list[str]
    """Their paths relative to the folder, with ``/``, sorted by their parts."""
    hidden: list[str]
    """Hidden files, which are skipped."""


def is_audio(name: str) -> bool:
    """Whether a file is audio by the suffix of its name, in capitals or not."""
    return _split_suffix(name)[1].lower() in _KNOWN


def compose_name(name: str) -> str:
    """A name in Unicode's composed form; file systems of macOS return decomposed names."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def list_audio(folder: Path, *, below: bool = True) -> Listing:
    """The audio files in a folder.

    Args:
        folder: the folder.
        below: whether to include folders below it, at any depth.

    Raises:
        StorageError, InvalidInputError: as ``list_fitting``.
    """
    return list_fitting(folder, is_audio, below=below)


def list_fitting(folder: Path, fits: Callable[[str], bool], *, below: bool = True) -> Listing:
    """``list_audio`` for files of another kind.

    Args:
        folder: the folder.
        fits: whether a file is of the kind, by its name without folders.
        below: whether to include folders below it, at any depth.

    Raises:
        StorageError: a folder cannot be read.
        InvalidInputError: the name of a file is not UTF-8.
    """
    files: list[str] = []
    hidden: list[str] = []
    for name in _walk(folder, below=below):
        last = name.rpartition("/")[2]
        if not fits(last):
            continue
        if last.startswith("."):
            hidden.append(name)
            continue
        if not name.isprintable():
            check_utf8(folder / name)
        files.append(name)
    return Listing(files=sorted(files, key=_split_parts), hidden=sorted(hidden, key=_split_parts))


def check_utf8(path: Path) -> None:
    """Refuse a path that is not UTF-8, because it could not be written to a table.

    Raises:
        InvalidInputError: names it.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{str(path)!a}: the name is not UTF-8; rename the file") from error


def list_files(root: Path, folder: str, hidden: list[str]) -> list[str]:
    """The audio files in a folder of a corpus, relative to ``root``; none if there is no such folder.

    Args:
        root: folder of the corpus.
        folder: the folder in it.
        hidden: hidden files are added to it, to be reported when the whole corpus is listed.

    Raises:
        StorageError, InvalidInputError: as ``list_audio``.
    """
    inside = root / folder
    if not inside.is_dir():
        return []
    listing = list_audio(inside, below=False)
    hidden += [f"{folder}/{name}" for name in listing.hidden]
    return [f"{folder}/{name}" for name in listing.files]


def report_hidden(where: Path, hidden: Sequence[str]) -> None:
    """Log a warning with the number of hidden files that were skipped, if there are any."""
    if hidden:
        log.warning("%s: %s", where, describe_hidden(hidden))


def describe_hidden(hidden: Sequence[str]) -> str:
    """``2 hidden files are skipped, such as ._a.wav``."""
    number = f"{len(hidden):,} hidden file" + ("s are" if len(hidden) > 1 else " is")
    return f"{number} skipped, such as {show_name(hidden[0])}"


def find_by_stem(folder: Path, stems: Sequence[str], *, missing_suffix: str) -> list[str]:
    """The files of some stems in ``folder``, whatever their type.

    Args:
        folder: the corpus's audio folder.
        stems: names without suffix.
        missing_suffix: suffix of the name that is returned for a stem without a file.

    Raises:
        NotFoundError: the folder does not exist.
    """
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder; the corpus's audio must be there")
    content = _Folder(folder)
    report_hidden(folder, content.hidden)
    return [content.by_stem(stem) or stem + missing_suffix for stem in stems]


def find_files(root: Path, files: Sequence[str], hidden: list[str] | None = None) -> list[str]:
    """Listed files as they are on disk.

    Args:
        root: folder of the corpus.
        files: paths relative to it; one that does not exist is returned unchanged.
        hidden: hidden audio files next to them are added to it; if it is None, they are reported.
    """
    folders: dict[str, tuple[str, _Folder | None]] = {}
    found = []
    for file in files:
        # Path is slow for many names, and few names need it
        listed = PurePosixPath(file).as_posix() if "//" in file or "./" in file else file
        parent, slash, name = listed.rpartition("/")
        parent = parent or slash or "."
        if parent not in folders:
            place = _locate_folder(root, parent)
            folders[parent] = (place, _Folder(root / place) if (root / place).is_dir() else None)
        place, content = folders[parent]
        there = (content.find(name) if content else None) or name
        found.append(there if place == "." else f"{place.rstrip('/')}/{there}")
    skipped = {
        (PurePosixPath(place) / name).as_posix()
        for place, content in folders.values()
        for name in (content.hidden if content else ())
    }
    if hidden is None:
        report_hidden(root, sorted(skipped))
    else:
        hidden += sorted(skipped.difference(hidden))
    return found


def locate(path: Path) -> Path:
    """A file or folder as it is on disk: itself, or the one that ``find_files`` would choose, but of the same type.

    A path that does not exist in any form is returned unchanged.
    """
    if os.path.lexists(path):
        return path
    base = Path(path.anchor)
    parent = base / _locate_folder(base, path.parent.relative_to(base).as_posix())
    if not parent.is_dir():
        return path
    folder = parent / _locate_folder(parent, path.name)
    if folder.is_dir():
        return folder
    name = _Folder(parent).find(path.name, other_types=False)
    return path if name is None else parent / name


def name_some(names: Iterable[str], limit: int = 3) -> str:
    """The first few names, for a message."""
    return ", ".join(show_name(name) for name in itertools.islice(names, limit))


class _Folder:
    """The files in one folder, found by names that may be spelled differently."""

    def __init__(self, folder: Path) -> None:
        self.names: set[str] = set()
        self.hidden: list[str] = []
        for name in _walk(folder, below=False):
            if not name.startswith("."):
                self.names.add(name)
            elif is_audio(name):
                self.hidden.append(name)
        self.hidden.sort()
        self._by_form: dict[str, str] | None = None
        self._by_stem: dict[str, str] | None = None

    def find(self, name: str, *, other_types: bool = True) -> str | None:
        """The file that a name means; None if there is none."""
        if name in self.names:
            return name
        if self._by_form is None:
            self._by_form = {_normalize_name(there): there for there in sorted(self.names)}
        found = self._by_form.get(_normalize_name(name))
        return self.by_stem(_split_suffix(name)[0]) if found is None and other_types else found

    def by_stem(self, stem: str) -> str | None:
        """The audio file of a stem, of the preferred type."""
        if self._by_stem is None:
            order = {suffix: place for place, suffix in enumerate(SUFFIXES)}
            # the preferred type comes last and stays; small letters come after capitals
            audio = sorted(
                filter(is_audio, self.names), key=lambda name: (-order[_split_suffix(name)[1].lower()], name)
            )
            self._by_stem = {compose_name(_split_suffix(name)[0]): name for name in audio}
            self._by_stem |= {_split_suffix(name)[0]: name for name in audio}
        return self._by_stem.get(stem) or self._by_stem.get(compose_name(stem))


def _split_suffix(name: str) -> tuple[str, str]:
    """Stem and suffix; quicker than Path for many names."""
    return os.path.splitext(name)  # noqa: PTH122


def _normalize_name(name: str) -> str:
    """A form that all spellings of a name share."""
    stem, suffix = _split_suffix(name)
    return compose_name(stem) + suffix.lower()


def _locate_folder(root: Path, folder: str) -> str:
    """A folder as it is on disk, whose names may have another Unicode form; unchanged if it does not exist."""
    if folder.isascii() or (root / folder).is_dir():
        return folder
    place = PurePosixPath()
    for part in PurePosixPath(folder).parts:
        there: str | None = part
        if not (root / place / part).exists():
            try:
                names = sorted(path.name for path in (root / place).iterdir())
            except OSError:
                return folder
            there = next((name for name in names if compose_name(name) == compose_name(part)), None)
        if there is None:
            return folder
        place /= there
    return place.as_posix()


def _walk(folder: Path, *, below: bool) -> Iterator[str]:
    """Everything that is not a folder, relative to ``folder``; hidden folders are skipped, none is entered twice."""
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        path, prefix = (f"{folder}/{inside}", f"{inside}/") if inside else (str(folder), "")
        folders = []
        try:
            state = os.stat(path)  # noqa: PTH116
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    if not _is_folder(entry):
                        yield prefix + entry.name
                    elif below and not entry.name.startswith("."):
                        folders.append(prefix + entry.name)
        except OSError as error:
            raise describe_storage_error(error, Path(error.filename or path)) from error
        # which of several links to a folder is entered must not depend on the disk
        waiting += sorted(folders, reverse=True)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _split_parts(name: str) -> list[str]:
    return name.split("/")


def show_name(name: str) -> str:
    """A name for a message."""
    return name if name.isprintable() else ascii(name)
