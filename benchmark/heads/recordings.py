"""The recordings that a head's mixtures are made of, and which of them come from the same source.

Recordings are of one source if they have the same content, the same Freesound id (``bgknown.freesound``), or the same
group in a table. Foreground and background of a mixture are never of one source, and a source that is excluded, or held
out, is so with all its recordings.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from benchmark.embedding.hashes import hash_contents
from bgknown.audio.files import count_frames_44k
from bgknown.corpora.columns import find_corpus_prefixes
from bgknown.corpora.headers import read_header_facts
from bgknown.corpora.listing import check_utf8, list_audio, report_hidden
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.freesound import find_freesound_id
from bgknown.jobs.problems import Problem, refuse_broken
from bgknown.mixtures.dataset import open_dataset
from bgknown.sounds import SoundList, list_file_sounds, read_sound_list
from bgknown.tables import read_csv
from bgknown.userpath import absolute

log = logging.getLogger(__name__)

_NAME_COLUMNS = ("file", "filename", "fname")
_GROUP_COLUMNS = ("group", "recording_group")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecording:
    """One audio file."""

    path: Path
    """The file."""
    name: str
    """Its path relative to the folder that was given."""
    frames: int
    """Length in samples at 44.1 kHz."""
    sha256: str
    """SHA-256 of the file."""
    source: str
    """The same for all recordings of one source."""
    is_foreground: bool = True
    """Whether mixtures with it as their foreground are used. Draws do not depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingChoice:
    """What to train on, and what not."""

    audio: tuple[Path, ...]
    """Folders of unlabelled audio."""
    groups: Path | None = None
    """A table of ``file`` and ``group``."""
    exclude: tuple[Path, ...] = ()
    """Lists of sounds, or BgKnown datasets, whose test clips and test backgrounds are left out."""
    no_foreground: tuple[Path, ...] = ()
    """Lists of sounds, or BgKnown datasets: sounds that are not used as foregrounds."""
    skip_broken: bool = False
    """Leave out files that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPool:
    """The recordings that were found."""

    recordings: list[TrainingRecording]
    """Those to train on, folder by folder, sorted by name."""
    excluded: int
    """Number of files left out because their source is excluded."""
    broken: int
    """Number of files left out because they cannot be read."""

    def list_sounds(self, shortest_background: int = 0) -> SoundList:
        """The list of the recordings that are trained on, for the contamination check.

        Args:
            shortest_background: samples at 44.1 kHz from which a recording that is not a foreground is a background.
        """
        used = [each for each in self.recordings if each.is_foreground or each.frames >= shortest_background]
        return list_file_sounds([each.name for each in used], [each.sha256 for each in used])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Excluded:
    """Sounds that must not be trained on."""

    sounds: SoundList = field(default_factory=SoundList)
    stems: frozenset[str] = frozenset()

    def find(self, names: Sequence[str], hashes: Sequence[str]) -> list[bool]:
        by_id = self.sounds.has_ids([find_freesound_id(name) for name in names])
        by_hash = self.sounds.has_hashes(hashes)
        by_name = [PurePosixPath(name).stem in self.stems for name in names]
        return [any(found) for found in zip(by_id.tolist(), by_hash.tolist(), by_name, strict=True)]


def list_recordings(choice: RecordingChoice, *, cache: Path) -> RecordingPool:
    """Find the recordings of folders and their sources, without what is excluded.

    Args:
        choice: the folders, and what is left out.
        cache: cache folder, in which headers and hashes of files are remembered.

    Raises:
        NotFoundError: a folder, a table or a list does not exist.
        BrokenInputError: files cannot be read, unless broken ones are skipped.
        InvalidInputError: there is no audio, or a table or list is wrong.
    """
    excluded, unused = _read_exclusions(choice.exclude), _read_exclusions(choice.no_foreground)
    groups = {} if choice.groups is None else _read_groups(choice.groups)
    files, frames, problems = _list_files(choice.audio, cache)
    refuse_broken(problems, skip=choice.skip_broken, kept="no head was trained")
    paths = [path for path, _ in files]
    if not paths:
        raise InvalidInputError(f"{', '.join(map(str, choice.audio))}: no audio files; give folders of recordings")
    names, hashes = [name for _, name in files], hash_contents(paths, cache=cache)
    sources = _join_sources(
        names, hashes, [groups.get(str(path.resolve())) or groups.get(path.name, "") for path in paths]
    )
    banned, backgrounds_only = (
        {source for source, out in zip(sources, listed.find(names, hashes), strict=True) if out}
        for listed in (excluded, unused)
    )
    facts = zip(paths, names, frames, hashes, sources, strict=True)
    recordings = [
        TrainingRecording(
            path=path,
            name=name,
            frames=length,
            sha256=digest,
            source=source,
            is_foreground=source not in backgrounds_only,
        )
        for path, name, length, digest, source in facts
        if source not in banned
    ]
    return RecordingPool(recordings=recordings, excluded=len(paths) - len(recordings), broken=len(problems))


def _list_files(folders: Sequence[Path], cache: Path) -> tuple[list[tuple[Path, str]], list[int], list[Problem]]:
    """Path and name of every readable file, its samples at 44.1 kHz, and the files that cannot be read."""
    files: list[tuple[Path, str]] = []
    frames: list[int] = []
    problems: list[Problem] = []
    seen: set[Path] = set()
    for folder in map(absolute, folders):
        if not folder.is_dir():
            raise NotFoundError(f"{folder}: no such folder; give a folder of recordings with --audio")
        check_utf8(folder)
        listing = list_audio(folder)
        report_hidden(folder, listing.hidden)
        names = [name for name in listing.files if (folder / name).resolve() not in seen]
        seen |= {(folder / name).resolve() for name in names}
        facts = read_header_facts(folder, names, cache=cache, title=f"headers of {folder.name}")
        for name, length, rate_hz, problem in zip(names, *(facts[c] for c in ("frames", "rate_hz", "problem"))):  # noqa: B905
            if problem:
                problems.append(Problem(where=name, code="unreadable", what=f"{folder / name}: {problem}"))
                continue
            files.append((folder / name, name))
            frames.append(int(count_frames_44k(int(length), int(rate_hz))))
    return files, frames, problems


def _join_sources(names: Sequence[str], hashes: Sequence[str], groups: Sequence[str]) -> list[str]:
    """For every file the name of its source: the first file that it is connected with by content, id or group."""
    parent = list(range(len(names)))

    def find_first(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[tuple[str, str], int] = {}
    for place, (name, digest, group) in enumerate(zip(names, hashes, groups, strict=True)):
        number = find_freesound_id(name)
        known = {"sha256": digest, "group": group, "id": "" if number is None else str(number)}
        for mark in ((kind, value) for kind, value in known.items() if value):
            one, other = find_first(first.setdefault(mark, place)), find_first(place)
            parent[max(one, other)] = min(one, other)
    places = [find_first(place) for place in range(len(names))]
    return [f"{place} {names[place]}" for place in places]


def _read_groups(table: Path) -> dict[str, str]:
    """The group of each file that a table lists, by its path; by its name alone where the table has no folders.

    Paths are relative to the table's folder.
    """
    rows = read_csv(table, advice="give a table with the columns file and group")
    name_column = next((name for name in _NAME_COLUMNS if name in rows), None)
    group_column = next((name for name in _GROUP_COLUMNS if name in rows), None)
    if name_column is None or group_column is None:
        raise InvalidInputError(
            f"{table}: needs a column of files ({', '.join(_NAME_COLUMNS)}) and one of groups "
            f"({', '.join(_GROUP_COLUMNS)})"
        )
    pairs = list(zip(rows[name_column], rows[group_column], strict=True))
    by_name = {PurePosixPath(file).name: group for file, group in pairs if "/" not in file}
    return by_name | {str((table.parent / file).resolve()): group for file, group in pairs}


def _read_exclusions(paths: Iterable[Path]) -> _Excluded:
    """What lists of sounds name, and the test clips and test backgrounds of BgKnown datasets."""
    sounds, stems = SoundList(), frozenset[str]()
    for path in paths:
        if not path.is_dir():
            sounds |= read_sound_list(path)
            continue
        table = open_dataset(path).table
        tested = table[table["split"] == "test"]
        prefixes = find_corpus_prefixes(table.columns)
        names = [*tested[prefixes.foreground_file], *tested[prefixes.background_file]]
        sounds |= list_file_sounds(names, [""] * len(names))
        stems |= {PurePosixPath(name).stem for name in names}
    return _Excluded(sounds=sounds, stems=stems)
