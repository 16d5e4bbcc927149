"""A Dask scheduler and workers, each a process of its own, for tests and scripts that harm them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class DaskProcesses:
    """A scheduler, and workers that are added to it.

    Args:
        folder: where they run and log.
        environment: what the scheduler's differs in.
        host: its address.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, host: str = "127.0.0.1") -> None:
        with socket.socket() as free:
            free.bind((host, 0))
            port = free.getsockname()[1]
        self.address = f"tcp://{host}:{port}"
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start((), "dask_scheduler", environment, "--host", host, "--port", port)

    def _start(
        self, before: Sequence[str], program: str, environment: Mapping[str, str] | None, *options: object
    ) -> subprocess.Popen[bytes]:
        command = [*before, sys.executable, "-m", f"distributed.cli.{program}", *map(str, options), "--no-dashboard"]
        # where its processes find modules: tasks of tests are functions of test files
        paths = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
        whole = os.environ | {"PYTHONPATH": paths} | (environment or {})
        with (self.folder / "dask.log").open("ab") as output:
            return subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=output, env=whole)

    def add_worker(
        self,
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        before: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a worker; ``before`` are words before its command."""
        options = (self.address, "--nthreads", threads, "--no-nanny", "--host", host)
        self.workers.append(self._start(before, "dask_worker", environment, *options))
        return self.workers[-1]

    def wait_until_open(self, limit_s: float = 600.0) -> None:
        """Wait until the scheduler accepts connections, which takes long where others use the cores."""
        host, _, port = self.address.removeprefix("tcp://").rpartition(":")
        end = time.monotonic() + limit_s
        while time.monotonic() < end and self.scheduler.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1.0):
                return
            time.sleep(0.1)

    def close(self) -> None:
        """End all processes."""
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()
