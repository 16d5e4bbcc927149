"""Kill commands at random moments, and compare what the same command then ends with.

    python -m tests.fuzz.kills --kills 20
    python -m tests.fuzz.kills --only "build, Scaper" --kills 5 --dask 5

Each command (``tests.fuzz.kill_cases``) is run undisturbed first. Then it is run in a new folder, one of its processes
gets SIGKILL at a moment between its start and its end, and it is run again until it succeeds. Its results must be the
same, byte for byte where they hold no times. There must be no other files in its folder, no unfinished file or word of
a cluster, nothing more in the folder for temporary files than otherwise, and no process of the command. Nothing that it
says may be a traceback.

Locally the command itself, a worker process or all of them are killed; with Dask the command, a worker or the
scheduler.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.dask_processes import DaskProcesses
from tests.fuzz.kill_cases import MAKERS, KillCase, make_cases, name_folder

LOCAL, DASK = ("command", "worker", "all"), ("command", "worker", "scheduler")
LIMIT_S = 3600.0
"""After this time a command counts as one that hangs; where others use the cores, a few seconds of work take long."""
HANGS = 1000
"""The status of a command that did not end by itself."""
_LATE = "too late"


@dataclass
class KillCounts:
    """What came of the kills of a case."""

    kills: Counter[str] = field(default_factory=Counter)
    """By what was killed; ``too late``, which is not a kill, if the command had ended before."""
    runs: int = 0
    """Runs after kills until the end."""
    faults: list[str] = field(default_factory=list)
    """What must not be."""


class UndisturbedEnd:
    """What a command that nothing disturbed has left in a folder."""

    def __init__(self, case: KillCase, folder: Path) -> None:
        self._read = case.read
        self.results = case.read(folder / "out")
        """What must be the same after every other run, by name."""
        self._files = list_files(folder / "out")

    def compare(self, folder: Path) -> Iterator[str]:
        """How another run's results and files differ, if they do."""
        found = self._read(folder / "out")
        if found != self.results:
            yield f"other results: {name_differences(found, self.results)}"
        if extra := list_files(folder / "out") ^ self._files:
            yield f"other files: {sorted(extra)[:5]}"


class Killer:
    """Runs one case again and again, and kills it.

    Args:
        case: the command.
        root: a folder for everything that it makes.
        draw: of the moments.
    """

    def __init__(self, case: KillCase, root: Path, draw: random.Random) -> None:
        self.case, self.draw, self.root = case, draw, root / name_folder(case.name)
        self.counts = KillCounts()
        self._number = 0
        self._dask: DaskProcesses | None = None
        folder = self._make_folder()
        begun = time.monotonic()
        status, said = self._start(folder, None).wait()
        self.lasts_s = time.monotonic() - begun
        if status:
            raise AssertionError(f"{case.name}: ends with {status} undisturbed: {said}")
        self._end = UndisturbedEnd(case, folder)
        self._usual = {path.name for path in (folder / "tmp").iterdir()}  # such as the folder of torch's compiler

    def kill_local(self) -> None:
        """Kill a process of a local run, and check what it ends with."""
        victim = self.draw.choice(LOCAL if self.case.jobs else ("command",))
        folder = self._make_folder()
        run = self._start(folder, None)
        self._wait(run)
        self._count(run.kill(victim, self.draw))
        self._finish(run, folder, None)

    def kill_dask(self) -> None:
        """Kill a process of a run on a cluster, and check what it ends with."""
        victim = self.draw.choice(DASK)
        folder, dask = self._make_folder(), self._open_dask()
        run = self._start(folder, dask.address)
        self._wait(run)
        late = run.process.poll() is not None
        if victim == "command":
            run.kill("command", self.draw)
        else:
            process = dask.scheduler if victim == "scheduler" else self.draw.choice(dask.workers)
            process.kill()
            process.wait()
            dask.workers = [worker for worker in dask.workers if worker is not process]
            if victim == "worker":
                dask.add_worker()
            else:
                self.close()
        self._count(_LATE if late else f"Dask {victim}")
        self._finish(run, folder, self._open_dask().address)

    def count_kills(self) -> int:
        """How often something was killed."""
        return self.counts.kills.total() - self.counts.kills[_LATE]

    def _count(self, what: str) -> None:
        self.counts.kills[what] += 1
        if what == _LATE:  # it is faster than the first run, which may have compiled something
            self.lasts_s *= 0.8

    def close(self) -> None:
        """End the cluster."""
        if self._dask is not None:
            self._dask.close()
            self._dask = None

    def _open_dask(self) -> DaskProcesses:
        if self._dask is None:
            self._dask = DaskProcesses(self.root)
            self._dask.add_worker()
            self._dask.add_worker()
            self._dask.wait_until_open()
        return self._dask

    def _make_folder(self) -> Path:
        self._number += 1
        folder = self.root / str(self._number)
        (folder / "tmp").mkdir(parents=True)
        return folder

    def _start(self, folder: Path, cluster: str | None) -> Run:
        return Run(self.case.command(folder, cluster), folder)

    def _wait(self, run: Run) -> None:
        end = time.monotonic() + self.draw.uniform(0.02, 1.0) * self.lasts_s
        while run.process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)

    def _finish(self, run: Run, folder: Path, cluster: str | None) -> None:
        """Run the command until it succeeds, and check everything."""
        self._check_run(run)
        for _ in range(3):
            if run.process.returncode == 0:
                break
            run = self._start(folder, cluster)
            self.counts.runs += 1
            self._check_run(run)
        else:
            self._note(f"still ends with {run.process.returncode}: {run.said[-300:]}")
            return
        for fault in self._end.compare(folder):
            self._note(fault)
        if left := list_leftovers(folder, self._usual):
            self._note(f"left behind: {left[:5]}")
        shutil.rmtree(folder)

    def _check_run(self, run: Run) -> None:
        status, said = run.wait()
        if "Traceback" in said:
            self._note(f"a traceback (status {status}): {said[-1500:]}")
        if status not in {0, -signal.SIGKILL} and "error: " not in said:
            self._note(f"status {status} without a line: {said[-300:]}")
        if alive := run.list_left():
            self._note(f"processes are left: {alive}")
        if left := list_shared_memory(run.process.pid, run.began_s):
            self._note(f"left in shared memory: {left}")

    def _note(self, fault: str) -> None:
        self.counts.faults.append(f"{self.case.name}, run {self._number}: {fault}")


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
            return _LATE
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


def list_leftovers(folder: Path, usual: Collection[str]) -> list[str]:
    """Unfinished files, words of clusters, and what is unusual in the folder for temporary files."""
    parts = [path for path in folder.rglob(".*") if path.name.endswith(".part") or path.name.startswith(".seen-")]
    temporary = [path for path in (folder / "tmp").iterdir() if path.name not in usual]
    return [str(path.relative_to(folder)) for path in [*parts, *temporary]]


def name_differences(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    """The first of the names whose results differ."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))[:5]


def _show(killer: Killer) -> None:
    counts = killer.counts
    kills = ", ".join(f"{name} {number}" for name, number in sorted(counts.kills.items()))
    what = f"{killer.case.name:15}{killer.count_kills():4} kills ({kills})"
    print(f"{what}; {counts.runs} runs after; {len(counts.faults)} faults")
    print("\n".join(f"    {fault}" for fault in counts.faults), end="\n" * bool(counts.faults), flush=True)


def main() -> int:
    """Kill, and print the counts; the status is 1 if anything was found that must not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.kills", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="kills of each command on this machine")
    parser.add_argument("--dask", type=int, help="kills of each on a Dask cluster [default: as many]")
    parser.add_argument("--only", action="append", choices=MAKERS, help="a command; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="kills-") as made:
        root = Path(made)
        for case in make_cases(root / "inputs", given.only):
            killer = Killer(case, root, random.Random(f"{given.seed}/{case.name}"))
            try:
                while killer.count_kills() < given.kills:
                    killer.kill_local()
                on_dask = (given.kills if given.dask is None else given.dask) * case.cluster
                while killer.count_kills() < given.kills + on_dask:
                    killer.kill_dask()
            finally:
                killer.close()
            _show(killer)
            good = good and not killer.counts.faults
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
