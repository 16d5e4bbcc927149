"""Shares of a job that several runs make: each is resumable, and the plain command puts them together."""

import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs import units
from bgknown.jobs.locking import hold
from bgknown.jobs.resumable import Job
from bgknown.jobs.shards import Shard, describe_share, read_shard
from pretrain import pack as packing
from tests.bgknown.jobs.test_resumable import MAKERS, interrupt, make_whole
from tests.conftest import contents

SHARDED = [name for name in MAKERS if name != "apwd draw"]


@pytest.fixture(params=SHARDED)
def case(request, tmp_path):
    return MAKERS[request.param](tmp_path)


def _refuse(*_args, **_options):
    pytest.fail("a finished unit was made again")


@pytest.mark.parametrize("count", [1, 3, 7, 200])
def test_shards_divide_the_units_into_neighbours(count):
    whole = list(range(100))
    shares = [Shard(number=number, count=count).take(whole) for number in range(1, count + 1)]
    assert [unit for share in shares for unit in share] == whole
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["", "0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5", "1.5/3", "1/1000000"])
def test_what_is_not_a_shard_is_refused(text):
    with pytest.raises(InvalidInputError, match="must be I/N with I from 1 to N, such as 3/8"):
        read_shard(text)


def test_a_shard_is_read_and_described():
    shard = read_shard(" 3/8 ")
    assert (shard.number, shard.count, shard.name) == (3, 8, "3-of-8")
    text = describe_share(SimpleNamespace(shard=shard, kept=3, problems=["a", "b"]), "row", made=1_250)
    assert text.splitlines()[0] == "shard 3 of 8: 1,250 rows made, 3 kept, 2 broken skipped"
    assert "without --shard" in text
    assert describe_share(SimpleNamespace(shard=None, kept=3, problems=[]), "row", made=1_250) == ""


def test_shards_and_then_the_plain_command_give_the_same_bytes(case, monkeypatch):
    whole = make_whole(case)
    for number in (2, 3, 1, 2):
        case.run(shard=Shard(number=number, count=3))
        assert not list((case.folder / ".work").glob("scratch-*"))
    assert not list(case.folder.glob("*.json")), "a shard wrote tables"
    monkeypatch.setattr(units, "write_aside", _refuse)
    monkeypatch.setattr(packing, "_decode_file", _refuse)
    case.run()
    assert contents(case.folder) == whole
    assert not (case.folder / ".work").exists()


def test_what_shards_left_undone_is_made_by_the_plain_command(case, monkeypatch):
    whole = make_whole(case)
    interrupt(case, monkeypatch)  # the plain command
    case.run(shard=Shard(number=3, count=3))
    case.run(shard=Shard(number=1, count=2))
    case.run()
    assert contents(case.folder) == whole


def test_more_shards_than_units_are_fine(case):
    whole = make_whole(case)
    for number in range(1, 14):
        case.run(shard=Shard(number=number, count=13))
    case.run()
    assert contents(case.folder) == whole


def test_a_finished_folder_is_left_alone_by_shards(case):
    case.run()
    before = contents(case.folder)
    case.run(shard=Shard(number=1, count=3))
    assert contents(case.folder) == before
    assert not (case.folder / ".work").exists()


def test_the_plain_command_is_refused_while_a_shard_is_running(case):
    case.run(shard=Shard(number=1, count=3))
    with hold(case.folder / ".work" / "lock-2-of-3", busy="held"), pytest.raises(StorageError) as refused:
        case.run()
    assert "shard 2 of 3 is still running; run this command when all have ended" in str(refused.value)
    with hold(case.folder / ".work" / "lock-2-of-3", busy="held"):
        case.run(shard=Shard(number=1, count=3))  # other shards may run
        with pytest.raises(StorageError, match="shard 2 of 3 is running already"):
            case.run(shard=Shard(number=2, count=3))


def test_other_options_are_refused_by_a_shard(case):
    case.run(shard=Shard(number=1, count=3))
    with pytest.raises(StorageError, match="holds another configuration"):
        case.run(shard=Shard(number=2, count=3), **case.change)


def test_a_shard_that_made_nothing_leaves_nothing(case, monkeypatch):
    def fail(_job, _units):
        raise StorageError("the disk is full")

    monkeypatch.setattr(Job, "take_share", fail)
    with pytest.raises(StorageError, match="the disk is full"):
        case.run(shard=Shard(number=1, count=3))
    assert not case.folder.exists() or list(case.folder.rglob("*.jsonl"))


@pytest.mark.slow
def test_shards_at_the_same_time_one_of_them_killed(tiny, tmp_path):
    tiny.build(tmp_path / "whole", engine="direct")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "bgknown", "build", *tiny.arguments(), "--out", str(out), "--engine", "direct"]
    command += ["--jobs", "1"]
    running = [subprocess.Popen([*command, "--shard", f"{number}/3"], start_new_session=True) for number in (1, 2, 3)]
    deadline = time.monotonic() + 60
    while not list(out.glob("audio/mix/*.wav")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running[1].pid, signal.SIGKILL)
    assert [process.wait(120) for process in running][::2] == [0, 0]
    assert subprocess.run(command, check=False).returncode == 0
    assert contents(out) == contents(tmp_path / "whole")
    shutil.rmtree(out)
