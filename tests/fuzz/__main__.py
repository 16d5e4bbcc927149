"""The command line of the fuzz script."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.runner import OUTCOMES, Counts, Worker, case_of
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run cases and print the counts; the status is 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feed mutated files to every parser.")
    parser.add_argument("--cases", type=int, default=10_000, help="cases per parser")
    parser.add_argument("--only", action="append", help="a parser; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations")
    parser.add_argument("--case", type=int, help="run this case alone, here, and show its input and traceback")
    parser.add_argument("--list", action="store_true", help="list the parsers")
    given = parser.parse_args()
    chosen = [target for target in TARGETS if not given.only or target.name in given.only]
    if given.list:
        print("\n".join(target.name for target in TARGETS))
        return 0
    if given.case is not None:
        return _again(chosen[0], given.case, given.seed)
    print(f"{'parser':24}" + "".join(f"{name:>11}" for name in (*OUTCOMES, "outside", "seconds")))
    total, worker = Counts(), Worker()
    for target in chosen:
        began = time.monotonic()
        counts = worker.run(target, given.cases, given.seed)
        figures = [*(counts.outcomes[name] for name in OUTCOMES), counts.outside, round(time.monotonic() - began)]
        print(f"{target.name:24}" + "".join(f"{figure:>11,}" for figure in figures), flush=True)
        for fault in counts.faults[:5]:
            print(f"    {fault!a}", flush=True)
        total += counts
    print(f"{'all':24}" + "".join(f"{total.outcomes[name]:>11,}" for name in OUTCOMES) + f"{total.outside:>11,}")
    return 0 if total.good else 1


def _again(target: object, number: int, seed: int) -> int:
    data = case_of(target, target.seed_inputs(), number, seed)  # type: ignore[attr-defined]
    print(ascii(data[:2_000]))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        target.surround(folder)  # type: ignore[attr-defined]
        file = folder / target.place  # type: ignore[attr-defined]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.chdir(folder)
        print(target.call(folder))  # type: ignore[attr-defined]
    return 0


if __name__ == "__main__":
    sys.exit(main())
