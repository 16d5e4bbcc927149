"""Precision that is decided where a run begins, and the trial step that tells how long it will take."""

import logging
import tomllib

import pytest
import torch

from bgknown.errors import StorageError
from pretrain import machine, progress, state, train, trial
from pretrain.trainer import Trainer
from tests.pretrain.made import make_corpus, smoke
from tests.pretrain.runs import assert_equal, rows, run, stored

AUTO = "training.precision=auto"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("made") / "corpus")


@pytest.mark.parametrize(
    ("float32_s", "bf16_s", "expected"), [(1.0, 7.0, "float32"), (1.0, 0.95, "float32"), (1.0, 0.5, "bf16")]
)
def test_a_cpu_takes_bf16_only_where_it_is_clearly_faster(monkeypatch, float32_s, bf16_s, expected):
    times = {"float32": float32_s, "bf16": bf16_s}
    monkeypatch.setattr(machine, "_time_convolution", lambda clips, kernels, precision: times[precision])
    assert machine.pick_precision(torch.device("cpu")) == expected


def test_measuring_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    assert machine.pick_precision(torch.device("cpu")) in {"float32", "bf16"}
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("picked", ["float32", "bf16"])
def test_auto_is_stored_as_what_it_became_and_kept_on_another_machine(corpus, tmp_path, monkeypatch, picked):
    other = {"float32": "bf16", "bf16": "float32"}[picked]
    monkeypatch.setattr(state, "pick_precision", lambda device: picked)
    run(corpus, tmp_path / "run", AUTO, "training.steps=3")
    assert tomllib.loads((tmp_path / "run" / "config.toml").read_text())["training"]["precision"] == picked
    assert stored(tmp_path / "run")["card"]["config"]["training"]["precision"] == picked
    monkeypatch.setattr(state, "pick_precision", lambda device: other)
    run(corpus, tmp_path / "run", AUTO)
    assert stored(tmp_path / "run")["card"]["config"]["training"]["precision"] == picked
    run(corpus, tmp_path / "named", f"training.precision={picked}")
    assert_equal(tmp_path / "run", tmp_path / "named")
    with pytest.raises(StorageError, match=f"training.precision is {picked} in the folder but {other} was requested"):
        run(corpus, tmp_path / "run", f"training.precision={other}")


def test_a_run_of_bf16_is_resumed_by_auto_as_it_is(corpus, tmp_path, caplog):
    run(corpus, tmp_path / "run", "training.precision=bf16", "training.steps=3")
    caplog.set_level(logging.INFO)
    run(corpus, tmp_path / "run", AUTO)
    assert "precision: bf16, as in the run so far" in caplog.text
    assert stored(tmp_path / "run")["card"]["config"]["training"]["precision"] == "bf16"


def test_the_estimate_comes_before_the_first_step_and_changes_nothing(corpus, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    steps, whole = [], Trainer.step

    def step(trainer, number, audio):
        steps.append((trainer.config.training.batch, "estimate: about" in caplog.text))
        return whole(trainer, number, audio)

    monkeypatch.setattr(Trainer, "step", step)
    run(corpus, tmp_path / "run")
    batch = smoke().training.batch
    before, after = ([size for size, told in steps if told is said] for said in (False, True))
    assert before  # the trial's steps
    assert after == [batch] * 6
    assert "estimate: about 0 s for 6 steps" in caplog.text or " s for 6 steps" in caplog.text
    monkeypatch.setattr(train, "time_step", lambda *_: None)
    run(corpus, tmp_path / "without")
    assert_equal(tmp_path / "run", tmp_path / "without")
    assert rows(tmp_path / "run") == rows(tmp_path / "without")


def test_a_finished_run_has_no_trial(corpus, tmp_path, monkeypatch):
    run(corpus, tmp_path / "run")
    monkeypatch.setattr(train, "time_step", lambda *_: pytest.fail("a trial"))
    run(corpus, tmp_path / "run")


@pytest.mark.parametrize(("fixed_s", "clip_s"), [(0.0, 0.1), (0.2, 0.01), (1.0, 0.0)])
@pytest.mark.parametrize(("batch", "accumulate", "processes"), [(256, 1, 1), (256, 4, 1), (64, 1, 2), (2, 1, 1)])
def test_a_step_is_estimated_from_a_few_clips(monkeypatch, fixed_s, clip_s, batch, accumulate, processes):
    """A machine on which a step takes a constant and a share per clip."""

    class Machine:
        def __init__(self, config):
            self.set_batch(config)

        def set_batch(self, config):
            self.clips = config.training.batch

    tried = []

    def timed(trainer, step):
        tried.append(trainer.clips)
        return fixed_s + clip_s * trainer.clips

    monkeypatch.setattr(trial, "_time", timed)
    config = smoke(f"training.batch={batch}", f"training.accumulate={accumulate}")
    share = batch // accumulate // processes
    seconds = trial.time_step(config, Machine, processes)
    assert sum(fixed_s + clip_s * clips for clips in tried[1:]) < 8 * trial.LONG_ENOUGH_S
    if fixed_s < trial.LONG_ENOUGH_S:
        assert seconds == pytest.approx(accumulate * (fixed_s + clip_s * share))
    else:  # one size tells no share from a constant: the time is at most this
        assert seconds >= accumulate * (fixed_s + clip_s * share)


def test_no_room_for_a_trial_is_no_failure(corpus, tmp_path, monkeypatch, caplog):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trial, "_time", full)
    caplog.set_level(logging.INFO)
    run(corpus, tmp_path / "run")
    assert "estimate" not in caplog.text


def test_slow_steps_show_that_they_go_on(corpus, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "SLOW_S", 0.0)
    caplog.set_level(logging.INFO)
    run(corpus, tmp_path / "run", "training.log_every=6")
    assert caplog.text.count("each, about") == 5
    assert "step 1/6  " in caplog.text
