"""Work on a Dask cluster: the same bytes, faults in one line, and resuming."""

import os
import signal
import socket
import threading
import time

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from benchmark.cli import main as benchmark
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from bgknown.jobs.cluster import use_cluster
from bgknown.jobs.cluster_address import read_queue
from bgknown.jobs.parallel import in_processes
from bgknown.jobs.sight import Sight, check_sight
from pretrain.pack import PackOptions, pack
from tests.conftest import contents, noise
from tests.fuzz.dask_processes import DaskProcesses

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A scheduler with two workers for all tests that do no harm to it."""
    dask = DaskProcesses(tmp_path_factory.mktemp("dask"))
    dask.add_worker()
    dask.add_worker()
    yield dask
    dask.close()


@pytest.fixture
def dask(tmp_path):
    """A scheduler with two workers that a test may harm."""
    made = DaskProcesses(tmp_path)
    made.add_worker()
    made.add_worker()
    yield made
    made.close()


def after(condition, act):
    """Do something in a thread as soon as a condition holds."""

    def watch():
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if condition():
                act()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_build_has_the_same_bytes_also_when_a_worker_is_killed(built, dask, tmp_path):
    corpora, by_scaper = built
    out = tmp_path / "out"
    killer = after(lambda: list(out.glob("audio/mix/*.wav")), dask.workers[0].kill)
    with use_cluster(dask.address, read=[corpora.esc50, corpora.fsd50k]) as cluster:
        cluster.client.wait_for_workers(2, timeout=60)
        corpora.build(out, engine="direct")
    killer.join()
    assert dask.workers[0].wait(10) == -signal.SIGKILL
    found, expected = contents(out), contents(by_scaper)
    assert {name for name in expected if found.get(name) != expected[name]} == {"dataset.json"}
    assert not list(out.glob(".*"))


def wait_and_write(path):
    time.sleep(0.1)
    path.write_text("done")
    return path


def test_a_lost_scheduler_is_one_line_and_finished_work_stays(dask, tmp_path, capfd, caplog):
    paths = [tmp_path / f"{number}.txt" for number in range(100)]
    after(paths[3].exists, dask.scheduler.kill)
    gone = "the cluster's scheduler is gone: finished work is kept"
    with pytest.raises(StorageError, match=gone), use_cluster(dask.address):
        list(in_processes(wait_and_write, paths, jobs=2, title="x", unit="file"))
    assert paths[3].exists()
    assert not paths[-1].exists()
    assert "Traceback" not in capfd.readouterr().err + caplog.text


def test_workers_that_come_late_are_used(tmp_path):
    dask = DaskProcesses(tmp_path)
    dask.add_worker()
    try:
        with use_cluster(dask.address) as cluster:
            after((tmp_path / "3.txt").exists, dask.add_worker)
            paths = [tmp_path / f"{number}.txt" for number in range(60)]
            list(in_processes(wait_and_write, paths, jobs=1, title="x", unit="file"))
            cluster.client.wait_for_workers(2, timeout=60)
            cluster._count_again_at = 0.0
            assert cluster.count_workers() == 2
    finally:
        dask.close()


def end(_item):
    os.kill(os.getpid(), signal.SIGKILL)


def test_work_that_ends_its_workers_is_one_line(tmp_path):
    with use_cluster("local:1"), pytest.raises(StorageError, match=r"one task ended \d+ workers in turn, most often"):
        list(in_processes(end, [1], jobs=1, title="end", unit="item"))


def test_workers_that_see_another_folder_are_refused(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "table.csv").write_text("a")
    state = (tmp_path / "corpus" / "table.csv").stat()
    path = str(tmp_path / "corpus" / "table.csv")
    check_sight(Sight(read=((path, 1, state.st_mtime_ns),)))
    for sight, fault in (
        (Sight(read=((path, 2, state.st_mtime_ns),)), "has another file at"),
        (Sight(read=((f"{path}.not", 1, 1),)), "cannot read"),
        (Sight(written=((path, "b"),)), "has another folder at"),
        (Sight(written=((f"{path}.not", "b"),)), "does not see"),
        (Sight(version="0.0.1"), "the command has 0.0.1; install the same version"),
    ):
        with pytest.raises(StorageError, match=fault) as refused:
            check_sight(sight)
        assert socket.gethostname() in str(refused.value)


def test_a_corpus_that_changes_under_the_workers_is_refused(shared, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with use_cluster(shared.address, read=[tmp_path]):
        (tmp_path / "a.txt").write_text("abc")
        with pytest.raises(StorageError, match="the worker on .* has another file at .*a.txt"):
            list(in_processes(abs, [1], jobs=1, title="x", unit="x"))


def test_workers_with_several_threads_are_refused(tmp_path):
    dask = DaskProcesses(tmp_path)
    dask.add_worker(threads=3)
    try:
        with (
            pytest.raises(InvalidInputError, match="has 3 threads; units need a process each"),
            use_cluster(dask.address),
        ):
            pass
    finally:
        dask.close()


@pytest.mark.parametrize("address", ["", "local:0", "local", "127.0.0.1:8786", "http://a:1", "tcp://a"])
def test_what_is_not_a_cluster_is_refused(address):
    with pytest.raises(InvalidInputError, match="it must be tcp://HOST:PORT, local:N"), use_cluster(address):
        pass


def test_no_scheduler_is_one_line(monkeypatch):
    monkeypatch.setattr("bgknown.jobs.cluster_address.CONNECT_S", 1)
    missing = "no scheduler answers there; start one with `dask scheduler`"
    with pytest.raises(StorageError, match=missing), use_cluster("tcp://127.0.0.1:9"):
        pass


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "queue = 'slrm'\njobs = 2",
            "queue is 'slrm', which is not known; did you mean slurm",
        ),
        ("queue = 'slurm'\njobs = 0", "jobs must be a whole number from 1"),
        ("queue = 'slurm'\njobs = 2\nother = 1", "has 'other'; it must have queue, jobs and a table options"),
        ("queue", "is not TOML"),
    ],
)
def test_queues_that_are_not_described_are_refused(tmp_path, text, fault):
    (tmp_path / "queue.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=fault):
        read_queue(tmp_path / "queue.toml")
    with pytest.raises(NotFoundError, match="no such file"):
        read_queue(tmp_path / "none.toml")


@pytest.mark.parametrize("address", ["~/none.toml", "~/none.json"])
def test_files_that_are_not_there_are_named_in_the_home_folder(tmp_path, monkeypatch, address):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NotFoundError, match=rf"{tmp_path}/none.*no such file"), use_cluster(address):
        pass


def wait_if_first(number):
    time.sleep(2.0 * (number == 0))
    return number


@pytest.mark.parametrize("ordered", [True, False])
def test_results_that_wait_for_the_first_one_all_come(shared, ordered):
    with use_cluster(shared.address) as cluster:
        cluster.client.wait_for_workers(2)
        found = list(in_processes(wait_if_first, range(5), jobs=2, title="x", unit="x", ordered=ordered))
    assert (found if ordered else sorted(found)) == list(range(5))


def test_packing_on_a_cluster_has_the_same_bytes(shared, tmp_path):
    (tmp_path / "audio").mkdir()
    for number in range(6):
        soundfile.write(tmp_path / "audio" / f"{number}.wav", noise(0.2, number), 16_000)
    pack(PackOptions(audio=(tmp_path / "audio",), out=tmp_path / "local", jobs=1))
    with use_cluster(shared.address, read=[tmp_path / "audio"]):
        pack(PackOptions(audio=(tmp_path / "audio",), out=tmp_path / "out"))
    assert contents(tmp_path / "out") == contents(tmp_path / "local")


def test_embedding_on_a_cluster_gives_the_same_array_also_with_a_worker_killed(dask, tmp_path):
    (tmp_path / "audio").mkdir()
    for number in range(24):
        soundfile.write(tmp_path / "audio" / f"{number}.wav", noise(0.5, number), 16_000)
    options = ["embed", "--encoder", "melpower", str(tmp_path / "audio"), "--device", "cpu", "--batch", "2"]

    def run(name, *more):
        places = ["--out", str(tmp_path / name), "--cache", str(tmp_path / f"cache of {name}")]
        done = CliRunner().invoke(benchmark, [*options, *places, *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return np.load(tmp_path / name / "embeddings.npy")

    killer = after(lambda: list((tmp_path / "cache of out").rglob("part-*.csv")), dask.workers[0].kill)
    shared_array = run("out", "--cluster", dask.address)
    killer.join()
    assert np.array_equal(shared_array, run("local"))
