"""Let the disk be full at random moments, and compare what the same command ends with once there is space.

    python -m tests.fuzz.full_disk --runs 5
    python -m tests.fuzz.full_disk --only pack --runs 2 --dask 2

Each command (``tests.fuzz.kill_cases``) is run undisturbed first. Then its folder for results, for temporary files or
for its cache is a disk of its own, a tmpfs that is full from the beginning or from a random moment on. The command must
end with one line that names the file and says that the disk is full, on a cluster also which worker; what is under a
final name must be whole. The disk is enlarged, and the same command must end with the same results.

Disks are mounted in a mount namespace of the user's own (``unshare``), which only this program and what it starts see.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.conftest import contents
from tests.fuzz.dask_processes import DaskProcesses
from tests.fuzz.kill_cases import MAKERS, KillCase, make_cases
from tests.fuzz.undisturbed import Run, RunFolders, UndisturbedEnd

DISKS = ("out", "out", "cache", "cache", "tmp")
"""The folders that may be a disk of their own; results and cache most often, if the command writes there."""
_ENOUGH = 1 << 28
_FULL = r"(the disk is full|the disk has [0-9.]+ GB free)"
_INSIDE = "BGKNOWN_TESTS_IN_NAMESPACE"


class FullDisk:
    """Runs one case again and again on disks that are too small.

    Args:
        case: the command.
        root: a folder for everything that it makes.
        draw: of the sizes.
    """

    def __init__(self, case: KillCase, root: Path, draw: random.Random) -> None:
        self.case, self._draw, self.folders = case, draw, RunFolders(case.name, root)
        self.outcomes: Counter[str] = Counter()
        """Of the runs: whose disk was full, or that it was large enough."""
        self.kept = self.remade = 0
        """Finished files that the next run left as they were, and those that it wrote again."""
        self.faults: list[str] = []
        """What must not be."""
        folder = self.folders.make()
        self._end = UndisturbedEnd(case, folder=folder)
        self._needs = {disk: _count_bytes(folder / disk) for disk in DISKS}

    def run(self, dask: DaskProcesses | None, disk: str | None = None, share: float | None = None) -> None:
        """Run with a disk that fills, then with one that is large enough.

        Args:
            dask: a cluster; None for local processes.
            disk: the folder that is a disk [default: a random one].
            share: when it is full, as a share of what the undisturbed run left there; 0 from the beginning
                [default: random].
        """
        disk = disk or self._draw.choice([each for each in DISKS if self._needs[each] or each == "tmp"])
        share = max(self._draw.uniform(-0.2, 1.1), 0.0) if share is None else share
        folder, address = self.folders.make(), dask.address if dask else None
        place = folder / disk
        place.mkdir(exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_ENOUGH if share else 4096},nr_inodes=0", "none", str(place)]
        subprocess.run(mount, check=True)
        try:
            first = Run(self.case.command(folder, address), folder)
            if share:
                _fill(place, int(share * self._needs[disk]), first)
            full = self._check_first(first, place, dask)
            self.outcomes[f"{disk} full" if full else f"{disk} large enough"] += 1
            whole = self._list_whole(folder / "out")
            _resize(place, _ENOUGH)
            self._check_second(Run(self.case.command(folder, address), folder, log="second.log"), folder, whole)
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
        shutil.rmtree(folder)

    def _check_first(self, run: Run, place: Path, dask: DaskProcesses | None) -> bool:
        """Whether the disk was full; then the command must have said so in one line."""
        status, said = run.wait()
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        if "Traceback" in said:
            self._note(f"a traceback (status {status}): {said[-1500:]}")
        elif status and (len(lines) != 1 or not re.search(rf"{re.escape(str(place))}\S*: {_FULL}", lines[0])):
            self._note(f"status {status} without a line that names a file and the full disk: {said[-600:]}")
        elif status and dask is not None:
            worker = f"the worker on {socket.gethostname()}" in lines[0]
            self.outcomes["said by a worker" if worker else "said by the command"] += 1
        if alive := run.list_left():
            self._note(f"processes are left: {alive}")
        return bool(status)

    def _list_whole(self, out: Path) -> dict[str, tuple[int, int]]:
        """Files under final names, which must be whole, with inode and time of change."""
        if self.case.read is not contents or not out.is_dir():
            return {}
        found = contents(out)
        shown = {name for name in found if not Path(name).name.startswith(".")}
        if cut := [name for name in shown if found[name] != self._end.results.get(name)]:
            self._note(f"not whole: {cut[:5]}")
        return {name: _read_times(out / name) for name in shown}

    def _check_second(self, run: Run, folder: Path, whole: dict[str, tuple[int, int]]) -> None:
        status, said = run.wait()
        out = folder / "out"
        if status or "Traceback" in said:
            self._note(f"ends with {status} though there is space: {said[-600:]}")
            return
        for fault in self._end.compare(folder):
            self._note(fault)
        kept = sum(_read_times(out / name) == times for name, times in whole.items())
        self.kept, self.remade = self.kept + kept, self.remade + len(whole) - kept

    def _note(self, fault: str) -> None:
        self.faults.append(f"{self.case.name}, run {self.folders.number}: {fault}")


def _count_bytes(folder: Path) -> int:
    """Bytes of the pages that a folder's files take on a tmpfs."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def _fill(place: Path, size: int, run: Run) -> None:
    """Make a disk as small as what is on it, as soon as that is so many bytes, while a command is running."""
    while run.process.poll() is None:
        if _count_used(place) >= size:
            os.killpg(run.process.pid, signal.SIGSTOP)  # so that it cannot finish meanwhile
            while not _resize(place, _count_used(place)):  # workers of a cluster may still write
                continue
            os.killpg(run.process.pid, signal.SIGCONT)
            return
        time.sleep(0.001)


def _count_used(place: Path) -> int:
    """Bytes that are used on a disk."""
    state = os.statvfs(place)
    return max(state.f_blocks - state.f_bfree, 1) * state.f_bsize


def _resize(place: Path, size: int) -> bool:
    """Change the size of a disk; False if there is more on it already."""
    remount = ["mount", "-o", f"remount,size={size}", str(place)]
    return subprocess.run(remount, check=False, capture_output=True).returncode == 0


def _read_times(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_ino, state.st_mtime_ns


def enter_namespace() -> None:
    """Start this program again in a mount namespace of its own."""
    if _INSIDE not in os.environ:
        words = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", "tests.fuzz.full_disk"]
        os.execvpe(words[0], [*words, *sys.argv[1:]], os.environ | {_INSIDE: "1"})


def _show(full: FullDisk) -> None:
    outcomes = ", ".join(f"{what} {count}" for what, count in sorted(full.outcomes.items()))
    print(f"{full.case.name:15} {outcomes}; finished files: {full.kept} kept, {full.remade} made again; "
          f"{len(full.faults)} faults")  # fmt: skip
    print("\n".join(f"    {fault}" for fault in full.faults), end="\n" * bool(full.faults), flush=True)


def main() -> int:
    """Fill disks, and print the counts; the status is 1 if anything was found that must not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.full_disk", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each command on this machine")
    parser.add_argument("--dask", type=int, help="runs of each on a Dask cluster [default: as many]")
    parser.add_argument("--only", action="append", choices=MAKERS, help="a command; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the sizes")
    given = parser.parse_args()
    enter_namespace()
    good = True
    with tempfile.TemporaryDirectory(prefix="full-disk-") as made:
        root = Path(made)
        for case in make_cases(root / "inputs", given.only):
            full = FullDisk(case, root, random.Random(f"{given.seed}/{case.name}"))
            for _ in range(given.runs):
                full.run(None)
            if case.cluster and given.dask != 0:
                run_on_cluster(full, given.runs if given.dask is None else given.dask)
            _show(full)
            good = good and not full.faults
    return 0 if good else 1


def run_on_cluster(full: FullDisk, runs: int) -> None:
    """Run a case some times on a cluster of two workers."""
    dask = DaskProcesses(full.folders.root)
    try:
        dask.add_worker()
        dask.add_worker()
        dask.wait_until_open()
        for _ in range(runs):
            full.run(dask)
    finally:
        dask.close()


if __name__ == "__main__":
    sys.exit(main())
