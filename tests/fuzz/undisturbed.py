"""Commands in folders of their own, and what they leave there when nothing disturbs them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.fuzz.kill_cases import KillCase, name_folder

LIMIT_S = 3600.0
"""After this time a command counts as one that hangs; where others use the cores, a few seconds of work take long."""
HANGS = 1000
"""The status of a command that did not end by itself."""
TOO_LATE = "too late"
"""Of a kill, when the command had ended before."""


class RunFolders:
    """A folder for each run of a case, with ``tmp`` in it, the run's folder for temporary files.

    Args:
        name: the case.
        root: where the folder with all of them is made.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.root = root / name_folder(name)
        self.number = 0
        """Of the last folder."""

    def make(self) -> Path:
        """The next folder."""
        self.number += 1
        folder = self.root / str(self.number)
        (folder / "tmp").mkdir(parents=True)
        return folder


class UndisturbedEnd:
    """What commands that nothing disturbs leave in a folder.

    Args:
        cases: the commands, which are run here, one after the other.
        folder: the folder.

    Raises:
        AssertionError: a command fails.
    """

    def __init__(self, *cases: KillCase, folder: Path) -> None:
        begun = time.monotonic()
        for case in cases:
            status, said = Run(case.command(folder), folder).wait()
            if status or "Traceback" in said:
                raise AssertionError(f"{case.name}: ends with {status} undisturbed: {said}")
        self.lasts_s = (time.monotonic() - begun) / len(cases)
        """How long a command takes."""
        self._read = cases[0].read
        self.results = self._read(folder / "out")
        """What must be the same after every other run, by name."""
        self._files = list_files(folder / "out")
        self._usual = {path.name for path in (folder / "tmp").iterdir()}  # such as the folder of torch's compiler

    def compare(self, folder: Path) -> Iterator[str]:
        """How another run's results and files differ, and what it has left behind, if anything."""
        found = self._read(folder / "out")
        if found != self.results:
            yield f"other results: {name_differences(found, self.results)}"
        if extra := list_files(folder / "out") ^ self._files:
            yield f"other files: {sorted(extra)[:5]}"
        if left := self._list_leftovers(folder):
            yield f"left behind: {left[:5]}"

    def _list_leftovers(self, folder: Path) -> list[str]:
        """Unfinished files, words of clusters, and what is unusual in the folder for temporary files."""
        parts = [path for path in folder.rglob(".*") if path.name.endswith(".part") or path.name.startswith(".seen-")]
        temporary = [path for path in (folder / "tmp").iterdir() if path.name not in self._usual]
        return [str(path.relative_to(folder)) for path in [*parts, *temporary]]


class Run:
    """A command in a session of its own.

    Args:
        command: its words.
        folder: what it makes; ``tmp`` in it is its folder for temporary files.
        log: the file of its output.
    """

    def __init__(self, command: list[str], folder: Path, log: str = "first.log") -> None:
        self._log = folder / log
        self.began_s = time.time()
        paths = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
        more = {"TMPDIR": str(folder / "tmp"), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=output, stderr=output, start_new_session=True, env=os.environ | more
            )
        self.said = ""

    def kill(self, victim: str, draw: random.Random) -> str:
        """Kill the command, one of its workers (the command where it has none yet), or all; says which."""
        if self.process.poll() is not None:
            return TOO_LATE
        if victim == "all":
            os.killpg(self.process.pid, signal.SIGKILL)
        elif victim == "worker" and (workers := _list_workers(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(workers), signal.SIGKILL)
        else:
            self.process.kill()
            return "local command"
        return f"local {victim}"

    def wait(self) -> tuple[int, str]:
        """The status and everything that was said; a command that hangs is killed."""
        try:
            status = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            status = HANGS
        self.said = self._log.read_text(errors="replace")
        return status, self.said

    def list_left(self) -> list[str]:
        """Processes of the session that are still there after ten seconds, by their command lines."""
        end = time.monotonic() + 10
        while (left := _list_session(self.process.pid)) and time.monotonic() < end:
            time.sleep(0.1)
        return [f"{number}: {command}" for number, command in left.items()]


def _list_session(session: int) -> dict[int, str]:
    """Processes of a session that have not ended."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            state, _, _, its = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            if int(its) == session and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
    return found


def _list_workers(session: int) -> list[int]:
    """joblib's worker processes."""
    return [number for number, command in _list_session(session).items() if "popen_loky" in command]


def list_files(folder: Path) -> set[str]:
    """Names of all files and folders in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def list_shared_memory(process: int, since_s: float) -> list[str]:
    """What joblib made in shared memory for a process since a time; an earlier one may have had the same number."""
    made = Path("/dev/shm").glob(f"joblib_memmapping_folder_{process}_*")
    return [path.name for path in made if path.stat().st_mtime >= since_s]


def name_differences(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    """The first of the names whose results differ."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))[:5]
