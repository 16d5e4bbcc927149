"""A training step on another device, with a second device standing in: equal to the CPU's, and no tensor left there."""

import pytest
import torch

from pretrain import learner
from pretrain.corpus import open_corpus
from pretrain.ranks import ALONE
from pretrain.trainer import Trainer
from tests.pretrain.made import make_corpus, smoke
from tests.pretrain.runs import tensors
from tests.second_device import FarTensor, Generator, SecondDevice, check_every_place, pause

SMALL = (
    "training.precision=float32",
    "training.batch=4",
    "training.frames=16",
    "network.hidden=16",
    "objective.head_hidden=16",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return open_corpus(make_corpus(tmp_path_factory.mktemp("made") / "corpus"))


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    """Networks are built before they are moved, as ever; generators of a device do not exist without it."""

    def build(*given):
        with pause():
            return learner.Learner(*given)

    monkeypatch.setattr("pretrain.trainer.Learner", build)
    monkeypatch.setattr(torch, "Generator", Generator)


def train(corpus, device, *changes, steps=2):
    """Losses, and all that a resumed run needs."""
    trainer = Trainer(smoke(*SMALL, *changes), corpus, torch.device(device), ALONE)
    trainer.take_statistics()
    losses = [trainer.step(step, audio).stack().tolist() for step, audio in trainer.batches(range(steps))]
    return losses, tensors(trainer.state_dict())


CHANGES = {
    "byol-a": ("objective.lambda=0",),
    "power, in parts": ("objective.mix_domain=power", "training.accumulate=2"),
    "shifted": ("objective.reference_shift_s=0.2",),
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_step_is_the_same_on_another_device(corpus, changes):
    with SecondDevice():
        losses, state = train(corpus, "meta", *changes)
    cpu_losses, cpu_state = train(corpus, "cpu", *changes)
    for found, wanted in zip(losses, cpu_losses, strict=True):  # torch takes other convolutions for a CPU
        assert found == pytest.approx(wanted, rel=1e-4, nan_ok=True)
    far = {place: value for place, value in state.items() if isinstance(value, FarTensor)}
    assert len(far) > 30
    assert {place for place, value in state.items() if isinstance(value, torch.Tensor)} == set(far)
    assert torch.equal(far["/memory/clips"].near, cpu_state["/memory/clips"])
    for place, value in far.items():
        torch.testing.assert_close(value.near, cpu_state[place], rtol=1e-3, atol=5e-4)


def test_a_step_notices_whatever_is_left_on_the_cpu(corpus):
    # two values that only other processes need there, and an index
    harmless = ("mean, std = self.ranks.first(", "places = (self._next")
    places = check_every_place(lambda: train(corpus, "meta", *CHANGES["shifted"], steps=1), harmless=harmless)
    assert {place.split(":")[0] for place in places} > {"pretrain/trainer.py", "pretrain/views.py", "pretrain/draws.py"}
