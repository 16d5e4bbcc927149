"""README's examples for clusters on this machine: Dask's programs, dask-jobqueue's class for Slurm, Slurm's array."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bgknown.jobs.slurm import make_slurm
from tests.conftest import contents

pytestmark = pytest.mark.slow
README = Path(__file__).parents[3] / "bgknown" / "README.md"


def read_block(kind: str, start: str) -> str:
    """The block of README's section that begins with some text."""
    section = README.read_text().split("\n## On many machines\n")[1].split("\n## ")[0]
    return next(block for block in re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) if block.startswith(start))


@pytest.fixture
def place(tmp_path, built, monkeypatch):
    """A folder with README's corpora, in which the commands are those of this environment."""
    corpora, _ = built
    (tmp_path / "ESC-50").symlink_to(corpora.esc50)
    (tmp_path / "FSD50K").symlink_to(corpora.fsd50k)
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, module in (("bgknown", "bgknown"), ("dask", "dask")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (commands / name).chmod(0o755)
    paths = filter(None, (str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("PATH", f"{commands}:{make_slurm(tmp_path / 'slurm')}:{os.environ['PATH']}")
    monkeypatch.setenv("BGKNOWN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))  # dask-jobqueue writes a file of settings there
    return tmp_path


def run(script: str, place: Path) -> str:
    done = subprocess.run(["bash", "-ec", script], cwd=place, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def check(place, built):
    """The dataset equals that of a plain build, except for the number of the row that it names as an example."""
    found, expected = contents(place / "bgknown-esc50"), contents(built[1])
    assert {name for name in expected if found.get(name) != expected[name]} <= {"dataset.json"}
    assert not list((place / "bgknown-esc50").glob(".*"))


def wait_for(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_example_for_dask(place, built):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    block = read_block("sh", "dask scheduler").replace("tcp://head:8786", f"tcp://127.0.0.1:{port}")
    block = block.replace("dask scheduler &", f"dask scheduler --host 127.0.0.1 --port {port} --no-dashboard &")
    block = block.replace("--nworkers 16", "--nworkers 2 --no-dashboard").replace("&  ", "2> worker.log &  ")
    assert "tcp://head" not in block
    run(f"{block}kill $(jobs -p); wait", place)
    check(place, built)


def test_the_example_for_a_queue(place, built):
    pytest.importorskip("dask_jobqueue")
    text = read_block("toml", "queue").replace("jobs = 20", "jobs = 1").replace("= 8", "= 2").replace("32GB", "2GB")
    (place / "queue.toml").write_text(text)
    command = read_block("sh", "dask scheduler").splitlines()[-1].replace("tcp://head:8786", "queue.toml")
    said = run(command, place)
    assert "Traceback" not in said
    check(place, built)
    jobs = place / "slurm" / "jobs"
    assert "#SBATCH --cpus-per-task=2" in (jobs / "1.sh").read_text()
    assert (jobs / "1.cancelled").exists()
    wait_for(lambda: not is_running(int((jobs / "1.pid").read_text())))


def is_running(group: int) -> bool:
    try:
        os.killpg(group, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return True


def test_the_example_for_slurm_s_array(place, built):
    block = read_block("sh", "build=").replace("1-8", "1-2").replace("/8", "/2")
    run(block, place)
    statuses = [place / "slurm" / "jobs" / f"{number}.status" for number in (1, 2)]
    wait_for(statuses[1].exists)
    logs = "".join(path.read_text() for path in (place / "slurm" / "jobs").glob("*.log"))
    assert [path.read_text() for path in statuses] == ["0", "0"], logs
    assert "shard 2 of 2: 5 rows made" in logs
    assert "0 rendered, 10 kept" in logs
    check(place, built)
