"""The same work over many items: in processes of this machine, or on a cluster (``bgknown.jobs.cluster``)."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs.cluster import find_cluster, run_on_cluster
from bgknown.jobs.passing import work_again
from bgknown.jobs.stopped import StoppedProcesses
from bgknown.jobs.surroundings import prepare_libraries
from bgknown.jobs.waiting import Waiting, look_regularly
from bgknown.shown import escape_line

# loky replaces a worker whose memory has grown, which harms nothing; it checks that where psutil is installed
warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given", category=UserWarning)

_PARENT_EVERY_S = 0.25
_MOST_IN_A_THREAD = 64  # items handed to a thread at a time: handing one over takes as long as reading its header
Item = TypeVar("Item")
Result = TypeVar("Result")


def count_cores() -> int:
    """The number of cores this process may use."""
    return int(joblib.cpu_count())


def check_jobs(jobs: int) -> None:
    """Refuse a number of processes below 1.

    Raises:
        InvalidInputError: names the number.
    """
    if jobs < 1:
        raise InvalidInputError(f"jobs is {jobs}; it must be at least 1")


def in_processes(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    jobs: int,
    title: str,
    unit: str,
    batch: int = 1,
    ordered: bool = False,
    out: Path | None = None,
) -> Iterator[Result]:
    """Results of ``work`` over ``items``, with a progress bar on stderr.

    Args:
        work: a function that can be pickled; with one job it runs in this process.
        items: what to work on.
        jobs: number of processes, at least 1.
        title: the bar's title.
        unit: name of an item in the bar's rate.
        batch: items given to a process at a time, in their order.
        ordered: whether results come in the order of the items, rather than as they become ready.
        out: a folder that the work writes to, which all workers of a cluster must see.

    Raises:
        InvalidInputError: jobs is below 1.
        StorageError: a worker process was killed (usually because memory ran out).
    """
    return in_batches(one_by_one(work), items, jobs=jobs, title=title, unit=unit, batch=batch, ordered=ordered, out=out)


def one_by_one(work: Callable[[Item], Result]) -> Callable[[Sequence[Item]], list[Result]]:
    """Work on one item as work on a batch, for ``in_batches``."""
    return partial(_map_batch, work)


def in_batches(
    work: Callable[[Sequence[Item]], list[Result]],
    items: Sequence[Item],
    *,
    jobs: int,
    title: str,
    unit: str,
    batch: int,
    ordered: bool = False,
    out: Path | None = None,
) -> Iterator[Result]:
    """``in_processes`` for work on a whole batch at a time.

    Args:
        work: returns one result per item of its batch.
        items, jobs, title, unit, batch, ordered, out: as for ``in_processes``.

    Raises:
        InvalidInputError, StorageError: as ``in_processes``.
    """
    check_jobs(jobs)
    prepare_libraries()  # one folder for all processes
    batches = [items[i : i + batch] for i in range(0, len(items), batch)]
    cluster = find_cluster()
    waits = Waiting(title, unit, batches, cluster.count_workers if cluster is not None else lambda: jobs)
    if cluster is not None:
        parts = run_on_cluster(cluster, work, batches, out=out, ordered=ordered, waits=waits)
    else:
        parts = _run_in_processes(
            partial(_work_under_parent, os.getpid(), Path.cwd(), work), batches, jobs, ordered=ordered, waits=waits
        )
    with contextlib.closing(parts):
        for results in _show_bar(parts, items, title, unit):
            yield from results


def _run_in_processes(
    work: Callable[[int, Sequence[Item]], tuple[int, list[Result]]],
    batches: Sequence[Sequence[Item]],
    jobs: int,
    *,
    ordered: bool,
    waits: Waiting,
) -> Generator[list[Result]]:
    pool = joblib.Parallel(
        n_jobs=min(jobs, max(len(batches), 1)),
        return_as="generator_unordered",
        # no more than fits into loky's queue to the processes: waiting tasks would break loky's own thread with a
        # traceback when work is interrupted
        pre_dispatch="2*n_jobs",
        # without these joblib makes a folder for arrays in /dev/shm at once, which a run that is killed leaves there
        max_nbytes=None,
        temp_folder=tempfile.gettempdir(),
        **_start_with(os.getpid()),
    )

    def hand_out() -> Iterator[Any]:
        for place, part in enumerate(batches):
            waits.hand_out(place)
            yield joblib.delayed(work)(place, part)

    def look() -> None:
        stopped.look()
        waits.say()

    stopped = StoppedProcesses()
    parts = pool(hand_out())
    try:
        with look_regularly(look):
            yield from _put_in_order(parts, waits, ordered=ordered)
    except TerminatedWorkerError as error:
        kept = "finished work is kept; run the same command again"
        raise StorageError(
            f"{stopped.ended}: {kept}"
            if stopped.ended
            else "a worker process was killed, most often because memory ran out: "
            "run the same command again with fewer --jobs"
        ) from error
    finally:
        with (
            warnings.catch_warnings()
        ):  # a caller that stops early, on a full disk for example, expects cancelled tasks
            warnings.filterwarnings("ignore", message=".*tasks", category=UserWarning)
            parts.close()


def _put_in_order(
    finished: Iterable[tuple[int, list[Result]]], waits: Waiting, *, ordered: bool
) -> Iterator[list[Result]]:
    """Results of parts, as they come or in the order of the parts."""
    ready: dict[int, list[Result]] = {}
    following = 0
    for place, results in finished:
        waits.finish(place)
        if not ordered:
            yield results
            continue
        ready[place] = results
        while following in ready:
            yield ready.pop(following)
            following += 1


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], *, title: str, unit: str) -> list[Result]:
    """Results of ``work`` over ``items`` in their order; for work that waits for the disk."""
    threads = min(32, 4 * (os.cpu_count() or 1))
    size = max(1, min(_MOST_IN_A_THREAD, len(items) // (4 * threads)))
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    found: list[Result] = []
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(items), desc=escape_line(title), unit=unit, disable=_is_quiet(), leave=False) as bar,
    ):
        for results in pool.map(partial(_map_batch, work), parts):
            found += results
            bar.update(len(results))
    return found


def _work_under_parent(
    parent: int, folder: Path, work: Callable[[Sequence[Item]], list[Result]], place: int, part: Sequence[Item]
) -> tuple[int, list[Result]]:
    """Work in any process; a process that the command has started ends with the command.

    Such a process may be left from an earlier job in another folder, so relative paths need the current one.
    """
    if os.getppid() == parent:
        _end_with(parent)
        os.chdir(folder)
    return place, work_again(work, part)


def _start_with(parent: int) -> dict[str, Any]:
    """Options of joblib that let a process end with its parent even before its first task, where joblib has them."""
    kinds = {parameter.kind for parameter in inspect.signature(joblib.Parallel.__init__).parameters.values()}
    takes_more = inspect.Parameter.VAR_KEYWORD in kinds  # older versions do not; then it ends after five idle minutes
    return {"initializer": _end_with, "initargs": (parent,)} if takes_more else {}


@functools.cache
def _end_with(parent: int) -> None:
    """End this process soon after its parent, which may be killed without notice."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _map_batch(work: Callable[[Item], Result], part: Sequence[Item]) -> list[Result]:
    return [work(item) for item in part]


def _show_bar(results: Iterable[list[Any]], items: Sequence[Any], title: str, unit: str) -> Iterator[list[Any]]:
    with open_bar(len(items), title, unit) as bar:
        for part in results:
            bar.update(len(part))
            yield part


def open_bar(total: int, title: str, unit: str) -> tqdm[Any]:
    """A progress bar on stderr with rate and time left; silent where stderr is not a terminal."""
    return tqdm(total=total, desc=escape_line(title), unit=unit, disable=_is_quiet(), smoothing=0.05)


def _is_quiet() -> bool:
    return not sys.stderr.isatty()
