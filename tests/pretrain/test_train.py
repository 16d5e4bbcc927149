"""Runs: what they learn, what they report, what they refuse."""

import sys
from dataclasses import replace

import pytest
import torch

from bgknown.errors import InvalidInputError, NotFoundError
from pretrain import learner
from pretrain.checkpoint import load_checkpoint
from pretrain.corpus import open_corpus
from pretrain.draws import CropSampler, StepDraw
from pretrain.encoder import Options, load
from pretrain.frontend import LogMelSpectrogram
from pretrain.ranks import ALONE
from pretrain.train import TrainOptions, train
from pretrain.trainer import Trainer
from pretrain.views import make_view
from tests.pretrain.made import make_corpus, noise, smoke
from tests.pretrain.runs import assert_equal, rows, run, stored


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("made") / "corpus")


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("objective.lambda=0",),
        ("objective.mix_domain=power",),
        ("objective.reference_shift_s=0.2",),
        ("training.accumulate=2",),
        ("training.precision=bf16",),
        ("network.name=AudioNTT2020", "network.d=48", "training.frames=48"),
        ("training.channels_last=false",),
    ],
    ids=["paper", "byol-a", "power", "shifted", "parts", "bf16", "2020", "contiguous"],
)
def test_a_run_learns_and_leaves_an_encoder(corpus, tmp_path, changes):
    path = run(corpus, tmp_path / "run", *changes)
    assert path == tmp_path / "run" / "checkpoint.pt"
    log = rows(tmp_path / "run")
    assert [row["step"] for row in log] == ["4", "6"]
    assert float(log[1]["loss"]) < float(log[0]["loss"])
    assert (log[0]["loss_difference"] == "") == ("objective.lambda=0" in changes)
    encoder = load(str(path), Options())
    assert encoder.name == "run"
    assert encoder.statistics.std > 0
    assert torch.isfinite(encoder.embed(noise(2, 8_000))).all()
    card = load_checkpoint(path).card
    assert (card["steps_done"], card["steps"]) == (6, 6)
    assert card["config"] == smoke(*changes).tables()
    assert card["corpus"]["clips"] == 5


def test_options_change_what_is_learned(corpus, tmp_path):
    weights = {}
    for name, change in (
        ("paper", "objective.lambda=0.5"),
        ("power", "objective.mix_domain=power"),
        ("shifted", "objective.reference_shift_s=0.2"),
        ("gamma", "objective.gamma_low=0.1"),
    ):
        run(corpus, tmp_path / name, change)
        weights[name] = stored(tmp_path / name)["encoder"]["features.0.weight"]
    different = list(weights.values())
    assert not any(torch.equal(one, other) for one in different for other in different if one is not other)


def made_by_hand(trainer, audio, step):
    """Views of a step's clips, made from their audio and the step's draws: normalised, and their deviation."""
    config = trainer.config
    drawn = StepDraw(config, trainer.learner.encoder, step, torch.device("cpu")).views(slice(0, config.training.batch))
    log_mel = trainer.statistics.normalise(
        LogMelSpectrogram(config.front_end)(torch.from_numpy(audio).float() / 32_768)
    )
    views = torch.cat([make_view(log_mel, view, trainer.memory.clips, config.views) for view in drawn])
    deviation = views.std(correction=0)
    return (views - views.mean()) / deviation, deviation


@pytest.mark.parametrize("domain", ["normalised", "power"])
def test_what_the_difference_branch_is_shown(corpus, monkeypatch, domain):
    """In power, the scale undoes both normalisations; the reference is made of the same clips at another time."""
    changes = (f"objective.mix_domain={domain}", "objective.reference_shift_s=0.2", "training.channels_last=false")
    trainer, shown = Trainer(smoke(*changes), open_corpus(corpus), torch.device("cpu"), ALONE), []
    trainer.take_statistics()
    forward = trainer.learner.forward
    monkeypatch.setattr(trainer.learner, "forward", lambda inputs: shown.append(inputs) or forward(inputs))
    for step, audio in trainer.batches(range(2)):
        crops = CropSampler(trainer.config, len(trainer.corpus)).draw(step)
        assert crops.later.any()
        expected = [
            made_by_hand(
                trainer, trainer.corpus.crops(crops.clips, crops.places, trainer.config.crop_samples, at), step
            )
            for at in (None, crops.later)
        ]
        trainer.step(step, audio)
        (views, deviation), (reference, _) = expected
        torch.testing.assert_close(shown[-1].views, views, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(shown[-1].reference, reference, rtol=1e-4, atol=1e-5)
        assert (shown[-1].reference - shown[-1].views).abs().max() > 0.1
        scale = (deviation * trainer.statistics.std).item() if domain == "power" else 1.0
        assert float(shown[-1].scale) == pytest.approx(scale, rel=1e-5)


def test_the_same_run_twice_gives_the_same_weights(corpus, tmp_path):
    before = torch.get_rng_state()
    run(corpus, tmp_path / "one")
    run(corpus, tmp_path / "two")
    assert_equal(tmp_path / "one", tmp_path / "two")
    assert torch.equal(before, torch.get_rng_state())
    run(corpus, tmp_path / "three", "training.seed=1")
    assert not torch.equal(
        stored(tmp_path / "one")["encoder"]["fc.0.weight"], stored(tmp_path / "three")["encoder"]["fc.0.weight"]
    )


def test_statistics_are_those_of_the_crops(corpus, tmp_path):
    trainer = Trainer(smoke("training.statistics_crops=300"), open_corpus(corpus), torch.device("cpu"), ALONE)
    trainer.take_statistics()
    few = Trainer(smoke("training.statistics_crops=299"), open_corpus(corpus), torch.device("cpu"), ALONE)
    few.take_statistics()
    assert trainer.statistics != few.statistics
    assert trainer.statistics.mean == pytest.approx(few.statistics.mean, abs=0.1)
    run(corpus, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").statistics.mean == pytest.approx(
        few.statistics.mean, abs=1
    )


@pytest.mark.parametrize("log_every", [1, 100])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_stored(corpus, tmp_path, log_every):
    changes = ("training.checkpoint_every=1", "training.learning_rate=1e30", f"training.log_every={log_every}")
    with pytest.raises(InvalidInputError, match="the loss is nan .* the previous checkpoint is kept"):
        run(corpus, tmp_path / "run", *changes)
    assert all(torch.isfinite(tensor).all() for tensor in stored(tmp_path / "run")["encoder"].values())


@pytest.mark.parametrize("steps", [3, 4])
def test_weights_that_a_step_has_broken_are_not_stored(corpus, tmp_path, monkeypatch, steps):
    """The loss of a step is that of the weights before it: the last step's may be finite and its weights not."""
    whole = Trainer.step

    def broken(self, step, audio):
        losses = whole(self, step, audio)
        if self.steps_done == 3:
            with torch.no_grad():
                next(iter(self.learner.encoder.parameters()))[0] = float("nan")
        return losses

    monkeypatch.setattr(Trainer, "step", broken)
    changes = (f"training.steps={steps}", "training.checkpoint_every=1")
    with pytest.raises(InvalidInputError, match=r"the weight encoder\..* is not finite after step 3; the previous"):
        run(corpus, tmp_path / "run", *changes)
    assert stored(tmp_path / "run")["training"]["steps_done"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in stored(tmp_path / "run")["encoder"].values())
    monkeypatch.undo()
    run(corpus, tmp_path / "run", *changes)
    assert stored(tmp_path / "run")["training"]["steps_done"] == steps


def test_a_collapse_of_the_embeddings_is_said(corpus, tmp_path, caplog, monkeypatch):
    """The projector's BatchNorm would scale it up again."""
    whole = learner.Learner.forward

    def collapsed(self, *values):
        return replace(whole(self, *values), embedding_spread=torch.tensor(0.001))

    monkeypatch.setattr(learner.Learner, "forward", collapsed)
    run(corpus, tmp_path / "run")
    assert caplog.text.count("all clips have nearly the same embedding (spread 0.001)") == 1


def test_a_collapse_is_said(corpus, tmp_path, caplog, monkeypatch):
    whole = Trainer.__init__

    def collapsed(self, *values, **named):
        whole(self, *values, **named)
        with torch.no_grad():
            self.learner.target_projector[3].weight.zero_()
            self.learner.projector[3].weight.zero_()

    monkeypatch.setattr(Trainer, "__init__", collapsed)
    run(corpus, tmp_path / "run", "training.learning_rate=1e-9")
    assert caplog.text.count("the networks have collapsed") == 1
    monkeypatch.undo()
    caplog.clear()
    run(corpus, tmp_path / "sound")
    assert "collapsed" not in caplog.text


def test_a_corpus_that_does_not_fit_is_one_line(corpus, tmp_path):
    with pytest.raises(InvalidInputError, match=r"packed at 16000 Hz, but front_end.rate_hz is 32000; .* --rate 32000"):
        run(corpus, tmp_path / "run", "front_end.rate_hz=32000")
    with pytest.raises(InvalidInputError, match="holds 1 clip; training needs at least 2"):
        run(make_corpus(tmp_path / "one", (20_000,)), tmp_path / "run")
    with pytest.raises(NotFoundError, match="pretrain pack"):
        run(tmp_path / "none", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_clips_shorter_than_the_crop_are_trained_on(tmp_path):
    run(make_corpus(tmp_path / "corpus", (700, 900, 300, 4_000)), tmp_path / "run")
    assert torch.isfinite(load(str(tmp_path / "run" / "checkpoint.pt"), Options()).embed(noise(1, 500))).all()


def test_silence_throughout_is_one_line(tmp_path):
    folder = make_corpus(tmp_path / "corpus")
    (folder / "audio.i16").write_bytes(bytes((folder / "audio.i16").stat().st_size))
    with pytest.raises(InvalidInputError, match="silent throughout"):
        run(folder, tmp_path / "run")


def test_tensorboard_is_named_where_it_is_missing(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    options = TrainOptions(corpus=corpus, config=smoke(), out=tmp_path / "run", device="cpu", tensorboard=True)
    with pytest.raises(NotFoundError, match="pip install tensorboard"):
        train(options)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_tensorboard_reads_what_the_log_holds(corpus, tmp_path):
    options = TrainOptions(corpus=corpus, config=smoke(), out=tmp_path / "run", device="cpu", tensorboard=True)
    train(options)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    for name in ("loss", "loss_byol", "loss_difference", "target_spread"):
        found = [(str(event.step), event.value) for event in events.Scalars(name)]
        expected = [(row["step"], float(row[name])) for row in rows(tmp_path / "run")]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("device", "message"), [("tpu9", "use cpu, cuda, cuda:N"), ("mps", "not a device that this command runs on")]
)
def test_devices_that_are_not_there(corpus, tmp_path, device, message):
    with pytest.raises(InvalidInputError, match=message):
        train(TrainOptions(corpus=corpus, config=smoke(), out=tmp_path / "run", device=device))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(corpus, tmp_path):
    with pytest.raises(InvalidInputError, match=r"--device cuda:3: this machine does not have GPU 3; use cpu$"):
        train(TrainOptions(corpus=corpus, config=smoke(), out=tmp_path / "run", device="cuda:3"))


def test_reading_ahead_keeps_the_order(corpus):
    trainer = Trainer(smoke(), open_corpus(corpus), torch.device("cpu"), ALONE)
    seen = list(trainer.batches(range(2, 7)))
    assert [step for step, _ in seen] == [2, 3, 4, 5, 6]
    for step, (audio,) in seen:
        ((_, (alone,)),) = trainer.batches(range(step, step + 1))
        assert torch.equal(audio, alone)
    assert list(trainer.batches(range(3, 3))) == []


def test_out_of_memory_is_one_line(corpus, tmp_path, monkeypatch):
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(Trainer, "step", fail)
        with pytest.raises(InvalidInputError, match=r"out of memory: lower training.batch \(8 now\)"):
            run(corpus, tmp_path / "run", "training.batch=8")
    monkeypatch.undo()
    run(corpus, tmp_path / "run", "training.batch=4")  # a run without a step does not keep the folder for itself
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").card["config"]["training"]["batch"] == 4


def test_other_faults_of_torch_are_defects(corpus, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        run(corpus, tmp_path / "run")


GPU_LOSS = 1e-3
"""How far the losses of the steps after a stop may lie from those of a run that was not stopped, on a GPU."""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_run_on_a_gpu_goes_on_where_it_was(corpus, tmp_path, precision):
    """Sums there are made in no fixed order, so weights are equal but for rounding."""
    changes = (f"training.precision={precision}", "training.log_every=1")

    def on_gpu(name, steps):
        config = smoke(*changes, f"training.steps={steps}")
        train(TrainOptions(corpus=corpus, config=config, out=tmp_path / name, device="cuda"))

    on_gpu("whole", 6)
    on_gpu("stopped", 3)
    on_gpu("stopped", 6)
    one, two = ([float(row["loss"]) for row in rows(tmp_path / name)] for name in ("whole", "stopped"))
    assert two == pytest.approx(one, abs=GPU_LOSS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_learns_what_a_cpu_does(corpus, tmp_path):
    changes = ("training.learning_rate=1e-5",)
    run(corpus, tmp_path / "cpu", *changes)
    train(TrainOptions(corpus=corpus, config=smoke(*changes), out=tmp_path / "gpu", device="cuda"))
    one, two = (float(rows(tmp_path / name)[0]["loss"]) for name in ("cpu", "gpu"))
    assert one == pytest.approx(two, abs=0.05)  # dropout differs with the device
