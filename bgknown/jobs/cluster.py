"""Work on a Dask cluster instead of in local processes: the same units, and the same bytes.

``use_cluster`` connects, and everything within it that ``bgknown.jobs.parallel`` runs goes to the cluster's workers.
All of them must see the same folders under the same paths; each process checks that before its first task
(``Sight``), so that a worker that joins late is checked too.

``bgknown.jobs.cluster_address`` says how a cluster is named.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs.cluster_address import connect
from bgknown.jobs.files import write_whole
from bgknown.version import VERSION

log = logging.getLogger(__name__)

WORKERS_WAIT_S = 7 * 86_400
"""How long to wait for the first worker; a queue may be long."""
IN_FLIGHT = 3
"""Tasks for each worker that are handed to the cluster at a time."""
COUNT_EVERY_S = 2.0
LONELY_S = 30.0
"""After this time without workers a line says so."""
_LANDMARKS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a worker must see: files that are only read, by size and time of change, and files with a random word."""

    read: tuple[tuple[str, int, int], ...] = ()
    """Path, bytes and time of change (ns) of some files of each folder that is read."""
    written: tuple[tuple[str, str], ...] = ()
    """Path and content of a file in each folder that is written."""
    version: str = VERSION
    """The version of this software."""


@dataclass(slots=True, kw_only=True)
class Cluster:
    """A cluster that is in use."""

    client: Any
    """Dask's client."""
    requested: int
    """Number of workers that were asked for; 0 where others start them."""
    sight: Sight
    """What its workers must see."""
    words: dict[Path, str] = field(default_factory=dict)
    """The random word of each folder that is written."""
    _present: int = field(default=0, init=False)
    _count_again_at: float = field(default=0.0, init=False)

    def count_workers(self) -> int:
        """How many workers there are, or will be; at least 1. More may come and some may go at any time."""
        if time.monotonic() >= self._count_again_at:
            with contextlib.suppress(Exception):  # the scheduler may be gone, which the work reports
                self._present = len(self.client.nthreads())
            self._count_again_at = time.monotonic() + COUNT_EVERY_S
        return max(self._present, self.requested, 1)

    def see_written(self, folder: Path | None) -> Sight:
        """What its workers must see, with a folder that exists and that they write to."""
        if folder is None:
            return self.sight
        path = folder.absolute() / f".seen-{self.words.setdefault(folder, secrets.token_hex(8))}"
        if not path.exists():
            write_whole(path, self.words[folder].encode())
        return Sight(read=self.sight.read, written=((str(path), self.words[folder]),))


Part = TypeVar("Part")
Results = TypeVar("Results")
_current: ContextVar[Cluster | None] = ContextVar("cluster", default=None)


def find_cluster() -> Cluster | None:
    """The cluster that is in use; None for local processes."""
    return _current.get()


@contextlib.contextmanager
def use_cluster(address: str | None, *, read: Sequence[Path] = ()) -> Iterator[Cluster | None]:
    """Do everything within this on a cluster.

    Args:
        address: the cluster (see the module); None for local processes, as without this.
        read: folders that the workers read.

    Raises:
        NotFoundError: Dask is not installed, or there is no such file.
        InvalidInputError: the address or a TOML file breaks a rule, or workers have more than one thread.
        StorageError: there is no scheduler at that address.
    """
    if address is None:
        yield None
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quieten())
        client, requested = connect(address, stack)
        cluster = Cluster(client=client, requested=requested, sight=Sight(read=tuple(_list_landmarks(read))))
        stack.enter_context(_warn_when_lonely(client))
        client.wait_for_workers(1, timeout=WORKERS_WAIT_S)
        _check_threads(client)
        token = _current.set(cluster)
        stack.callback(_current.reset, token)
        stack.callback(_remove_words, cluster)
        yield cluster


def run_on_cluster(
    cluster: Cluster, work: Callable[[Part], Results], parts: Sequence[Part], *, ordered: bool
) -> Generator[Results]:
    """Results of ``work`` over ``parts``, which are handed out as workers become free.

    This does not use joblib's backend for Dask: with one worker, which may be the first of many, joblib would do
    everything in the process of the command.

    Args:
        cluster: the cluster, in use.
        work: a function that can be pickled.
        parts: what to work on.
        ordered: whether results come in the order of the parts, rather than as they become ready.

    Raises:
        StorageError: a task ended its workers, or the scheduler is gone.
    """
    from distributed import as_completed  # noqa: PLC0415

    make_queue: Any = as_completed  # Dask has no types
    queue = make_queue()
    places: dict[Any, int] = {}
    ready: dict[int, Results] = {}
    waiting = iter(enumerate(parts))
    following = 0
    with _explain_cluster_faults():
        try:
            while following < len(parts):
                # results that are ready may have to wait for a slow one before them
                room = IN_FLIGHT * cluster.count_workers() - len(places) - len(ready)
                for place, part in itertools.islice(waiting, max(room, 0)):
                    future = cluster.client.submit(work, part, pure=False)
                    places[future] = place
                    queue.add(future)
                future = next(queue)
                place = places.pop(future)
                ready[place] = future.result()
                del future  # so that the cluster forgets the result
                for place in [following] * (following in ready) if ordered else list(ready):
                    yield ready.pop(place)
                    following += 1
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                cluster.client.cancel(list(places))


@cache
def check_sight(sight: Sight) -> None:
    """Refuse to work where the folders are not those of the command; called by each process of a worker, once.

    Raises:
        StorageError: names this machine and what it does not see.
    """
    here = f"the worker on {socket.gethostname()}"
    if sight.version != VERSION:
        raise StorageError(f"{here} has bgknown {VERSION}, the command has {sight.version}; install the same version")
    for path, size, changed in sight.read:
        try:
            state = os.stat(path)  # noqa: PTH116  (a text, as it travels)
        except OSError as error:
            raise StorageError(f"{here} cannot read {path} ({error.strerror}); {_SAME}") from error
        if (state.st_size, state.st_mtime_ns) != (size, changed):
            raise StorageError(f"{here} has another file at {path}; {_SAME}")
    for path, word in sight.written:
        try:
            found = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{here} does not see {Path(path).parent} as the command does; {_SAME}") from error
        if found != word:
            raise StorageError(f"{here} has another folder at {Path(path).parent}; {_SAME}")


_SAME = "all workers need the same folders under the same paths, on a shared file system"


@contextlib.contextmanager
def _explain_cluster_faults() -> Iterator[None]:
    """Turn the faults of a cluster into one line each.

    Raises:
        StorageError: a task ended its workers, or the scheduler is gone.
    """
    from concurrent.futures import CancelledError  # noqa: PLC0415

    from distributed import KilledWorker  # noqa: PLC0415
    from distributed.comm.core import CommClosedError  # noqa: PLC0415

    kept = "finished work is kept; run the same command again"
    try:
        yield
    except KilledWorker as error:
        raise StorageError(
            f"one task ended {error.allowed_failures + 1} workers in turn, most often because memory ran out: "
            f"{kept}, with more memory for each worker"
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise StorageError(f"the cluster's scheduler is gone: {kept} when it is back") from error
    except OSError as error:
        if type(error).__module__.startswith("distributed"):
            raise StorageError(f"the cluster does not answer ({error}): {kept}") from error
        raise


def _check_threads(client: Any) -> None:
    threads = {name: worker["nthreads"] for name, worker in client.scheduler_info(n_workers=-1)["workers"].items()}
    crowded = [name for name, count in threads.items() if count > 1]
    if crowded:
        raise InvalidInputError(
            f"the worker {crowded[0]} has {threads[crowded[0]]} threads; units need a process each: start workers with "
            "--nthreads 1 --nworkers N, or with as many processes as cores in dask-jobqueue"
        )


def _list_landmarks(folders: Sequence[Path]) -> Iterator[tuple[str, int, int]]:
    """Some files of each folder, by size and time of change."""
    for folder in folders:
        found = 0
        for root, names, files in os.walk(folder.absolute()):
            names.sort()
            for name in sorted(files)[:3]:
                state = (Path(root) / name).stat()
                yield str(Path(root) / name), state.st_size, state.st_mtime_ns
                found += 1
            if found >= _LANDMARKS:
                break


def _remove_words(cluster: Cluster) -> None:
    for folder, word in cluster.words.items():
        (folder.absolute() / f".seen-{word}").unlink(missing_ok=True)


@contextlib.contextmanager
def _quieten() -> Iterator[None]:
    """Keep Dask's log of lost connections, tracebacks included, off the terminal: each fault is one line here."""
    with contextlib.suppress(ImportError):  # where it is missing, the connection says so
        import distributed  # noqa: F401, PLC0415  (it makes its loggers)

    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in {"distributed", "tornado"}]
    loggers = [logging.getLogger(name) for name in {"distributed", "distributed.client", "asyncio", *names}]
    before = {logger: logger.level for logger in loggers}
    for logger in before:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


@contextlib.contextmanager
def _warn_when_lonely(client: Any) -> Iterator[None]:
    """Say once that there are no workers, whenever that lasts."""
    stop = threading.Event()

    def watch() -> None:
        alone = 0.0
        while not stop.wait(1.0):
            with contextlib.suppress(Exception):  # the scheduler may be gone, which the work reports
                alone = 0.0 if client.scheduler_info(n_workers=-1)["workers"] else alone + 1.0
                if alone == LONELY_S:
                    log.warning("the cluster has no workers; waiting for some (Ctrl-C stops)")

    thread = threading.Thread(target=watch, name="cluster", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5.0)
