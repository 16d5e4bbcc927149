"""Slurm's commands for this machine: jobs are processes of it. Its options are those that dask-jobqueue and README use.

As a program this file is ``sbatch``, ``scancel`` and ``squeue``; ``make_slurm`` puts these into a folder for ``PATH``.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "scancel", "squeue")


def make_slurm(folder: Path) -> Path:
    """A folder with the three commands, whose jobs are listed in its folder ``jobs``."""
    (folder / "jobs").mkdir(parents=True)
    for name in COMMANDS:
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "{folder / "jobs"}" "$@"\n')
        script.chmod(0o755)
    return folder


def submit(jobs: Path, words: list[str]) -> None:
    """Start a job in the background and say its number."""
    parser = argparse.ArgumentParser(prog="sbatch")
    parser.add_argument("--parsable", action="store_true")
    parser.add_argument("--array", default="")
    parser.add_argument("--wrap")
    parser.add_argument("--dependency", default="")
    parser.add_argument("script", nargs="?")
    given = parser.parse_args(words)
    number = 1 + len(list(jobs.glob("*.sh")))
    script = jobs / f"{number}.sh"
    script.write_text(f"#!/bin/sh\n{given.wrap}\n" if given.wrap else Path(given.script).read_text())
    script.chmod(0o755)
    with (jobs / f"{number}.log").open("wb") as log:
        command = [sys.executable, __file__, "job", str(jobs), str(number), given.array, given.dependency]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    (jobs / f"{number}.pid").write_text(str(process.pid))
    print(number if given.parsable else f"Submitted batch job {number}")


def run_job(jobs: Path, number: str, array: str, dependency: str) -> None:
    """Run the tasks of a job, all at the same time, after the job that it depends on."""
    if dependency:
        before = jobs / f"{dependency.removeprefix('afterok:')}.status"
        while not before.exists():
            time.sleep(0.05)
        if before.read_text() != "0":
            return
    first, _, last = array.partition("-")
    tasks = range(int(first), int(last) + 1) if array else [0]
    running = [
        subprocess.Popen([jobs / f"{number}.sh"], env=os.environ | {"SLURM_ARRAY_TASK_ID": str(task)}) for task in tasks
    ]
    status = jobs / f".{number}.status"
    status.write_text(str(max(process.wait() for process in running)))
    status.rename(jobs / f"{number}.status")


def cancel(jobs: Path, numbers: list[str]) -> None:
    """End jobs."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int((jobs / f"{number}.pid").read_text()), signal.SIGTERM)
        (jobs / f"{number}.cancelled").touch()


if __name__ == "__main__":
    name, folder, *rest = sys.argv[1:]
    if name == "sbatch":
        submit(Path(folder), rest)
    elif name == "scancel":
        cancel(Path(folder), rest)
    elif name == "job":
        run_job(Path(folder), *rest)
