"""Run a command, and store what it took: ``python full_size_watch.py USAGE.json COMMAND ...``.

A small process between the script and the command, because a process inherits the largest memory of the one above it.
It also looks 50 times a second how much of the memory is the processes' own. Mapped files count as resident too, but
processes share them, and the system takes them back whenever it needs memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a command took."""

    cpu_s: float
    """CPU seconds of it and its children."""
    wall_s: float
    """Seconds that passed."""
    peak_mb: float
    """Largest resident memory of a process."""
    own_mb: float
    """Largest memory of a process that no file backs."""


def read_own_kb(number: int | str) -> int:
    """The memory that no file backs, of a process or of one that it started, whichever has more; 0 if it has ended."""
    try:
        status = Path(f"/proc/{number}/status").read_text()
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except OSError:
        return 0
    own = [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")]
    return max([*own, *(read_own_kb(child) for child in children)], default=0)


def main() -> int:
    """Run the command; its status."""
    began, own_kb = time.perf_counter(), 0
    command = subprocess.Popen(sys.argv[2:])
    while command.poll() is None:
        own_kb = max(own_kb, read_own_kb(command.pid))
        time.sleep(LOOK_EVERY_S)
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    usage = Usage(
        cpu_s=found.ru_utime + found.ru_stime,
        wall_s=time.perf_counter() - began,
        peak_mb=found.ru_maxrss / 1024,
        own_mb=own_kb / 1024,
    )
    Path(sys.argv[1]).write_text(json.dumps(asdict(usage)))
    return command.returncode


if __name__ == "__main__":
    sys.exit(main())
