"""Commands that are stopped in the middle of their work, for the tests of what they leave behind."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bgknown.errors import StorageError
from bgknown.jobs import units


def stop_when(
    command: Sequence[str], ready: Callable[[], bool], by: signal.Signals = signal.SIGKILL, limit_s: float = 120
) -> tuple[int, str]:
    """Start a command, send its whole process group a signal once `ready` says so; its exit status and stderr.

    A command that ends before is left to end. `ready` must look at final names only: a scratch folder beside them
    may go while it is listed.
    """
    with tempfile.TemporaryFile() as told:
        with heard(by):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told, start_new_session=True)
        try:
            end = time.monotonic() + limit_s
            while process.poll() is None and time.monotonic() < end and not ready():
                time.sleep(0.005)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, by)
            process.wait(timeout=limit_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        told.seek(0)
        return process.returncode, told.read().decode()


@contextlib.contextmanager
def heard(number: signal.Signals) -> Iterator[None]:
    """Commands started within hear a signal, even where these tests run in the background and so ignore it."""
    ignored = signal.getsignal(number) is signal.SIG_IGN
    if ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        if ignored:
            signal.signal(number, signal.SIG_IGN)


def count(folder: Path, pattern: str) -> int:
    """Files of a pattern below a folder that may not be there yet."""
    return len(list(folder.rglob(pattern))) if folder.is_dir() else 0


def fill_disk_after(monkeypatch, files: int) -> None:
    """Let the disk be full once a job has written this many files of its units."""
    whole, numbers = units.write_aside, iter(range(files))

    def write_aside(path, *parts, **options):
        if next(numbers, None) is None:
            raise StorageError(f"{path}: the disk is full: free some space and run the same command again")
        return whole(path, *parts, **options)

    monkeypatch.setattr(units, "write_aside", write_aside)
