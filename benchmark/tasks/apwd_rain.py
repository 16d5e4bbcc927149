"""APwD, the scene rain: ``benchmark.tasks.apwd``."""

from __future__ import annotations

from pathlib import Path

from benchmark.tasks import apwd
from benchmark.tasks.contract import TaskData, TaskOptions

FACTS = apwd.make_facts("rain")
SETTINGS = apwd.SETTINGS
NEEDS = apwd.NEEDS


def prepare(root: Path, options: TaskOptions) -> TaskData:
    """Read the pairs of the scene, as ``benchmark.tasks.apwd.prepare``."""
    return apwd.prepare(FACTS, root, options)
