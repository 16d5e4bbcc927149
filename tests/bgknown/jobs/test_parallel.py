import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bgknown.errors import StorageError
from bgknown.jobs.parallel import in_processes, in_threads
from tests.fuzz.undisturbed import list_shared_memory


def square(number):
    return number * number


def slow_first(number):
    time.sleep(0.01 * (number % 5 == 0))
    return number


def die(number):
    if number == 3:
        os._exit(9)
    return number


def fail(number):
    raise StorageError(f"no room for {number}")


@pytest.mark.parametrize(("jobs", "batch"), [(1, 1), (1, 4), (2, 1), (2, 7)])
def test_every_item_is_worked_on_once(jobs, batch):
    results = in_processes(square, range(20), jobs=jobs, title="x", unit="y", batch=batch)
    assert sorted(results) == [number * number for number in range(20)]


@pytest.mark.parametrize(("jobs", "batch"), [(1, 1), (2, 1), (2, 7)])
def test_results_come_in_the_order_of_the_items_where_it_matters(jobs, batch):
    results = in_processes(slow_first, range(30), jobs=jobs, title="x", unit="y", batch=batch, ordered=True)
    assert list(results) == list(range(30))


@pytest.mark.parametrize("ordered", [False, True])
def test_stopping_early_gives_no_warning(ordered, recwarn):
    for number in in_processes(slow_first, range(60), jobs=2, title="x", unit="y", ordered=ordered):
        if number == 3:
            break
    gc.collect()
    assert not recwarn.list


def test_no_items_mean_no_work():
    assert list(in_processes(square, [], jobs=2, title="x", unit="y")) == []


def test_a_killed_worker_is_explained():
    with pytest.raises(StorageError, match=r"a worker process was killed.*fewer --jobs"):
        list(in_processes(die, range(6), jobs=2, title="x", unit="y"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_a_worker_arrives_as_it_was(jobs):
    with pytest.raises(StorageError, match="no room for 0"):
        list(in_processes(fail, [0, 0, 0], jobs=jobs, title="x", unit="y"))


WORK = """
import time
from bgknown.jobs.parallel import in_processes
from tests.bgknown.jobs.test_parallel import tell_and_wait

if __name__ == "__main__":
    list(in_processes(tell_and_wait, [sys.argv[1]] * 2, jobs=2, title="x", unit="y"))
"""


def tell_and_wait(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def test_workers_end_with_a_command_that_is_killed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", f"import sys\n{WORK}", str(tmp_path)])
    try:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        workers = [int(path.name) for path in tmp_path.iterdir()]
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not any(map(is_running, workers)))


def wait_for(condition, limit_s=60):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{number}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_threads_keep_the_order():
    assert in_threads(square, range(50), title="x", unit="y") == [number * number for number in range(50)]


def test_progress_is_silent_if_stderr_is_not_a_terminal(capfd):
    list(in_processes(square, range(5), jobs=1, title="x", unit="y"))
    assert capfd.readouterr().err == ""


def test_processes_left_from_a_job_elsewhere_work_in_the_folder_of_today(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found = set(in_processes(os.path.abspath, [".", "."], jobs=2, title="folders", unit="folder", batch=1))
        assert found == {str(tmp_path / name)}


def test_nothing_is_made_in_shared_memory_that_a_kill_would_leave_there():
    began_s = time.time() - 1.0
    results = in_processes(square, range(20), jobs=2, title="x", unit="x")
    next(results)
    assert list_shared_memory(os.getpid(), began_s) == []
    assert len(list(results)) == 19
