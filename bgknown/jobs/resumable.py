"""The skeleton of a job that can be stopped at any moment and still ends with the same bytes.

``build``, ``apwd prepare``, ``apwd build``, ``apwd draw`` and ``pretrain pack`` each make a folder out of many units:
rows, sources, pairs, files. They say what a unit is and how it is made; the rest is here and in ``bgknown.jobs.units``.

A job describes its options and inputs and claims its folder (``Job.run``), makes the units in parallel
(``Job.run_units``), lists what is broken (``Job.check``), and writes its tables, the manifest last (``Job.finish``).
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from bgknown.errors import BrokenInputError, StorageError
from bgknown.jobs.files import hash_bytes, list_state, sync_folder, write_whole
from bgknown.jobs.parallel import in_batches
from bgknown.jobs.problems import Problem, list_problems, refuse_broken
from bgknown.jobs.shards import Shard
from bgknown.jobs.units import FinishedUnit, JobFolder, read_units
from bgknown.jobs.workspace import Workspace

Unit = TypeVar("Unit")
Record = TypeVar("Record")
Result = TypeVar("Result")
Report = TypeVar("Report")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult(Generic[Record]):
    """What became of a unit: a record, or a problem."""

    record: Record | None = None
    problem: Problem | None = None
    kept: bool = False
    """Whether an earlier run had made it."""


@dataclass(slots=True, kw_only=True)
class JobOutcome(Generic[Record]):
    """What became of all units."""

    records: list[Record] = field(default_factory=list)
    """Of the good ones, in the order in which they became ready."""
    problems: list[Problem] = field(default_factory=list)
    """What is broken."""
    kept: int = 0
    """Units that an earlier run had made."""

    def add(self, results: Iterable[UnitResult[Record]]) -> JobOutcome[Record]:
        """Count units as they become ready; returns this."""
        for result in results:
            self.records += [] if result.record is None else [result.record]
            self.problems += [] if result.problem is None else [result.problem]
            self.kept += result.kept
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One resumable job."""

    workspace: Workspace
    """Its folder, and the state of unfinished work in it."""
    description: Mapping[str, Any]
    """Options and fingerprints of inputs, without times or paths of this machine."""
    noun: str
    """What a unit is called: row, pair, source, file."""
    jobs: int
    """Number of processes."""
    skip_broken: bool = False
    """Whether to leave out what is broken."""

    @property
    def folder(self) -> JobFolder:
        """The folder as workers see it."""
        return JobFolder(out=self.workspace.out, scratch=self.workspace.scratch, journal=self.workspace.journal)

    def run(self, work: Callable[[], Report], report_finished: Callable[[], Report]) -> Report:
        """Do the work with the folder claimed; a finished folder, also one on a read-only disk, is only reported.

        Raises:
            StorageError: another process holds the folder, it holds something else, or it cannot be written.
        """
        if self.workspace.is_finished(self.description):
            if self.workspace.folder.exists():  # killed after the manifest was written and before .work was removed
                with contextlib.suppress(StorageError), self.workspace.claim(self.description):
                    pass
            return report_finished()
        with self.workspace.claim(self.description) as finished:
            return report_finished() if finished else work()  # another process may have finished it just now

    @property
    def shard(self) -> Shard | None:
        """The share of the units that this run makes; None for all."""
        return self.workspace.shard

    def find_known(self) -> dict[str, FinishedUnit]:
        """What earlier runs have made, by name; of several lines on a unit the last counts."""
        return {unit.name: unit for journal in self.workspace.list_journals() for unit in read_units(journal)}

    def take_share(self, units: Sequence[Unit]) -> Sequence[Unit]:
        """The units that this run makes: all of them, or those of its shard.

        Everything that all shards share, such as a plan, must be decided and stored before.
        """
        self.workspace.let_others_in()
        return units if self.shard is None else self.shard.take(units)

    def run_units(
        self,
        work: Callable[[Sequence[Unit]], list[Result]],
        units: Sequence[Unit],
        *,
        title: str,
        batch: int = 1,
        ordered: bool = False,
        unit: str | None = None,
    ) -> Iterator[Result]:
        """Results of all units: the one place that decides which units are made, and where.

        Args:
            work: makes a batch of units, in any process; gives one result for each.
            units: what to make.
            title: title of the progress bar.
            batch: units handed to a process at a time.
            ordered: whether results come in the order of the units.
            unit: name of a unit in the bar's rate; by default the job's noun.
        """
        return in_batches(
            work,
            units,
            jobs=self.jobs,
            title=title,
            unit=unit or self.noun,
            batch=batch,
            ordered=ordered,
            out=self.workspace.scratch,
        )

    def check(self, outcome: JobOutcome[Record], total: int, *, stored: bool = True) -> None:
        """List what is broken, unless it is to be skipped and something good is left.

        Args:
            outcome: what became of the units.
            total: how many there are.
            stored: whether good units are kept for the next run.

        Raises:
            BrokenInputError: lists all problems and says what to do.
        """
        kept = f"{len(outcome.records)} of {total} {self.noun}s are kept in {self.workspace.out}"
        refuse_broken(outcome.problems, skip=self.skip_broken, kept=kept if stored else "nothing was written")
        if not outcome.records and (self.shard is None or outcome.problems):
            raise BrokenInputError(
                f"nothing is left: all {total} {self.noun}s are broken:\n{list_problems(outcome.problems)}"
            )

    def check_space(self, needed_bytes: int, *, hint: str = "") -> None:
        """Refuse to begin what the disk cannot hold.

        Raises:
            StorageError: names what is needed and what is free.
        """
        free = shutil.disk_usage(self.workspace.out).free
        if needed_bytes > free:
            raise StorageError(
                f"{self.workspace.out}: the disk has {free / 1e9:.2f} GB free, the {self.noun}s need up to "
                f"{needed_bytes / 1e9:.2f} GB; free some space, or give another --out{hint}"
            )

    def check_finished_files(self, sizes: Mapping[str, int | None]) -> None:
        """Refuse a finished folder that lacks files.

        Args:
            sizes: for each file, relative to the folder, its bytes; None where these are not known.

        Raises:
            StorageError: counts the files that are missing or of another size, and names the first.
        """
        found = {name: list_state(self.workspace.out / name) for name in sizes}
        lost = [name for name, size in sizes.items() if not found[name] or size not in {None, found[name][0]}]
        if lost:
            raise StorageError(
                f"{self.workspace.out}: the finished folder lacks {len(lost)} of its files, or they are cut short "
                f"(the first: {lost[0]}); delete the folder and run the command again to get the same bytes"
            )

    def finish(self, tables: Mapping[str, bytes], *, folders: Iterable[Path] = ()) -> None:
        """Make the renames in ``folders`` safe, then write the tables, the last of which is the manifest.

        Raises:
            StorageError: the disk is full or refuses.
        """
        out, scratch = self.workspace.out, self.workspace.scratch
        for folder in folders:
            sync_folder(folder)
        *first, manifest = tables
        for name in first:
            write_whole(out / name, tables[name], aside=scratch)
        sync_folder(out)
        write_whole(out / manifest, tables[manifest], aside=scratch)
        sync_folder(out)

    def finish_described(
        self, found: Mapping[str, Any], tables: Mapping[str, bytes], *, folders: Iterable[Path] = ()
    ) -> None:
        """``finish`` with the description as the first table: the job's own, what was found, and the tables' hashes.

        Args:
            found: what is known of the result.
            tables: the tables; the last is the manifest. An edit of any is noticed by its SHA-256 in the description.
            folders: as for ``finish``.
        """
        hashes = {name: hash_bytes(content) for name, content in tables.items()}
        content = {**self.description, **found, "tables_sha256": hashes}
        description = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
        self.finish({self.workspace.description_name: description, **tables}, folders=folders)
