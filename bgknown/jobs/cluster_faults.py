"""The faults of a Dask cluster: each is one line, and none is waited for in silence."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from bgknown.errors import NotFoundError, StorageError
from bgknown.shown import format_duration
from bgknown.version import VERSION

log = logging.getLogger(__name__)

LONELY_S = 30.0
"""After this time without workers a line says so."""
SILENT_S = 60.0
"""A worker that has not answered for this time is named; workers answer every few seconds, whatever they work on."""
GONE_S = 180.0
"""A worker that has not answered for this time is given up, and its units go to others."""
_KEPT = "finished work is kept; run the same command again"


@contextlib.contextmanager
def explain_cluster_faults(client: Any, name_task: Callable[[Any], str]) -> Iterator[None]:
    """Turn the faults of a cluster into one line each.

    Args:
        client: Dask's client.
        name_task: names what a task works on, by the task's key.

    Raises:
        StorageError: a task ended its workers, or the scheduler is gone.
        NotFoundError: a worker lacks this software.
    """
    from concurrent.futures import CancelledError  # noqa: PLC0415

    from distributed import KilledWorker  # noqa: PLC0415
    from distributed.comm.core import CommClosedError  # noqa: PLC0415

    try:
        yield
    except KilledWorker as error:
        raise StorageError(
            f"one task ended {error.allowed_failures + 1} workers in turn, most often because memory ran out "
            f"({name_task(error.task)}): {_KEPT}, with more memory for each worker"
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise StorageError(f"the cluster's scheduler is gone: {_KEPT} when it is back") from error
    except ImportError as error:
        missing = (error.name or str(error)).split(".")[0]
        raise NotFoundError(
            f"{_name_workers_without(client, missing)} cannot import {missing}: install on every worker what this "
            f"machine has, such as pip install 'bgknown[dask]=={VERSION}', and run the same command again"
        ) from error
    except AttributeError as error:
        if "get attribute" not in str(error):
            raise
        raise NotFoundError(
            f"a worker has another version of this software ({error}): install bgknown {VERSION} on every worker, and "
            "run the same command again"
        ) from error
    except OSError as error:
        if type(error).__module__.startswith("distributed"):
            raise StorageError(f"the cluster does not answer ({error}): {_KEPT}") from error
        raise


def _name_workers_without(client: Any, module: str) -> str:
    """The workers that lack a module."""
    found: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # the cluster may be gone meanwhile
        found = client.run(importlib.util.find_spec, module, on_error="return")
    without = sorted(address for address, spec in found.items() if spec is None or isinstance(spec, ImportError))
    more = f" and {len(without) - 1} more" if len(without) > 1 else ""
    return f"the worker {without[0]}{more}" if without else "a worker"


@contextlib.contextmanager
def quieten() -> Iterator[None]:
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


class WorkerWatch:
    """Says when there are no workers, and gives up those that do not answer.

    Args:
        client: Dask's client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._alone_since: float | None = None
        self._said_alone = False
        self._heard: dict[str, tuple[float, float]] = {}  # by address: the scheduler's time of it, and ours
        self._silent: set[str] = set()

    def look(self) -> None:
        """Look at the workers once."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]  # fails if the scheduler is gone
        now = time.monotonic()
        self._alone_since = None if workers else self._alone_since or now
        if self._alone_since is None:
            self._said_alone = False
        elif not self._said_alone and now - self._alone_since >= LONELY_S:
            self._said_alone = True
            log.warning("the cluster has no workers; waiting for some (Ctrl-C stops)")
        for address, worker in workers.items():
            seen = float(worker.get("last_seen", 0.0))
            if self._heard.get(address, (None, 0.0))[0] != seen:
                self._heard[address] = (seen, now)
                self._silent.discard(address)
            self._judge(address, now - self._heard[address][1])
        self._heard = {address: heard for address, heard in self._heard.items() if address in workers}

    def _judge(self, address: str, silent_s: float) -> None:
        if silent_s >= GONE_S:
            log.warning("the worker %s is given up; its work goes to the next one that is free", address)
            del self._heard[address]
            self._client.sync(self._client.scheduler.unregister, address=address, stimulus_id=f"silent-{address}")
        elif silent_s >= SILENT_S and address not in self._silent:
            self._silent.add(address)
            log.warning(
                "the worker %s has not answered for %s; after %s its work goes to another",
                address,
                format_duration(silent_s),
                format_duration(GONE_S),
            )
