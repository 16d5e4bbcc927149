"""What of a job is in work and since when, so that nobody waits in silence for work that does not end.

A unit may take any time, so nothing is ended because it is slow. A line names it once it has been running for
``SAY_S`` and five times as long as any other before it. On a cluster it is then given to a second worker after
``LATE_S`` (or 20 times the longest, if that is more): units write whole files, so doing one twice is harmless, and the
first result counts. See ``bgknown.jobs.cluster`` and ``bgknown.jobs.stopped``.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bgknown.shown import format_duration

log = logging.getLogger(__name__)

SAY_S = 600.0
"""A part that has been running for this time is named; again after twice that, and so on."""
LATE_S = 1_800.0
"""A part that has been running for this time is late, if another one has been finished."""
LATE_FIRST_S = 6 * 3_600.0
"""The same while none has been finished."""
LOOK_EVERY_S = 5.0
SAY_TIMES, LATE_TIMES = 5.0, 20.0
"""The same as multiples of the longest of those that are finished."""


class Waiting:
    """Which parts of a job are in work, and since when.

    Parts are begun in the order in which they are handed out, as many at a time as there are workers.

    Args:
        title: of the job.
        unit: what an item is called.
        parts: the parts, each some items.
        count_workers: counts the workers.
    """

    def __init__(self, title: str, unit: str, parts: Sequence[Sequence[Any]], count_workers: Callable[[], int]) -> None:
        self._title, self._unit, self._parts, self._count_workers = title, unit, parts, count_workers
        self._lock = threading.Lock()
        self._out: dict[int, float | None] = {}  # place of a part that is handed out: when it was begun
        self._longest_s: float | None = None
        self._said_s: dict[int, float] = {}

    def hand_out(self, place: int) -> None:
        """Note that a part is on its way to a worker."""
        with self._lock:
            self._out[place] = None
            self._begin()

    def finish(self, place: int) -> None:
        """Note that a part is finished."""
        with self._lock:
            begun = self._out.pop(place, None)
            if begun is not None:
                self._longest_s = max(self._longest_s or 0.0, time.monotonic() - begun)
            self._begin()

    def _begin(self) -> None:
        for place in itertools.islice(self._out, self._count_workers()):
            if self._out[place] is None:
                self._out[place] = time.monotonic()

    def name_part(self, place: int) -> str:
        """A part for a person: its first item by its own name, or by its number."""
        part = self._parts[place]
        first = part[0]
        number = sum(map(len, self._parts[:place])) + 1
        named = type(first).__dict__.get("__str__") or isinstance(
            first, str | int | Path
        )  # not a record without a name
        more = f" and the {len(part) - 1} after it" if len(part) > 1 else ""
        return f"{first}{more}" if named else f"{self._unit} {number}{more}"

    def list_running(self) -> list[tuple[int, float]]:
        """The parts that are in work and the seconds since they were begun, the oldest first."""
        with self._lock:
            now = time.monotonic()
            return [(place, now - begun) for place, begun in self._out.items() if begun is not None]

    def find_late(self) -> list[tuple[int, float]]:
        """Those of ``list_running`` that are late."""
        longest_s = self._longest_s
        limit_s = LATE_FIRST_S if longest_s is None else max(LATE_S, LATE_TIMES * longest_s)
        return [(place, running_s) for place, running_s in self.list_running() if running_s >= limit_s]

    def say(self, more: str = "") -> None:
        """Name the part that has been running for longest, if that is worth a line."""
        running = self.list_running()
        if not running:
            return
        place, running_s = max(running, key=lambda pair: pair[1])
        due_s = max(2 * self._said_s[place] if place in self._said_s else SAY_S, SAY_TIMES * (self._longest_s or 0.0))
        if running_s >= due_s:
            self._said_s[place] = running_s
            name = self.name_part(place)
            log.warning("%s: %s has been running for %s%s", self._title, name, format_duration(running_s), more)


@contextlib.contextmanager
def look_regularly(look: Callable[[], object]) -> Iterator[None]:
    """Call something every ``LOOK_EVERY_S`` in a thread; its failures are left to the work to report."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(LOOK_EVERY_S):
            with contextlib.suppress(Exception):
                look()

    thread = threading.Thread(target=run, name="waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5.0)
