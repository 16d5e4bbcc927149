"""A few of the runs of ``tests.fuzz.kills`` and ``tests.fuzz.two_commands``."""

import random

import pytest

from tests.fuzz.kill_cases import make_cases
from tests.fuzz.kills import Killer
from tests.fuzz.two_commands import Pair, pair_commands

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return make_cases(tmp_path_factory.mktemp("inputs"))


def test_a_command_killed_at_a_random_moment_ends_with_the_same_bytes(cases, tmp_path):
    case = next(case for case in cases if case.name == "apwd build")
    killer = Killer(case, tmp_path, random.Random(1))
    try:
        killer.kill_local()
        killer.kill_dask()
    finally:
        killer.close()
    assert killer.counts.faults == []


def test_of_two_commands_with_one_leaderboard_none_loses_anything(cases, tmp_path):
    name = "one leaderboard"
    pair = Pair(name, pair_commands(cases)[name], tmp_path, random.Random(1))
    pair.run(1)
    assert pair.faults == []
