"""Where the data of a task is: ``--data DIR``, ``--data task=DIR``, or ``BGKNOWN_DATA``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.nearest import suggest
from bgknown.userpath import expand_fields, user_path

VARIABLE = "BGKNOWN_DATA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Locations:
    """The folders of data that were given."""

    named: Mapping[str, Path]
    """Folders given for a task or corpus by name."""
    general: Path | None
    """A dataset itself, or a folder with one folder per task."""

    def __post_init__(self) -> None:
        expand_fields(self, "named", "general")

    def of(self, task: str) -> Path:
        """The folder of a task: given by name, or a subfolder of the general one, or that one itself.

        Raises:
            NotFoundError: no folder was given.
        """
        found = self.named.get(task) or self._below(task) or self.general
        if found is None:
            raise NotFoundError(f"no data for task {task}: give --data DIR or --data {task}=DIR, or set {VARIABLE}")
        return found

    def list_folders(self) -> list[Path]:
        """All folders that were given."""
        given = [*self.named.values(), *[self.general] * (self.general is not None)]
        return [path for path in given if path is not None and path.is_dir()]

    def check(self, names: Sequence[str]) -> None:
        """Check that every folder was given for a known name.

        Args:
            names: the names that may have a folder.

        Raises:
            InvalidInputError: one was not; suggests the closest name.
        """
        for name in self.named:
            if name not in names:
                raise InvalidInputError(f"--data {name}={self.named[name]}: no such data; {suggest(name, names)}")

    def given(self, name: str) -> bool:
        """Whether a folder was given for a name, or is in the general folder."""
        return name in self.named or self._below(name) is not None

    def known(self, names: Sequence[str]) -> dict[str, Path]:
        """The folders of those corpora that were given or are in the general folder."""
        found = {name: self.named.get(name) or self._below(name) for name in names}
        return {name: path for name, path in found.items() if path is not None}

    def _below(self, name: str) -> Path | None:
        if self.general is None or not (self.general / name).is_dir():
            return None
        return self.general / name


def parse_locations(given: Sequence[str]) -> Locations:
    """Read the values of ``--data``.

    Raises:
        InvalidInputError: two general folders, a repeated name, or an empty value.
        NotFoundError: a folder does not exist.
    """
    named: dict[str, Path] = {}
    general: Path | None = None
    for value in given or ([os.environ[VARIABLE]] if os.environ.get(VARIABLE) else []):
        name, equals, folder = value.partition("=")
        plain = not equals or _exists(value)
        path = user_path(value if plain else folder)
        if not str(value).strip() or not (plain or (name and folder)):
            raise InvalidInputError(f"--data is {value!r}; it must be DIR or NAME=DIR")
        if not path.is_dir():
            raise NotFoundError(f"{path}: no such folder; --data must name the folder of the data")
        if plain and general is not None:
            raise InvalidInputError(f"--data names two folders, {general} and {path}; give each as NAME=DIR")
        if not plain and name in named:
            raise InvalidInputError(f"--data gives {name} twice, {named[name]} and {path}")
        if plain:
            general = path
        else:
            named[name] = path
    return Locations(named=named, general=general)


def split_tables(given: Sequence[str], tasks: Sequence[str]) -> dict[str, Path]:
    """Read the values of ``--splits``: FILE for a single task, or TASK=FILE.

    Raises:
        InvalidInputError: a table is for a task that is not measured, for several tasks, or a task has two.
    """
    tables: dict[str, Path] = {}
    for value in given:
        name, equals, file = value.partition("=")
        plain = not equals or _exists(value)
        if plain and len(tasks) != 1:
            raise InvalidInputError(f"--splits {value}: there are {len(tasks)} tasks; write TASK=FILE")
        task, path = (tasks[0], user_path(value)) if plain else (name, user_path(file))
        if task not in tasks:
            raise InvalidInputError(f"--splits {value}: task {task!r} is not measured; there are: {', '.join(tasks)}")
        if task in tables:
            raise InvalidInputError(f"--splits gives {task} twice, {tables[task]} and {path}")
        tables[task] = path
    return tables


def _exists(path: str) -> bool:
    try:
        return user_path(path).exists()
    except (OSError, ValueError):  # the name is too long
        return False
