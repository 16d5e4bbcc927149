"""Work on a Dask cluster instead of in local processes: the same units, and the same bytes.

``use_cluster`` connects, and everything within it that ``bgknown.jobs.parallel`` runs goes to the cluster's workers.
All of them must see the same folders under the same paths and have the same software; each process checks that before
its first task (``bgknown.jobs.sight``), so that a worker that joins late is checked too. The scheduler needs nothing
but Dask.

A worker that does not answer is given up (``bgknown.jobs.cluster_faults``), and what is late is given to a second one
(``bgknown.jobs.waiting``). ``bgknown.jobs.cluster_address`` says how a cluster is named.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import secrets
import socket
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bgknown.errors import BgknownError, InvalidInputError, StorageError
from bgknown.jobs import waiting
from bgknown.jobs.cluster_address import connect
from bgknown.jobs.cluster_faults import WorkerWatch, explain_cluster_faults, quieten
from bgknown.jobs.files import write_whole
from bgknown.jobs.passing import work_again
from bgknown.jobs.sight import Sight, check_sight, list_landmarks, name_word_file, remove_lost_words
from bgknown.jobs.waiting import Waiting
from bgknown.shown import format_duration

log = logging.getLogger(__name__)

WORKERS_WAIT_S = 7 * 86_400
"""How long to wait for the first worker; a queue may be long."""
IN_FLIGHT = 3
"""Tasks for each worker that are handed to the cluster at a time."""
COUNT_EVERY_S = 2.0


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
        path = name_word_file(folder, self.words.setdefault(folder, secrets.token_hex(8)))
        if not path.exists():
            remove_lost_words(folder)
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
        stack.enter_context(quieten())
        client, requested = connect(address, stack)
        cluster = Cluster(client=client, requested=requested, sight=Sight(read=tuple(list_landmarks(read))))
        stack.enter_context(waiting.look_regularly(WorkerWatch(client).look))
        client.wait_for_workers(1, timeout=WORKERS_WAIT_S)
        _check_threads(client)
        token = _current.set(cluster)
        stack.callback(_current.reset, token)
        stack.callback(_remove_words, cluster)
        yield cluster


def run_on_cluster(
    cluster: Cluster,
    work: Callable[[Part], Results],
    parts: Sequence[Part],
    *,
    out: Path | None,
    ordered: bool,
    waits: Waiting,
) -> Generator[Results]:
    """Results of ``work`` over ``parts``, which are handed out as workers become free.

    This does not use joblib's backend for Dask: with one worker, which may be the first of many, joblib would do
    everything in the process of the command.

    Args:
        cluster: the cluster, in use.
        work: a function that can be pickled.
        parts: what to work on.
        out: a folder that the work writes to.
        ordered: whether results come in the order of the parts, rather than as they become ready.
        waits: is told which parts are handed out and which are finished.

    Raises:
        StorageError: a task ended its workers, the scheduler is gone, or a part is late with two workers.
    """
    hand = _Hand(cluster, partial(_Parcel, cluster.see_written(out), Path.cwd(), work), parts, waits)
    ready: dict[int, Results] = {}
    waiting_parts = iter(range(len(parts)))
    following = 0
    with explain_cluster_faults(cluster.client, hand.name_task), waiting.look_regularly(hand.look):
        try:
            while following < len(parts):
                # results that are ready may have to wait for a slow one before them
                room = IN_FLIGHT * cluster.count_workers() - len(hand.places) - len(ready)
                for place in itertools.islice(waiting_parts, max(room, 0)):
                    hand.submit(place)
                finished = hand.take()
                if finished is None:
                    continue
                ready[finished[0] if ordered else following] = finished[1]
                while following in ready:
                    yield ready.pop(following)
                    following += 1
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                cluster.client.cancel(list(hand.places))


class _Hand:
    """The tasks that are with the cluster."""

    def __init__(self, cluster: Cluster, pack: Callable[[Any], _Parcel], parts: Sequence[Any], waits: Waiting) -> None:
        from distributed import as_completed  # noqa: PLC0415

        make_queue: Any = as_completed  # Dask has no types
        self._cluster, self._pack, self._parts, self._waits = cluster, pack, parts, waits
        self._queue = make_queue()
        self._done: set[int] = set()
        self._twice: dict[int, float] = {}  # place of a part that a second worker has: how long it had run before
        self._failed = ""
        self.places: dict[Any, int] = {}
        """The part that each task works on."""

    def submit(self, place: int, **where: Any) -> None:
        """Hand a part to the cluster."""
        import cloudpickle  # noqa: PLC0415  (a requirement of Dask)

        parcel = cloudpickle.dumps(self._pack(self._parts[place]))
        future = self._cluster.client.submit(pickle.loads, parcel, pure=False, **where)
        self.places[future] = place
        self._waits.hand_out(place)
        self._queue.add(future)

    def take(self) -> tuple[int, Any] | None:
        """The next part that is finished, and its result; None if it had been finished by another worker before."""
        future = next(self._queue)
        place = self.places.pop(future)
        if self._failed:
            raise StorageError(self._failed)
        if place in self._done:
            return None
        result = future.result()
        self._done.add(place)
        self._waits.finish(place)
        self._cluster.client.cancel([other for other, its in list(self.places.items()) if its == place])
        return place, result

    def look(self) -> None:
        """Give what is late to a second worker, and end the job if that is late too; called in a thread."""
        self._waits.say()
        for place, running_s in self._waits.find_late():
            if place not in self._twice:
                self._twice[place] = running_s
                self._give_to_another(place, running_s)
            elif running_s >= 2 * self._twice[place] and not self._failed:
                self._failed = (
                    f"{self._waits.name_part(place)} has been running for {format_duration(running_s)} on "
                    f"{self._name_workers(place)}, far longer than any other: finished work is kept; look at these "
                    "machines and their disks, and run the same command again"
                )
                self._cluster.client.cancel(list(self.places))

    def name_task(self, key: str) -> str:
        """What a task works on, by its key."""
        found = [place for future, place in list(self.places.items()) if future.key == key]
        return self._waits.name_part(found[0]) if found else "unknown"

    def _give_to_another(self, place: int, running_s: float) -> None:
        busy = self._find_workers(place)
        others = sorted(set(self._cluster.client.scheduler_info(n_workers=-1)["workers"]) - set(busy))
        if others:
            log.warning(
                "%s has been running on %s for %s; it is given to another worker as well",
                self._waits.name_part(place),
                self._name_workers(place),
                format_duration(running_s),
            )
            self.submit(place, workers=others)

    def _find_workers(self, place: int) -> list[str]:
        """The workers that a part was given to."""
        keys = {future.key for future, its in list(self.places.items()) if its == place}
        return [address for address, tasks in self._cluster.client.processing().items() if keys & set(tasks)]

    def _name_workers(self, place: int) -> str:
        return " and ".join(self._find_workers(place)) or "no worker"


class _Parcel:
    """A part on its way to a worker, which does the work as it unpacks the parcel.

    Unpacking is a function of Python's library. So the scheduler need not have this software, and a worker without it
    can say so, rather than lose its connection over a task that it cannot read.
    """

    def __init__(self, sight: Sight, folder: Path, work: Callable[[Any], Any], part: Any) -> None:
        self._sight, self._folder, self._content = sight, folder, (work, part)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        import cloudpickle  # noqa: PLC0415

        return _work_here, (self._sight, self._folder, cloudpickle.dumps(self._content))


def _work_here(sight: Sight, folder: Path, content: bytes) -> Any:
    """Work in a process of a cluster, which must see what the command sees.

    Raises:
        StorageError: names this machine, also for the failures of its disks.
    """
    check_sight(sight)
    here = f"the worker on {socket.gethostname()}"
    try:
        os.chdir(folder)  # relative paths are relative to the command's
    except OSError as error:
        raise StorageError(
            f"{here} cannot enter {folder} ({error.strerror}): run the command in a folder that all workers see"
        ) from error
    work, part = pickle.loads(content)
    try:
        return work_again(work, part)
    except StorageError as error:
        raise StorageError(f"{here}: {error}") from error
    except BgknownError:
        raise
    except OSError as error:
        raise StorageError(f"{here}: {error.filename or 'input or output'}: {error.strerror or error}") from error


def _check_threads(client: Any) -> None:
    threads = {name: worker["nthreads"] for name, worker in client.scheduler_info(n_workers=-1)["workers"].items()}
    crowded = [name for name, count in threads.items() if count > 1]
    if crowded:
        raise InvalidInputError(
            f"the worker {crowded[0]} has {threads[crowded[0]]} threads; units need a process each: start workers with "
            "--nthreads 1 --nworkers N, or with as many processes as cores in dask-jobqueue"
        )


def _remove_words(cluster: Cluster) -> None:
    for folder, word in cluster.words.items():
        name_word_file(folder, word).unlink(missing_ok=True)
