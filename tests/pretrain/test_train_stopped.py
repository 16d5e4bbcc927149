"""Runs that are stopped, killed, damaged or got in the way of: what they leave, and how they go on."""

import errno
import logging
import os
import signal
import sys
import threading

import filelock
import pytest
import torch

from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs import files
from pretrain.trainer import Trainer
from tests.pretrain.made import make_corpus
from tests.pretrain.runs import assert_equal, rows, run, stored
from tests.stopping import stop_when


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("made") / "corpus")


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("step", [1, 3, 4, 5])
def test_a_run_that_dies_goes_on_to_the_same_weights_and_log(corpus, tmp_path, monkeypatch, step):
    """Checkpoints every 2 steps, log every 4: the step of the checkpoint may lie within a row."""
    changes = ("training.checkpoint_every=2", "objective.reference_shift_s=0.2")
    run(corpus, tmp_path / "whole", *changes)
    whole = Trainer.step

    def dying(self, number, audio):
        if number == step:
            raise StoppedError
        return whole(self, number, audio)

    monkeypatch.setattr(Trainer, "step", dying)
    with pytest.raises(StoppedError):
        run(corpus, tmp_path / "run", *changes)
    assert stored(tmp_path / "run")["card"]["steps_done"] == step // 2 * 2
    monkeypatch.undo()
    run(corpus, tmp_path / "run", *changes)
    assert_equal(tmp_path / "whole", tmp_path / "run")
    assert rows(tmp_path / "whole") == rows(tmp_path / "run")


PROGRAM = """
import sys
from pathlib import Path
from pretrain.train import TrainOptions, train
from tests.pretrain.made import smoke

train(TrainOptions(corpus=Path(sys.argv[1]), config=smoke(*sys.argv[3:]), out=Path(sys.argv[2]), device="cpu"))
"""


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(corpus, tmp_path):
    changes = ("training.steps=40", "training.checkpoint_every=1", "training.log_every=7")
    run(corpus, tmp_path / "whole", *changes)
    command = [sys.executable, "-c", PROGRAM, str(corpus), str(tmp_path / "run"), *changes]
    for done in (1, 14):

        def ready(done=done):
            with_rows = rows(tmp_path / "run") if (tmp_path / "run" / "log.csv").is_file() else []
            return any(int(row["step"] or 0) >= done for row in with_rows)

        stop_when(command, ready)
    assert stored(tmp_path / "run")["card"]["steps_done"] < 40
    run(corpus, tmp_path / "run", *changes)
    assert_equal(tmp_path / "whole", tmp_path / "run")
    assert rows(tmp_path / "whole") == rows(tmp_path / "run")


@pytest.mark.parametrize("begun", [False, True])
def test_what_a_kill_left_half_written_is_taken_away(corpus, tmp_path, begun):
    out = tmp_path / "run"
    if begun:
        run(corpus, out, "training.steps=3")
    out.mkdir(exist_ok=True)
    for name in (".checkpoint.pt.4711.part", ".log.csv.12.part"):
        (out / name).write_bytes(b"half")
    run(corpus, out)
    assert {path.name for path in out.iterdir()} == {".lock", "checkpoint.pt", "config.toml", "log.csv"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_finishes_the_step_and_stores_it(corpus, tmp_path, number):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "pretrain", "train", "--corpus", str(corpus), "--config", "smoke"]
    command += ["--set", "training.steps=100000", "--set", "training.checkpoint_every=100000", "--out", str(out)]
    status, told = stop_when(command, lambda: (out / "log.csv").is_file() and len(rows(out)) >= 2, by=number)
    assert status == 128 + number
    assert "finishing this step, Ctrl-C again to stop now\ninterrupted; finished work is kept, and the same" in told
    assert "Traceback" not in told
    assert stored(out)["card"]["steps_done"] >= 8


def test_a_finished_run_is_left_as_it_is_and_can_be_made_longer(corpus, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = run(corpus, tmp_path / "run")
    before = path.read_bytes()
    run(corpus, tmp_path / "run")
    assert path.read_bytes() == before
    run(corpus, tmp_path / "run", "training.steps=9", "training.log_every=3")
    assert "resuming from step 6 of 9" in caplog.text
    assert stored(tmp_path / "run")["card"]["steps_done"] == 9
    run(corpus, tmp_path / "long", "training.steps=9")
    longer, whole = stored(tmp_path / "run"), stored(tmp_path / "long")
    assert all(torch.equal(longer["encoder"][name], tensor) for name, tensor in whole["encoder"].items())


def test_another_configuration_or_corpus_is_refused(corpus, tmp_path):
    run(corpus, tmp_path / "run")
    with pytest.raises(StorageError, match="another run: objective.lambda is 0.5 in the folder but 0.2 was requested"):
        run(corpus, tmp_path / "run", "objective.lambda=0.2")
    other = make_corpus(tmp_path / "other", (20_000, 20_000))
    with pytest.raises(StorageError, match="the corpus is a different one"):
        run(other, tmp_path / "run")


def test_a_folder_that_is_not_a_run_s_is_left_alone(corpus, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(StorageError, match="the folder is not empty and does not hold a run"):
        run(corpus, tmp_path / "notes")
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["a.txt"]
    with pytest.raises(StorageError, match="a file of this name is in the way"):
        run(corpus, tmp_path / "notes" / "a.txt")


def test_two_runs_at_once_are_refused(corpus, tmp_path):
    (tmp_path / "run").mkdir()
    with filelock.FileLock(tmp_path / "run" / ".lock"):
        errors = []

        def other():
            try:
                run(corpus, tmp_path / "run")
            except StorageError as error:
                errors.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert "another process is training there" in errors[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "checkpoint.pt"),
        (lambda path: torch.save({"encoder": {}}, path), "does not hold a training to resume"),
        (
            lambda path: torch.save(
                {**torch.load(path, weights_only=True), "training": {"learner": {"fc": torch.zeros(1)}}}, path
            ),
            "another version of this software wrote it",
        ),
    ],
)
def test_a_damaged_checkpoint_is_one_line(corpus, tmp_path, damage, message):
    damage(run(corpus, tmp_path / "run"))
    with pytest.raises(InvalidInputError) as caught:
        run(corpus, tmp_path / "run")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_disk_keeps_the_checkpoint_before(corpus, tmp_path, monkeypatch):
    whole = os.fsync
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageError, match="checkpoint.pt: the disk is full: free some space"):
        run(corpus, tmp_path / "run", "training.checkpoint_every=1")
    monkeypatch.undo()
    assert 0 < stored(tmp_path / "run")["card"]["steps_done"] < 6
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock", "checkpoint.pt", "config.toml", "log.csv"}
    run(corpus, tmp_path / "run", "training.checkpoint_every=1")
    run(corpus, tmp_path / "whole", "training.checkpoint_every=1")
    assert_equal(tmp_path / "whole", tmp_path / "run")
