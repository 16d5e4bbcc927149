"""A few of the runs of ``tests.fuzz.kills``, ``tests.fuzz.two_commands`` and ``tests.fuzz.full_disk``."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

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
    pair.run()
    assert pair.faults == []


def test_a_disk_that_is_full_is_one_line_and_the_command_resumes(tmp_path):
    own = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(own, check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces of users")
    program = [sys.executable, "-m", "tests.fuzz.full_disk", "--only", "apwd build", "--runs", "1", "--dask", "0"]
    done = subprocess.run(
        [*program, "--seed", "14"], cwd=Path(__file__).parents[2], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "out full 1; finished files: " in done.stdout
    assert ", 0 made again; 0 faults" in done.stdout
