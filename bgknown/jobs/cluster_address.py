"""How a cluster is named.

By the address of its scheduler (``tcp://host:8786``), by Dask's scheduler file (``.json``), by ``local:N`` for N
processes of this machine, or by a TOML file of a queue, whose jobs dask-jobqueue starts (``read_queue``).
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from pathlib import Path
from typing import Any

from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from bgknown.nearest import suggest
from bgknown.userpath import user_path

KINDS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster", "lsf": "LSFCluster", "oar": "OARCluster"}
"""Names of queues in a TOML file, and dask-jobqueue's classes for them."""
CONNECT_S = 20


def connect(address: str, stack: contextlib.ExitStack) -> tuple[Any, int]:
    """Connect to a cluster until a stack is closed.

    Returns:
        Dask's client, and the number of workers that were asked for; 0 where others start them.

    Raises:
        NotFoundError: Dask is not installed, or there is no such file.
        InvalidInputError: the address or a TOML file breaks a rule.
        StorageError: there is no scheduler at that address.
    """
    try:
        from distributed import Client, LocalCluster  # noqa: PLC0415
    except ImportError as error:
        raise NotFoundError(
            "--cluster needs Dask; install it with pip install 'bgknown[dask]', here and on the workers"
        ) from error
    make_client: Any = Client  # Dask has no types
    make_local: Any = LocalCluster
    if match := re.fullmatch(r"local:([1-9][0-9]{0,3})", address):
        local = make_local(
            n_workers=int(match[1]),
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # any port; without an address it would warn where its usual one is taken
            silence_logs=50,
        )
        return stack.enter_context(make_client(stack.enter_context(local))), int(match[1])
    if address.endswith(".toml"):
        queue = stack.enter_context(read_queue(user_path(address)))
        return stack.enter_context(make_client(queue)), len(queue.worker_spec)
    if address.endswith(".json"):
        file = user_path(address)
        if not file.is_file():
            raise NotFoundError(f"{file}: no such file; give the file that `dask scheduler --scheduler-file` writes")
        given: dict[str, Any] = {"scheduler_file": str(file)}
    elif re.fullmatch(r"(tcp|tls|ucx)://[^\s/]+:[0-9]+", address):
        given = {"address": address}
    else:
        raise InvalidInputError(
            f"the cluster is {address!r}; it must be tcp://HOST:PORT, local:N, a scheduler file (.json), or a TOML "
            "file for dask-jobqueue"
        )
    try:
        client = stack.enter_context(make_client(**given, timeout=CONNECT_S))
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{address}: no scheduler answers there; start one with `dask scheduler`, and workers with "
            "`dask worker --nthreads 1`"
        ) from error
    return client, 0


def read_queue(path: Path) -> Any:
    """The cluster that a TOML file describes, scaled to its number of jobs.

    ::

        queue = "slurm"      # or pbs, sge, lsf, oar
        jobs = 20            # jobs of the queue
        [options]            # of dask-jobqueue's class
        cores = 8
        processes = 8
        memory = "32GB"
        walltime = "04:00:00"

    Raises:
        NotFoundError: there is no such file, or dask-jobqueue is not installed.
        InvalidInputError: the file breaks a rule.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path}: is not TOML: {error}") from error
    kind, jobs, options = given.pop("queue", None), given.pop("jobs", None), given.pop("options", {})
    if given:
        raise InvalidInputError(f"{path}: has {next(iter(given))!r}; it must have queue, jobs and a table options")
    if kind not in KINDS:
        raise InvalidInputError(f"{path}: queue is {kind!r}, which is not known; {suggest(str(kind), KINDS)}")
    if type(jobs) is not int or jobs < 1 or not isinstance(options, dict):
        raise InvalidInputError(f"{path}: jobs must be a whole number from 1, and options a table")
    try:
        import dask_jobqueue  # noqa: PLC0415
    except ImportError as error:
        raise NotFoundError(f"{path}: needs dask-jobqueue; install it with pip install 'bgknown[dask]'") from error
    try:
        cluster = getattr(dask_jobqueue, KINDS[kind])(**options)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{path}: dask-jobqueue refuses its options: {error}") from error
    cluster.scale(jobs=jobs)
    return cluster
