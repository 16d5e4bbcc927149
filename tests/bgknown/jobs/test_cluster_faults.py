"""What goes wrong on a cluster, or with a worker of this machine: one line each, and nothing waits in silence."""

import errno
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from bgknown.errors import NotFoundError, StorageError
from bgknown.jobs import cluster_faults, files, passing, stopped, waiting
from bgknown.jobs.cluster import use_cluster
from bgknown.jobs.parallel import in_processes
from bgknown.jobs.sight import Sight, check_sight, list_versions, name_word_file, remove_lost_words
from tests.conftest import contents
from tests.fuzz.dask_processes import DaskProcesses

ROOT = Path(__file__).resolve().parents[3]

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"bgknown", "tests"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture
def without(tmp_path):
    """The environment of a process in which this software is not installed."""
    folder = tmp_path / "hide"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def quick(monkeypatch):
    """All times of waiting are short."""
    monkeypatch.setattr(waiting, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(waiting, "SAY_S", 0.5)
    monkeypatch.setattr(waiting, "SAY_TIMES", 0.0)
    monkeypatch.setattr(waiting, "LATE_TIMES", 0.0)
    monkeypatch.setattr(cluster_faults, "SILENT_S", 5.0)
    monkeypatch.setattr(cluster_faults, "GONE_S", 8.0)
    monkeypatch.setattr(stopped, "STOPPED_S", 1.0)


def write_name(path):
    path.write_text(path.name)
    return path.name


@pytest.mark.slow
def test_a_scheduler_needs_only_dask_and_a_worker_without_this_software_is_one_line(tmp_path, without):
    paths = [tmp_path / f"{number}.txt" for number in range(5)]
    dask = DaskProcesses(tmp_path, without)
    try:
        worker = dask.add_worker()
        with use_cluster(dask.address):
            found = list(in_processes(write_name, paths, jobs=1, title="x", unit="file", ordered=True))
        assert found == [path.name for path in paths]
        worker.kill()
        dask.add_worker(environment=without)
        missing = (
            r"the worker tcp://\S+ cannot import bgknown: install on every worker .*pip install 'bgknown\[dask\]=="
        )
        with use_cluster(dask.address), pytest.raises(NotFoundError, match=missing):
            list(in_processes(write_name, paths, jobs=1, title="x", unit="file"))
    finally:
        dask.close()


def test_a_worker_with_other_libraries_is_refused(monkeypatch):
    versions = dict(list_versions())
    assert {"Python", "numpy", "soundfile"} <= versions.keys()
    for name, other in (("Python", "3.99"), ("numpy", "0.1")):
        with pytest.raises(StorageError, match=rf"has {name} {versions[name]}, the command has {other}, and files"):
            check_sight(Sight(versions=((name, other),)))
    check_sight(Sight(versions=(("a library that only the command has", "1"), ("numpy", versions["numpy"]))))


def test_words_of_commands_that_were_killed_are_removed(tmp_path):
    ours = name_word_file(tmp_path, "a")
    ended = subprocess.Popen(["true"])
    ended.wait()
    lost = tmp_path / ours.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-")
    others = tmp_path / ".seen-another.machine-1-b"
    for path in (ours, lost, others):
        path.touch()
    remove_lost_words(tmp_path)
    assert set(tmp_path.iterdir()) == {ours, others}


def stop_once(marker, path):
    """Stop the process that gets here first."""
    if path.name == "1.txt":
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return write_name(path)
        os.kill(os.getpid(), signal.SIGSTOP)
    return write_name(path)


@pytest.mark.slow
def test_a_worker_that_hangs_is_named_and_its_work_goes_to_another(tmp_path, quick, caplog):
    paths = [tmp_path / f"{number}.txt" for number in range(8)]
    dask = DaskProcesses(tmp_path)
    try:
        dask.add_worker()
        dask.add_worker()
        with use_cluster(dask.address) as cluster:
            cluster.client.wait_for_workers(2)
            work = partial(stop_once, tmp_path / "stopped")
            assert len(list(in_processes(work, paths, jobs=2, title="names", unit="file"))) == 8
    finally:
        dask.close()
    assert all(path.is_file() for path in paths)
    assert "has not answered for" in caplog.text
    assert "is given up; its work goes to the next one that is free" in caplog.text


def wait_once(marker, path):
    """Take long in the process that gets here first, as where a disk does not answer."""
    if path.name == "1.txt":
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return write_name(path)
        time.sleep(300)
    return write_name(path)


@pytest.mark.slow
def test_work_that_is_late_is_given_to_a_second_worker(tmp_path, quick, caplog, monkeypatch):
    monkeypatch.setattr(waiting, "LATE_S", 4.0)
    monkeypatch.setattr(waiting, "LATE_TIMES", 2.0)
    paths = [tmp_path / f"{number}.txt" for number in range(8)]
    with use_cluster("local:2") as cluster:
        cluster.client.wait_for_workers(2)
        work = partial(wait_once, tmp_path / "late")
        assert len(list(in_processes(work, paths, jobs=2, title="names", unit="file"))) == 8
    assert "1.txt has been running on tcp://" in caplog.text
    assert "it is given to another worker as well" in caplog.text


def wait_always(path):
    if path.name == "1.txt":
        time.sleep(300)
    return write_name(path)


@pytest.mark.slow
def test_work_that_is_late_with_two_workers_ends_with_one_line(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(waiting, "LATE_S", 4.0)
    monkeypatch.setattr(waiting, "LATE_TIMES", 2.0)
    paths = [tmp_path / f"{number}.txt" for number in range(8)]
    late = r"1.txt has been running for \d+ s on tcp://\S+ and tcp://\S+, far longer than any other: finished work is"
    with use_cluster("local:2"), pytest.raises(StorageError, match=late):
        list(in_processes(wait_always, paths, jobs=2, title="names", unit="file"))


def test_a_stopped_process_of_this_machine_is_one_line(tmp_path, quick, caplog):
    paths = [tmp_path / f"{number}.txt" for number in range(8)]
    what = r"the worker process \d+ was stopped by a signal and did not continue for 1 s: finished work is kept"
    with pytest.raises(StorageError, match=what):
        list(in_processes(partial(stop_once, tmp_path / "stopped"), paths, jobs=2, title="names", unit="file"))
    assert "1.txt has been running for" in caplog.text


def fail_once(number, marker, path):
    """Fail as a shared folder does that does not answer once."""
    if path.name == "1.txt" and not marker.exists():
        marker.touch()
        raise OSError(number, os.strerror(number), str(path))
    return write_name(path)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_what_fails_once_is_done_again(tmp_path, number):
    paths = [tmp_path / f"{count}.txt" for count in range(4)]
    work = partial(fail_once, number, tmp_path / "failed")
    assert len(list(in_processes(work, paths, jobs=1, title="names", unit="file"))) == 4
    assert all(path.is_file() for path in paths)


def test_what_fails_otherwise_is_not_done_again(tmp_path):
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        passing.work_again(partial(fail_once, errno.ENOSPC, tmp_path / "failed"), tmp_path / "1.txt")
    assert not (tmp_path / "1.txt").exists()


FULL = """
import errno
import os

real, calls = os.fsync, iter(range(6))

def fsync(descriptor):
    if next(calls, None) is None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real(descriptor)

os.fsync = fsync
"""


@pytest.mark.slow
def test_a_full_disk_of_one_worker_is_one_line_and_the_build_resumes(built, tmp_path):
    corpora, expected = built
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "sitecustomize.py").write_text(FULL)
    out = tmp_path / "out"
    dask = DaskProcesses(tmp_path)
    try:
        dask.add_worker()
        worker = dask.add_worker(environment={"PYTHONPATH": f"{tmp_path / 'full'}{os.pathsep}{ROOT}"})
        full = (
            rf"the worker on {os.uname().nodename}: {out}/audio/\S+: the disk is full: free some space and run the same"
        )
        with use_cluster(dask.address) as cluster:
            cluster.client.wait_for_workers(2, timeout=60)
            with pytest.raises(StorageError, match=full):
                corpora.build(out, engine="direct")
        worker.kill()
        whole, finished = contents(expected), contents(out)
        assert finished
        assert all(whole[name] == data for name, data in finished.items())
        states = {name: files.list_state(out / name) for name in finished}
        with use_cluster(dask.address):
            report = corpora.build(out, engine="direct")
    finally:
        dask.close()
    assert report.kept > 0
    kept = [name for name, state in states.items() if files.list_state(out / name) == state]
    assert len(kept) >= 4 * report.kept
    found = contents(out)
    assert {name for name in whole if found.get(name) != whole[name]} == {"dataset.json"}
    assert found.keys() == whole.keys()
    assert not list(out.glob(".*"))
