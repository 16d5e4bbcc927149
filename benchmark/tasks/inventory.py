"""What is there of the corpora: which, how much of each, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark import tasks
from benchmark.embedding.clips import examine_file
from benchmark.tasks import labelled, own
from benchmark.tasks.contract import TaskFacts, TaskOptions, check_folds
from bgknown.corpora.headers import read_header_facts
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError
from bgknown.jobs.parallel import in_threads
from bgknown.userpath import user_path

LISTED = 20
"""Number of broken files that ``validate`` lists one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What is there of one corpus."""

    facts: TaskFacts
    """What is published about it."""
    root: Path
    """Where it was looked for."""
    state: str
    """``missing``, ``complete``, ``in part`` or ``unreadable``."""
    what: str = ""
    """What is wrong or missing."""
    clips: int = 0
    """Clips that can be used."""
    hours: float = 0.0
    """Their length."""

    @property
    def complete(self) -> bool:
        """Whether it is all there."""
        return self.state == "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What ``validate`` has found, in one line each."""

    faults: list[str]
    """What is wrong."""
    notes: list[str]
    """What users should know, but is true of the published corpus too."""


def status(root: Path, *, cache: Path) -> list[Stock]:
    """How complete each corpus of the nine tasks is.

    Args:
        root: a folder with one folder per task.
        cache: cache folder, in which headers of files are kept.

    Raises:
        NotFoundError: the folder does not exist.
    """
    root = user_path(root)
    if not root.is_dir():
        raise NotFoundError(f"{root}: no such folder; give the one that holds {', '.join(tasks.SUITES['nine'])}")
    return [_take_stock(name, root / name, cache) for name in tasks.SUITES["nine"]]


def validate(name: str, root: Path, *, cache: Path, decode: bool = False) -> Findings:
    """Look for everything that is wrong with a corpus.

    Args:
        name: the task, or a user's own table.
        root: its folder.
        cache: cache folder, in which headers of files are kept.
        decode: also decode every file to its end.

    Raises:
        NotFoundError, InvalidInputError: its tables cannot be read, so nothing else can be checked.
    """
    root = user_path(root)
    facts, table = _list_clips(name, root)
    labelled.check_table(table, f"{root}: task {facts.name}")
    difference = labelled.describe_difference(facts, table)
    faults, notes = [f"{root}: lists {difference}"] * bool(difference), list[str]()
    headers = read_header_facts(root, table["file"].tolist(), cache=cache, title=f"{facts.name} headers")
    problems = headers["problem"].to_numpy(dtype=object)
    paths = [root / file for file in table["file"]]
    if decode:
        whole = np.flatnonzero(problems == "")
        heard = in_threads(examine_file, [paths[row] for row in whole], title=f"{facts.name} decoding", unit="file")
        problems[whole] = [fault for fault, _ in heard]
        silent = [paths[row] for row, (_, found) in zip(whole, heard, strict=True) if found.silent]
        notes += [f"{path}: is silent (its mono audio stays within one step of 16 bits)" for path in silent[:LISTED]]
        if len(silent) > LISTED:
            notes.append(f"{root}: {len(silent) - LISTED:,} more clips are silent")
    broken = np.flatnonzero(problems != "")
    faults += [f"{paths[row]}: {problems[row]}" for row in broken[:LISTED]]
    if len(broken) > LISTED:
        faults.append(f"{root}: {len(broken) - LISTED:,} more clips are missing or broken")
    options = TaskOptions(cache=cache, skip_broken=True, broken={paths[row]: problems[row] for row in broken})
    try:
        data = tasks.prepare(name, root, options)
        check_folds(data)
    except InvalidInputError as error:
        return Findings(faults=[*faults, str(error)], notes=notes)
    if data.leak_check != "ok":
        leaks = faults if "training and test" in data.leak_check else notes
        leaks.append(f"{root}: leak check: {data.leak_check}")
    return Findings(faults=faults, notes=notes)


def _list_clips(name: str, root: Path) -> tuple[TaskFacts, pd.DataFrame]:
    if tasks.is_own(name):
        return tasks.read_facts(name), own.index_own(name, root)
    module = tasks.load_task(name)
    if not hasattr(module, "index"):
        raise InvalidInputError(f"{name} is a dataset of this project: `bgknown verify {root}` checks it")
    return module.FACTS, module.index(root)


def _take_stock(name: str, root: Path, cache: Path) -> Stock:
    facts, table = tasks.read_facts(name), None
    if not root.is_dir():
        return Stock(facts=facts, root=root, state="missing")
    try:
        _, table = _list_clips(name, root)
        labelled.check_table(table, name)
    except BgknownError as error:
        return Stock(facts=facts, root=root, state="unreadable", what=str(error))
    headers = read_header_facts(root, table["file"].tolist(), cache=cache, title=f"{name} headers")
    whole = (headers["problem"] == "").to_numpy()
    seconds = (headers["frames"][whole] / headers["rate_hz"][whole]).sum()
    difference = labelled.describe_difference(facts, table)
    faults = [f"lists {difference}"] * bool(difference)
    faults += [f"{(~whole).sum():,} clips are missing or broken"] * bool((~whole).any())
    return Stock(
        facts=facts,
        root=root,
        state="in part" if faults else "complete",
        what="; ".join(faults),
        clips=int(whole.sum()),
        hours=float(seconds) / 3600.0,
    )
