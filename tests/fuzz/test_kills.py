"""A few of the runs of ``tests.fuzz.kills`` and ``tests.fuzz.two_commands``."""

import random

import pytest

from tests.fuzz.kill_cases import make_cases
from tests.fuzz.kills import Killer
from tests.fuzz.two_commands import LEADERBOARD, Pair, make_pairs_of_commands

pytestmark = pytest.mark.slow


def test_a_command_killed_at_a_random_moment_ends_with_the_same_bytes(tmp_path):
    (case,) = make_cases(tmp_path / "inputs", ["apwd build"])
    killer = Killer(case, tmp_path, random.Random(1))
    try:
        killer.kill_local()
        killer.kill_dask()
    finally:
        killer.close()
    assert killer.counts.faults == []


def test_of_two_commands_with_one_leaderboard_none_loses_anything(tmp_path):
    pairs = make_pairs_of_commands(tmp_path / "inputs", [LEADERBOARD])
    pair = Pair(LEADERBOARD, pairs[LEADERBOARD], tmp_path, random.Random(1))
    pair.run(1)
    assert pair.faults == []
