"""The source tree on disk: its recordings and clips, and their lengths.

::

    {dev,eval}/background/{label}/*.wav    44.1 kHz, mono
    {dev,eval}/foreground/{label}/*.wav
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bgknown.apwd.scenes import SPLITS
from bgknown.audio.files import RATE_HZ, read_header
from bgknown.corpora.listing import list_files, report_hidden
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes
from bgknown.jobs.parallel import in_threads
from bgknown.userpath import user_path

ROLES = ("background", "foreground")
_PREPARE = "make one with `bgknown apwd prepare`"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A recording or clip of the tree."""

    file: str
    """Its path relative to the tree."""
    frames: int
    """Its length in samples at 44.1 kHz."""

    @property
    def origin(self) -> str:
        """What it was cut from: the Freesound id of an ESC-50 clip ({fold}-{id}-{take}-{target}), else its stem."""
        return self._clip_source or PurePosixPath(self.file).stem

    @property
    def is_clip(self) -> bool:
        """Whether it is an ESC-50 clip, by its name."""
        return self._clip_source is not None

    @property
    def recording(self) -> tuple[str, str]:
        """A name that no other recording of a tree has; stems that are not ESC-50 clips are unique in a label only."""
        return ("", self._clip_source) if self._clip_source else (PurePosixPath(self.file).parent.name, self.origin)

    @property
    def _clip_source(self) -> str | None:
        parts = PurePosixPath(self.file).stem.split("-")
        return parts[1] if len(parts) == 4 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """All files of a source tree."""

    root: Path
    """Its folder."""
    files: dict[tuple[str, str, str], tuple[SourceFile, ...]]
    """The files of each (split, role, label), sorted by name."""

    def labels(self, split: str, role: str) -> list[str]:
        """The labels of a split that have files, sorted."""
        return sorted(
            label for known_split, known_role, label in self.files if (known_split, known_role) == (split, role)
        )

    def of(self, split: str, role: str, label: str) -> tuple[SourceFile, ...]:
        """The files of a label.

        Raises:
            NotFoundError: there are none; lists the labels that have files.
        """
        found = self.files.get((split, role, label), ())
        if not found:
            there = ", ".join(self.labels(split, role)) or "none"
            raise NotFoundError(f"{self.root}: no {split}/{role}/{label} with files in it; there are {there}")
        return found

    def check_disjoint(self, labels: Sequence[str]) -> None:
        """Refuse a tree in which dev and eval share a recording, or two cuts of one.

        Args:
            labels: the labels that matter.

        Raises:
            InvalidInputError: names two such files.
        """
        there: dict[str, dict[tuple[str, str], SourceFile]] = {split: {} for split in SPLITS}
        for (split, _, label), sources in sorted(self.files.items()):
            if label in labels:
                there[split].update((source.recording, source) for source in sources)
        for recording, source in there["eval"].items():
            if recording in there["dev"]:
                raise InvalidInputError(
                    f"{self.root}: {there['dev'][recording].file} and {source.file} come from the same "
                    "recording; dev and eval must not share any"
                )

    def list_clip_sources(self) -> frozenset[str]:
        """The Freesound ids that the ESC-50 clips of the tree were cut from, whatever their label and split."""
        sources = (source for files in self.files.values() for source in files)
        return frozenset(source.origin for source in sources if source.is_clip)

    def find_sources_of_clips(self) -> frozenset[str]:
        """Files of recordings that ESC-50 clips of the tree were cut from."""
        of_clips = self.list_clip_sources()
        sources = (source for files in self.files.values() for source in files)
        return frozenset(source.file for source in sources if not source.is_clip and source.origin in of_clips)

    def leave_out(self, left_out: Collection[str]) -> SourceTree:
        """The tree without some files."""
        kept = {
            place: tuple(source for source in sources if source.file not in left_out)
            for place, sources in self.files.items()
        }
        return SourceTree(root=self.root, files={place: sources for place, sources in kept.items() if sources})

    def sha256(self, labels: Sequence[str]) -> str:
        """Fingerprint of the names and lengths of these labels' files."""
        rows = [
            [source.file, source.frames]
            for (_, _, label), sources in sorted(self.files.items())
            if label in labels
            for source in sources
        ]
        return hash_bytes(json.dumps(rows).encode())


def check_tree(root: Path) -> None:
    """Refuse a folder that is not a source tree.

    Raises:
        NotFoundError: says how to get one.
    """
    if not any((root / split).is_dir() for split in SPLITS):
        hint = f"; did you mean {root / 'source'}?" if (root / "source").is_dir() else ""
        raise NotFoundError(f"{root}: not a source tree (no folder dev or eval in it){hint}; {_PREPARE}")


def open_tree(root: Path) -> SourceTree:
    """List a source tree and read every file's header.

    Raises:
        NotFoundError: there is no such folder, or it is not a source tree.
        InvalidInputError: a file cannot be read, or is not 44.1 kHz mono; names the first.
    """
    root = user_path(root)
    check_tree(root)
    hidden: list[str] = []
    places = [
        (split, role, folder.name, file)
        for split in SPLITS
        for role in ROLES
        for folder in sorted((root / split / role).glob("[!.]*"))
        for file in list_files(root, f"{split}/{role}/{folder.name}", hidden)
    ]
    report_hidden(root, hidden)
    frames = in_threads(_read_frames, [root / file for *_, file in places], title="sources", unit="file")
    files: dict[tuple[str, str, str], list[SourceFile]] = {}
    for (split, role, label, file), length in zip(places, frames, strict=True):
        source = SourceFile(file=file, frames=length)
        files.setdefault((split, role, label), []).append(source)
    return SourceTree(root=root, files={place: tuple(sources) for place, sources in files.items()})


def _read_frames(path: Path) -> int:
    try:
        header = read_header(path)
    except BgknownError as error:
        raise InvalidInputError(f"{path}: {error}") from error
    if (header.rate_hz, header.channels) != (RATE_HZ, 1):
        raise InvalidInputError(
            f"{path}: {header.rate_hz} Hz with {header.channels} channels; sources must be 44100 Hz mono, "
            "as `bgknown apwd prepare` makes them"
        )
    return header.frames
