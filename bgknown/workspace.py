"""The unfinished part of a build: what was asked for, what is done, and a lock, in ``OUT/.work``.

A build can be killed at any moment. What it leaves is this folder and whole files under their final names; the next
run of the same command goes on from there and ends with the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from bgknown.dataset import DESCRIPTION, MANIFEST, read_description
from bgknown.errors import InvalidInputError, StorageError
from bgknown.files import make_folder, storage_error, write_whole

WORK = ".work"
_COMPARED = ("name", "configuration", "draw", "corpora")
_PASSING = ("headers_sha256",)  # differ while broken files are being repaired


class Workspace:
    """State of one output folder.

    Args:
        out: the dataset's folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / WORK
        self.scratch = self.folder / "scratch"

    def is_finished(self, description: Mapping[str, Any]) -> bool:
        """Whether the folder already holds the finished dataset that ``description`` asks for.

        Raises:
            StorageError: the folder holds something else; the message says what differs.
        """
        if self.out.exists() and not self.out.is_dir():
            raise StorageError(f"{self.out}: is a file; give a folder with --out")
        if (self.out / MANIFEST).is_file():
            self._compare(read_description(self.out), description, passing=())
            return True
        if self._started().is_file():
            self._compare(self._read(self._started()), description, passing=_PASSING)
        elif (self.out / DESCRIPTION).is_file() or (self.out.is_dir() and self._has_strangers()):
            raise StorageError(
                f"{self.out}: the folder is not empty and holds no unfinished build; give a new folder with --out"
            )
        return False

    @contextlib.contextmanager
    def claim(self, description: Mapping[str, Any]) -> Iterator[None]:
        """Hold the folder for one build.

        Raises:
            StorageError: another process holds it, or it cannot be written.
        """
        make_folder(self.folder)
        lock = filelock.FileLock(self.folder / "lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise StorageError(
                f"{self.out}: another build is writing there; wait for it or give another --out"
            ) from error
        except OSError as error:
            raise storage_error(error, self.folder) from error
        try:
            shutil.rmtree(self.scratch, ignore_errors=True)
            make_folder(self.scratch)
            write_whole(self._started(), json.dumps(description).encode(), aside=self.scratch)
            yield
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)
            lock.release()

    def read_plan(self) -> dict[str, Any] | None:
        """What ``write_plan`` stored, if anything."""
        path = self.folder / "plan.json"
        return self._read(path) if path.is_file() else None

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Remember the recipe and what had to be left out in drawing it."""
        write_whole(self.folder / "plan.json", json.dumps(plan).encode(), aside=self.scratch)

    def finished_rows(self) -> dict[str, dict[str, Any]]:
        """Records of finished rows by their digest; a last line that a kill cut short is left out."""
        path = self.folder / "journal.jsonl"
        records: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").split("\n"):
                with contextlib.suppress(json.JSONDecodeError, KeyError, TypeError):
                    entry = json.loads(line)
                    records[entry["digest"]] = entry["record"]
        return records

    @contextlib.contextmanager
    def journal(self) -> Iterator[Journal]:
        """Open the journal of finished rows for adding to it."""
        path = self.folder / "journal.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")  # ends a line that a kill cut short
                yield Journal(file, path)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise storage_error(error, path) from error

    def remove(self) -> None:
        """Delete the workspace of a finished build."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _started(self) -> Path:
        return self.folder / "build.json"

    def _has_strangers(self) -> bool:
        return any(child.name != WORK for child in self.out.iterdir())

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, UnicodeError) as error:
            raise InvalidInputError(f"{path}: damaged ({error}); delete {self.out} and build again") from error
        return dict(content)

    def _compare(self, there: Mapping[str, Any], here: Mapping[str, Any], *, passing: tuple[str, ...]) -> None:
        differences = [
            f"{path} is {_short(old)} there and {_short(new)} here"
            for key in _COMPARED
            for path, old, new in _differences(key, there.get(key), here.get(key))
            if path.rsplit(".", 1)[-1] not in passing
        ]
        if differences:
            raise StorageError(
                f"{self.out}: holds another configuration: {'; '.join(differences)}; "
                "give another --out, or the options it was begun with"
            )


class Journal:
    """Adds finished rows, one line each."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path

    def add(self, digest: str, record: Mapping[str, Any]) -> None:
        """Remember a row whose files are all under their final names."""
        self._file.write(json.dumps({"digest": digest, "record": record}) + "\n")
        self._file.flush()


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(f"{path}.{key}", old.get(key), new.get(key))
    elif old != new:
        yield path, old, new


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
