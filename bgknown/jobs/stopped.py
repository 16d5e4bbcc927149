"""Local worker processes that a signal has stopped (SIGSTOP), which would be waited for without end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from pathlib import Path

from bgknown.jobs import waiting
from bgknown.shown import format_duration

log = logging.getLogger(__name__)

STOPPED_S = 300.0
"""A worker process that has been stopped for this time is ended, and with it the command."""


class StoppedProcesses:
    """Finds processes that this process has started and that are stopped, and ends them after ``STOPPED_S``.

    It works where there is ``/proc``, as on Linux. If this process was stopped as well (Ctrl-Z, or a batch system that
    suspends its jobs), the time begins again when it continues.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}
        self._looked = time.monotonic()
        self.ended = ""
        """What was ended and why; empty if nothing was."""

    def look(self) -> None:
        """Look at the processes once."""
        now = time.monotonic()
        if now - self._looked > 4 * waiting.LOOK_EVERY_S + 1:  # this process did not run
            self._since.clear()
        self._looked = now
        stopped = [number for number in _list_children() if _read_status(number) == "T"]
        self._since = {number: self._since.get(number, now) for number in stopped}
        for number, since in self._since.items():
            if now - since >= STOPPED_S and not self.ended:
                lasted = format_duration(now - since)
                self.ended = f"the worker process {number} was stopped by a signal and did not continue for {lasted}"
                os.kill(number, signal.SIGKILL)


def _list_children() -> list[int]:
    children: list[int] = []
    for file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            children += map(int, file.read_text().split())
    return children


def _read_status(number: int) -> str:
    """The state of a process: R runs, S sleeps, D waits for a disk, T is stopped, Z has ended; empty if unknown."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return ""
