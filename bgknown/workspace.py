"""The unfinished part of a build, a preparation or a draw: what was asked for, what is done, a lock, in ``OUT/.work``.

A build can be killed at any moment. What it leaves is this folder and whole files under their final names; the next
run of the same command goes on from there and ends with the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from bgknown.dataset import DESCRIPTION, MANIFEST, read_description
from bgknown.documents import parse_json, read_object
from bgknown.errors import InvalidInputError, StorageError
from bgknown.files import make_folder, open_own, refuse_link, storage_error, write_whole

WORK = ".work"
_COMPARED = ("name", "configuration", "draw", "corpora", "inputs")
_PASSING = ("headers_sha256", "inputs_sha256")  # differ while broken files are being repaired


class Workspace:
    """State of one output folder.

    Args:
        out: the dataset's folder.
        read: reads the description of what is finished.
        manifest: the file that is written last.
        description: the file that ``read`` reads.
    """

    def __init__(
        self,
        out: Path,
        *,
        read: Callable[[Path], dict[str, Any]] = read_description,
        manifest: str = MANIFEST,
        description: str = DESCRIPTION,
    ) -> None:
        self.out = out
        self._read_description = read
        self._manifest = out / manifest
        self._description = out / description
        self.folder = out / WORK
        self.journal = self.folder / "journal.jsonl"
        self._lock = self.folder / "lock"
        self._started = self.folder / "build.json"
        self._plan = self.folder / "plan.json"
        # A name of its own for each run: worker processes that outlive a killed run lose their folder, and with it the
        # means to put anything under a final name.
        self.scratch = self.folder / f"scratch-{secrets.token_hex(4)}"

    def is_finished(self, description: Mapping[str, Any]) -> bool:
        """Whether the folder already holds the finished dataset that ``description`` asks for.

        Raises:
            StorageError: the folder holds something else; the message says what differs.
        """
        if self.out.exists() and not self.out.is_dir():
            raise StorageError(f"{self.out}: is a file; give a folder with --out")
        if self._manifest.is_file():
            if not self._description.is_file():
                raise StorageError(
                    f"{self.out}: holds a {self._manifest.name} but no {self._description.name}, so bgknown has not "
                    "made it; give a new folder with --out"
                )
            self._compare(self._read_description(self.out), description, passing=())
            return True
        if self._started.is_file():
            self._compare(self._read(self._started), description, passing=_PASSING)
        elif self.out.is_dir() and self._has_strangers():
            raise StorageError(
                f"{self.out}: the folder is not empty and holds no unfinished work of bgknown; "
                "give a new folder with --out"
            )
        return False

    @contextlib.contextmanager
    def claim(self, description: Mapping[str, Any]) -> Iterator[bool]:
        """Hold the folder for one build; gives whether the dataset is finished already.

        A folder that holds another configuration is left as it was. The workspace goes when the dataset is finished,
        or when nothing has come of the build.

        Raises:
            StorageError: another process holds the folder, it holds something else, or it cannot be written.
        """
        self.is_finished(description)  # refuses before anything is made
        was_there = self.out.is_dir()
        make_folder(self.folder)
        refuse_link(self._lock)
        lock = filelock.FileLock(self._lock, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise StorageError(
                f"{self.out}: another run is writing there; wait for it or give another --out"
            ) from error
        except OSError as error:
            raise storage_error(error, self.folder) from error
        if not self._lock.exists():  # the build that held it has ended and taken its workspace away
            lock.release()
            raise StorageError(f"{self.out}: another run has just ended there; run the same command again")
        try:
            finished = self.is_finished(description)
            if not finished:
                self._begin(description)
            yield finished
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)
            if self._manifest.is_file() or not (self._plan.is_file() or self._journal_begun()):
                shutil.rmtree(self.folder, ignore_errors=True)
            lock.release()
            if not was_there:
                with contextlib.suppress(OSError):  # not empty: something has come of it
                    self.out.rmdir()

    def _begin(self, description: Mapping[str, Any]) -> None:
        for old in self.folder.glob("scratch-*"):
            shutil.rmtree(old, ignore_errors=True)
        make_folder(self.scratch)
        write_whole(self._started, json.dumps(description).encode(), aside=self.scratch)
        try:
            open_own(self.journal).close()
        except OSError as error:
            raise storage_error(error, self.journal) from error

    def _journal_begun(self) -> bool:
        return self.journal.is_file() and self.journal.stat().st_size > 0

    def read_plan(self) -> dict[str, Any] | None:
        """What ``write_plan`` stored, if anything."""
        return self._read(self._plan) if self._plan.is_file() else None

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Remember the recipe and what had to be left out in drawing it."""
        write_whole(self._plan, json.dumps(plan).encode(), aside=self.scratch)

    def finished(self) -> dict[str, dict[str, Any]]:
        """Journal entries of finished rows by their names, each with its digest and its record.

        Only the last word on a row counts: a row is void from the moment its files begin to be written until it is
        finished. A line that a kill cut short is left out.
        """
        last: dict[str, dict[str, Any]] = {}
        if self.journal.is_file():
            with self.journal.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    if (entry := entry_of(line)) is not None:
                        last[entry["name"]] = entry
        return {name: entry for name, entry in last.items() if _is_finished(entry)}

    def _has_strangers(self) -> bool:
        if any(child.name != WORK for child in self.out.iterdir()):
            return True
        ours = {path.name for path in (self._lock, self._started, self._plan, self.journal)}
        inside = list(self.folder.iterdir()) if self.folder.is_dir() else []
        return any(child.name not in ours and not child.name.startswith("scratch-") for child in inside)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            return read_object(path)
        except InvalidInputError as error:
            raise InvalidInputError(f"{error}; delete {self.out} and run the same command again") from error

    def _compare(self, there: Mapping[str, Any], here: Mapping[str, Any], *, passing: tuple[str, ...]) -> None:
        differences = [
            f"{path} is {_short(old)} there and {_short(new)} here"
            for key in _COMPARED
            for path, old, new in _differences(key, there.get(key), here.get(key))
            if path.rsplit(".", 1)[-1] not in passing
        ]
        if differences:
            skipped = found if isinstance(found := there.get("skipped"), list) else []
            hint = f" (it was made without {len(skipped)} broken inputs, which may be whole now)" if skipped else ""
            raise StorageError(
                f"{self.out}: holds another configuration: {'; '.join(differences)}{hint}; "
                "give another --out, or the options it was begun with"
            )


def entry_of(line: str) -> dict[str, Any] | None:
    """The entry that a line of a journal holds; None for a line that a kill cut short, or that is something else."""
    try:
        entry = parse_json(line, "journal")
    except InvalidInputError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("name"), str) else None


def _is_finished(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("digest"), str) and isinstance(entry.get("record"), dict) and bool(entry["record"])


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(f"{path}.{key}", old.get(key), new.get(key))
    elif old != new:
        yield path, old, new


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
