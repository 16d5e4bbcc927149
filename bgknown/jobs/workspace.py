"""The state of an unfinished job in ``OUT/.work``: its description, its plan, its journal and a lock.

A job can be killed at any moment. It leaves this folder, and whole files under their final names; the next run of the
same command resumes from there and ends with the same bytes (``bgknown.jobs.resumable``).

Shards (``bgknown.jobs.shards``) work in one folder at the same time. Each has a journal, a scratch folder and a lock of
its own, and holds the job's lock only while it decides what there is to do. Any other run is refused until they end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bgknown.errors import StorageError
from bgknown.jobs.files import advise_option, append_line, describe_storage_error, make_folder, open_own, write_whole
from bgknown.jobs.locking import hold
from bgknown.jobs.sealed import CHECK, add_check, read_checked, read_json_object
from bgknown.jobs.shards import Shard
from bgknown.jobs.stopping import clean_up_when_stopped

log = logging.getLogger(__name__)


WORK = ".work"
SHARDS_WAIT_S = 3 * 3600.0
"""How long a shard waits while another decides what there is to do, which may mean measuring a whole corpus."""
_OWN_NAMES = re.compile(r"(build|plan)\.json|scratch-.*|(lock|journal|audio)(-[0-9]+-of-[0-9]+)?(\.jsonl|\.pcm)?")
_COMPARED = ("name", "configuration", "draw", "corpora", "inputs")
_UNSAID = {"configuration.keep_sources": True, "configuration.text_style": 1}
"""What descriptions of version 0.1.0, and those that are to equal them, do not say, because it could not be chosen."""
_PASSING = ("headers_sha256", "inputs_sha256")  # differ while broken files are being repaired


class Workspace:
    """State of one output folder.

    Args:
        out: the folder.
        read: reads the description of a finished folder.
        manifest: the file that is written last.
        description: the file that ``read`` reads.
        shard: the share that this run makes; None for all units.
    """

    def __init__(
        self,
        out: Path,
        *,
        read: Callable[[Path], dict[str, Any]],
        manifest: str,
        description: str,
        shard: Shard | None = None,
    ) -> None:
        self.out = out
        self.shard = shard
        self._read_description = read
        self._manifest = out / manifest
        self.description_name = description
        self._description = out / description
        self.folder = out / WORK
        own = "" if shard is None else f"-{shard.name}"
        self.journal = self.folder / f"journal{own}.jsonl"
        self._lock = self.folder / "lock"
        self._own_lock = self.folder / f"lock{own}"
        self._deciding = contextlib.ExitStack()  # the job's lock, which a shard releases once it has decided
        self._may_remove = True
        self._started = self.folder / "build.json"
        self._plan = self.folder / "plan.json"
        # Each run has another name: worker processes that outlive a killed run lose their folder, and so cannot put
        # anything under a final name.
        self._scratches = f"scratch{own}-{'?' * 8}"
        self.scratch = self.folder / self._scratches.replace("?" * 8, secrets.token_hex(4))

    def is_finished(self, description: Mapping[str, Any]) -> bool:
        """Whether the folder already holds the finished result that ``description`` describes.

        Raises:
            StorageError: the folder holds something else; the message says what differs.
        """
        if self.out.exists() and not self.out.is_dir():
            raise StorageError(f"{self.out}: is a file; give a folder with --out")
        if self._manifest.is_file():
            if not self._description.is_file():
                raise StorageError(
                    f"{self.out}: holds a {self._manifest.name} but no {self._description.name}, so it was not made "
                    "by bgknown; give a new folder with --out"
                )
            self._compare(self._read_description(self.out), description, passing=())
            return True
        if self._started.is_file():
            started = self._read_started()
            if started is not None:
                self._compare(started, description, passing=_PASSING)
        elif self.out.is_dir() and self._has_foreign_files():
            raise StorageError(
                f"{self.out}: the folder is not empty and does not hold unfinished work of bgknown; "
                "give a new folder with --out"
            )
        return False

    @contextlib.contextmanager
    def claim(self, description: Mapping[str, Any]) -> Iterator[bool]:
        """Hold the folder for one job; yields whether the result is finished already.

        A folder that holds another configuration is left as it was. The workspace is removed when the result is
        finished, or when the job ends without having made anything.

        Raises:
            StorageError: another process holds the folder, it holds something else, or it cannot be written.
        """
        self.is_finished(description)  # refuses before anything is made
        was_there = self.out.is_dir()
        try:
            with advise_option("--out"):
                make_folder(self.folder)
            with self._hold_lock(), clean_up_when_stopped(self._remove_scratch):
                if not self._lock.exists():  # the run that held it has ended and removed its workspace
                    raise StorageError(f"{self.out}: another run has just ended there; run the same command again")
                self._check_shards()
                with self._hold_state(description) as finished:
                    yield finished
        finally:
            if not was_there:
                with contextlib.suppress(OSError):  # not empty: something was made
                    self.out.rmdir()

    @contextlib.contextmanager
    def _hold_lock(self) -> Iterator[None]:
        """Hold the job's lock; a shard waits for the others to release it, and has its own lock as well."""
        busy = f"{self.out}: another run is writing there; wait for it or give another --out"
        with contextlib.ExitStack() as locks:
            locks.enter_context(self._deciding)
            self._deciding.enter_context(hold(self._lock, busy=busy, wait_s=SHARDS_WAIT_S if self.shard else 0.0))
            if self.shard is not None:
                same = f"{self.out}: {self.shard} is running already; wait for it, or give another --shard"
                locks.enter_context(hold(self._own_lock, busy=same))
            yield

    def let_others_in(self) -> None:
        """Let other shards decide what there is to do; this one has done so. Without effect for a whole job."""
        if self.shard is not None:
            self._deciding.close()
            self._may_remove = False

    def _check_shards(self) -> None:
        """Refuse to begin a whole job while shards of it are running; a shard only notes whether it is the first."""
        if self.shard is not None:
            self._may_remove = len(list(self.folder.glob("lock-*-of-*"))) == 1  # else others may be at work
            return
        for lock in sorted(self.folder.glob("lock-*-of-*")):
            name = lock.name.removeprefix("lock-").replace("-", " ")
            with hold(lock, busy=f"{self.out}: shard {name} is still running; run this command when all have ended"):
                pass

    @contextlib.contextmanager
    def _hold_state(self, description: Mapping[str, Any]) -> Iterator[bool]:
        """Begin or resume the work; the workspace is removed when it is no longer needed."""
        try:
            finished = self.is_finished(description)
            if not finished:
                with advise_option("--out"):
                    self._begin(description)
            yield finished
        finally:
            self._remove_scratch()
            begun = self._plan.is_file() or self._journal_begun() or self._has_results()
            unused = self._may_remove and not begun
            if self._manifest.is_file() or unused:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_scratch(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _begin(self, description: Mapping[str, Any]) -> None:
        for old in self.folder.glob("scratch-*" if self.shard is None else self._scratches):
            shutil.rmtree(old, ignore_errors=True)
        make_folder(self.scratch)
        write_whole(self._started, json.dumps(add_check(description)).encode(), aside=self.scratch)
        try:
            open_own(self.journal).close()
        except OSError as error:
            raise describe_storage_error(error, self.journal) from error

    def list_journals(self) -> list[Path]:
        """The journals of all runs, whole jobs and shards, from the oldest to the newest."""
        return sorted(self.folder.glob("journal*.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path.name))

    def _journal_begun(self) -> bool:
        return any(journal.stat().st_size > 0 for journal in self.list_journals())

    def _has_results(self) -> bool:
        return any(child.name != WORK for child in self.out.iterdir())

    def read_begun(self) -> dict[str, Any] | None:
        """The description of what the folder holds, finished or not; None if there is nothing, or it is damaged.

        Raises:
            BgknownError: as the function that reads the description of a finished folder.
        """
        if self._manifest.is_file() and self._description.is_file():
            return self._read_description(self.out)
        return self._read_started() if self._started.is_file() else None

    def read_plan(self) -> dict[str, Any] | None:
        """What ``write_plan`` stored; None if there is nothing, or it is damaged."""
        try:
            return read_checked(self._plan.read_bytes()) if self._plan.is_file() else None
        except OSError as error:
            raise describe_storage_error(error, self._plan) from error

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Store what was decided before the units are made, so that a resumed run need not decide again."""
        write_whole(self._plan, json.dumps(add_check(plan)).encode(), aside=self.scratch)

    def _has_foreign_files(self) -> bool:
        if self._has_results():
            return True
        inside = list(self.folder.iterdir()) if self.folder.is_dir() else []
        return any(not _OWN_NAMES.fullmatch(child.name) for child in inside)

    def _read_started(self) -> dict[str, Any] | None:
        """The description that the unfinished work was begun with; None if it is damaged.

        Then the folder cannot be compared with this command; its units are kept by their digests in any case.
        """
        try:
            data = self._started.read_bytes()
        except OSError as error:
            raise describe_storage_error(error, self._started) from error
        plain = read_json_object(data)
        of_0_1_0 = plain is not None and CHECK not in plain and plain.get("version") == "0.1.0"
        found = plain if of_0_1_0 else read_checked(data)
        if found is None:
            log.warning("%s: the state of its unfinished work is damaged; finished work that fits is kept", self.out)
        return found

    def _compare(self, there: Mapping[str, Any], here: Mapping[str, Any], *, passing: tuple[str, ...]) -> None:
        compared = (difference for key in _COMPARED for difference in _differences(key, there.get(key), here.get(key)))
        known = ((path, [_UNSAID.get(path) if value is None else value for value in pair]) for path, *pair in compared)
        differences = [
            f"{path} is {_shorten(old)} in the folder but {_shorten(new)} was requested"
            for path, (old, new) in known
            if old != new and path.rsplit(".", 1)[-1] not in passing
        ]
        if differences:
            skipped = there.get("skipped")
            count = len(skipped) if isinstance(skipped, list) else 0
            hint = f" (it was made without {count} broken inputs, which may be repaired now)" if count else ""
            raise StorageError(
                f"{self.out}: holds another configuration: {'; '.join(differences)}{hint}; "
                "give another --out, or the options that it was begun with"
            )


def append_entries(journal: Path, *entries: Mapping[str, Any]) -> None:
    """Add entries to a journal, each with its checksum, in one write.

    Raises:
        StorageError: the journal is missing, or the disk is full.
    """
    append_line(journal, "\n".join(json.dumps(add_check(entry)) for entry in entries))


def read_journal(journal: Path) -> Iterator[dict[str, Any]]:
    """The entries of a journal in their order, without damaged ones.

    Raises:
        StorageError: it exists and cannot be read.
    """
    try:
        lines = journal.read_bytes().split(b"\n") if journal.is_file() else []
    except OSError as error:
        raise describe_storage_error(error, journal) from error
    for line in lines:
        entry = read_checked(line) if line else None
        if entry is not None:
            yield entry


def _differences(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(f"{path}.{key}", old.get(key), new.get(key))
    elif old != new:
        yield path, old, new


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
