"""How long ranks, rank intervals and tie groups of many encoders take.

    python -m tests.speed.ranks_at_scale --encoders 20 --clips 20000

Prints the seconds and the CPU seconds of 10,000 resamples and sign flips, with every clip as its own group and with
groups of four clips.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from benchmark.results.ranks import rank_encoders
from benchmark.results.stats import DRAWS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoders", type=int, default=20)
    parser.add_argument("--clips", type=int, default=20_000)
    given = parser.parse_args()
    scores = np.random.default_rng(0).random((given.encoders, given.clips))
    for name, groupings in (("clips", []), ("groups of 4", [(np.arange(given.clips) // 4).tolist()])):
        began, worked = time.perf_counter(), time.process_time()
        rank_encoders(scores, groupings, draws=DRAWS)
        spent, used = time.perf_counter() - began, time.process_time() - worked
        sys.stdout.write(
            f"{given.encoders} encoders, {given.clips:,} clips, {DRAWS:,} draws, {name}: "
            f"{spent:.1f} s, CPU {used:.1f} s\n"
        )


if __name__ == "__main__":
    main()
