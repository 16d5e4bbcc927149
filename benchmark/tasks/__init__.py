"""The tasks, one file each, loaded on first use."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from benchmark.tasks import labelled, own
from benchmark.tasks.contract import TaskData, TaskFacts, TaskOptions
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.nearest import suggest
from bgknown.userpath import user_path

SUITES = {
    "nine": ("esc50", "us8k", "spcv2", "vc1", "voxforge", "cremad", "gtzan", "nsynth", "surge"),
}
"""Tasks that are reported together; ``nine`` is Table 3 of Takeuchi et al."""
MODULES = {
    name: f"benchmark.tasks.{name.replace('-', '_')}"
    for name in ("bgknown", "apwd-rain", "apwd-traffic", *SUITES["nine"])
}
"""Names of the tasks and their modules."""
OWN = ".csv"
"""Suffix of a user's own task."""


def load_task(name: str) -> ModuleType:
    """The module of a task.

    Raises:
        NotFoundError: the task does not exist; suggests the closest.
    """
    if name not in MODULES:
        raise NotFoundError(f"no task {name!r}; {suggest(name, MODULES)}; a task of your own is a {OWN} file")
    return importlib.import_module(MODULES[name])


def is_own(name: str) -> bool:
    """Whether a name is that of a table of a user's own task, with or without options."""
    return name.partition("?")[0].endswith(OWN)


def name_of(name: str) -> str:
    """The name of a task in results and in ``--data``: its own, or the stem of its table."""
    return Path(name.partition("?")[0]).stem if is_own(name) else name


def list_needs(name: str) -> tuple[str, ...]:
    """Names of other data that a task can use."""
    return () if is_own(name) else getattr(load_task(name), "NEEDS", ())


def read_facts(name: str) -> TaskFacts:
    """What is published about a task, or the settings of a user's own.

    Raises:
        NotFoundError: the task does not exist.
        InvalidInputError: the name or the options of a user's own task are wrong.
    """
    if not is_own(name):
        found: TaskFacts = load_task(name).FACTS
        return found
    stem = name_of(name)
    if stem in MODULES:
        raise InvalidInputError(
            f"{name}: a task of your own cannot have the name of a built-in task, {stem}: give the file another "
            f"name, or use its labels and splits for that task with --task {stem} --splits FILE"
        )
    if stem != stem.strip():
        raise InvalidInputError(f"{name!r}: the name of a task must not begin or end with spaces; rename the file")
    return own.read_own_facts(name)


def prepare(name: str, root: Path, options: TaskOptions) -> TaskData:
    """Read a task.

    Args:
        name: its name, or the table of a user's own task.
        root: its folder.
        options: how to read it.

    Raises:
        NotFoundError, InvalidInputError: it does not exist, or breaks a rule.
    """
    root = user_path(root)
    if is_own(name):
        return labelled.prepare(read_facts(name), own.index_own(name, root), root, options)
    module = load_task(name)
    if hasattr(module, "prepare"):
        data: TaskData = module.prepare(root, options)
        return data
    return labelled.prepare(module.FACTS, module.index(root), root, options)
