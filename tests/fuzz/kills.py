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
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.dask_processes import DaskProcesses
from tests.fuzz.kill_cases import MAKERS, KillCase, make_cases
from tests.fuzz.undisturbed import TOO_LATE, Run, RunFolders, UndisturbedEnd, list_shared_memory

LOCAL, DASK = ("command", "worker", "all"), ("command", "worker", "scheduler")


@dataclass
class KillCounts:
    """What came of the kills of a case."""

    kills: Counter[str] = field(default_factory=Counter)
    """By what was killed; ``too late``, which is not a kill, if the command had ended before."""
    runs: int = 0
    """Runs after kills until the end."""
    faults: list[str] = field(default_factory=list)
    """What must not be."""


class Killer:
    """Runs one case again and again, and kills it.

    Args:
        case: the command.
        root: a folder for everything that it makes.
        draw: of the moments.
    """

    def __init__(self, case: KillCase, root: Path, draw: random.Random) -> None:
        self.case, self.draw, self._folders = case, draw, RunFolders(case.name, root)
        self.counts = KillCounts()
        self._dask: DaskProcesses | None = None
        self._end = UndisturbedEnd(case, folder=self._folders.make())
        self._lasts_s = self._end.lasts_s

    def kill_local(self) -> None:
        """Kill a process of a local run, and check what it ends with."""
        victim = self.draw.choice(LOCAL if self.case.jobs else ("command",))
        folder = self._folders.make()
        run = self._start(folder, None)
        self._wait(run)
        self._count(run.kill(victim, self.draw))
        self._finish(run, folder, None)

    def kill_dask(self) -> None:
        """Kill a process of a run on a cluster, and check what it ends with."""
        victim = self.draw.choice(DASK)
        folder, dask = self._folders.make(), self._open_dask()
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
        self._count(TOO_LATE if late else f"Dask {victim}")
        self._finish(run, folder, self._open_dask().address)

    def count_kills(self) -> int:
        """How often something was killed."""
        return self.counts.kills.total() - self.counts.kills[TOO_LATE]

    def _count(self, what: str) -> None:
        self.counts.kills[what] += 1
        if what == TOO_LATE:  # it is faster than the first run, which may have compiled something
            self._lasts_s *= 0.8

    def close(self) -> None:
        """End the cluster."""
        if self._dask is not None:
            self._dask.close()
            self._dask = None

    def _open_dask(self) -> DaskProcesses:
        if self._dask is None:
            self._dask = DaskProcesses(self._folders.root)
            self._dask.add_worker()
            self._dask.add_worker()
            self._dask.wait_until_open()
        return self._dask

    def _start(self, folder: Path, cluster: str | None) -> Run:
        return Run(self.case.command(folder, cluster), folder)

    def _wait(self, run: Run) -> None:
        end = time.monotonic() + self.draw.uniform(0.02, 1.0) * self._lasts_s
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
        self.counts.faults.append(f"{self.case.name}, run {self._folders.number}: {fault}")


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
