"""Embedding on a cluster: its workers fill the cache share by share, and the command reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bgknown.jobs.cluster import Cluster
from bgknown.jobs.files import advise_option, make_folder
from bgknown.jobs.parallel import in_processes
from bgknown.jobs.shards import Shard

SHARES_PER_WORKER = 4
"""More than one, so that a slow worker does not hold the others up for long."""


def embed_on_cluster(work: Callable[[Shard], object], cluster: Cluster, cache: Path, title: str) -> None:
    """Let the workers of a cluster embed all shares of something into the cache.

    Args:
        work: embeds one share, in any process.
        cluster: the cluster, in use.
        cache: the cache folder, which all workers see.
        title: title of the progress bar.

    Raises:
        BgknownError: what ``work`` raises, or a fault of the cluster.
    """
    with advise_option("--cache"):
        make_folder(cache)
    workers = cluster.count_workers()
    count = SHARES_PER_WORKER * workers
    shards = [Shard(number=number, count=count) for number in range(1, count + 1)]
    for _ in in_processes(work, shards, jobs=workers, title=title, unit="share", out=cache):
        pass
