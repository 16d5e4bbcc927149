"""Start two commands that write to one place at the same time.

    python -m tests.fuzz.two_commands --runs 20

The same command twice with one output folder, for each command of ``tests.fuzz.kill_cases``; and two encoders with one
leaderboard. The second is started at a random moment of the first. Each must end with success or with one line, at
least one of them with success; a command that was refused is run again at the end. The results must then be those of
commands that ran one after the other.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tests.fuzz.kill_cases import MAKERS, KillCase, make_cases
from tests.fuzz.undisturbed import Run, RunFolders, UndisturbedEnd

LEADERBOARD = "one leaderboard"
NAMES = (*MAKERS, LEADERBOARD)
"""The pairs: each command with itself, and two encoders with one leaderboard."""


class Pair:
    """Two commands with one output.

    Args:
        name: for the table.
        cases: the two.
        root: a folder for everything that they make.
        draw: of the moments.
    """

    def __init__(self, name: str, cases: tuple[KillCase, KillCase], root: Path, draw: random.Random) -> None:
        self.name, self._cases, self._folders, self._draw = name, cases, RunFolders(name, root), draw
        self.outcomes: Counter[str] = Counter()
        """Of the runs: both succeeded, or one was refused."""
        self.faults: list[str] = []
        """What must not be."""
        self._end = UndisturbedEnd(*cases, folder=self._folders.make())

    def run(self) -> None:
        """Run both at the same time, and compare."""
        folder = self._folders.make()
        first = Run(self._cases[0].command(folder), folder)
        time.sleep(self._draw.uniform(0.0, 0.8) * self._end.lasts_s)
        runs = (first, Run(self._cases[1].command(folder), folder, log="second.log"))
        statuses = [self._check(run) for run in runs]
        self.outcomes["both succeeded" if not any(statuses) else "one was refused"] += 1
        if all(statuses):
            self._note(f"both failed: {[run.said[-300:] for run in runs]}")
        for case, status in zip(self._cases, statuses, strict=True):
            if status:
                self._check(Run(case.command(folder), folder), refused=False)
        for fault in self._end.compare(folder):
            self._note(fault)
        shutil.rmtree(folder)

    def _check(self, run: Run, *, refused: bool = True) -> int:
        status, said = run.wait()
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        if "Traceback" in said or (status and (not refused or status != 1 or len(errors) != 1)):
            self._note(f"status {status}: {said[-600:]}")
        return status

    def _note(self, fault: str) -> None:
        self.faults.append(f"run {self._folders.number}: {fault}")


def make_pairs_of_commands(root: Path, names: Iterable[str]) -> dict[str, tuple[KillCase, KillCase]]:
    """A command with itself, or two encoders, by the name of the pair; their inputs are made in a folder."""
    wanted = {"run" if name == LEADERBOARD else name for name in names}
    cases = {case.name: case for case in make_cases(root, wanted)}
    pairs = {name: (case, case) for name, case in cases.items() if name in names}
    if LEADERBOARD in names:
        run = cases["run"]
        other = replace(run, arguments=tuple("logmel" if word == "melpower" else word for word in run.arguments))
        pairs[LEADERBOARD] = (run, other)
    return pairs


def main() -> int:
    """Run, and print the counts; the status is 1 if anything was found that must not be."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.two_commands", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=20, help="runs of each pair")
    parser.add_argument("--only", action="append", choices=NAMES, help="a pair; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="two-") as made:
        for name, both in make_pairs_of_commands(Path(made) / "inputs", given.only or NAMES).items():
            pair = Pair(name, both, Path(made), random.Random(f"{given.seed}/{name}"))
            for _ in range(given.runs):
                pair.run()
            outcomes = ", ".join(f"{what} {count}" for what, count in sorted(pair.outcomes.items()))
            print(f"{name:16}{given.runs:4} runs: {outcomes}; {len(pair.faults)} faults", flush=True)
            print("\n".join(f"    {fault}" for fault in pair.faults), end="\n" * bool(pair.faults), flush=True)
            good = good and not pair.faults
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
