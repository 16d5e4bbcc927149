"""Training that starts from an encoder in a file."""

import hashlib

import pytest
import torch

from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from pretrain.checkpoint import load_checkpoint
from pretrain.export import export
from pretrain.train import TrainOptions, train
from tests.pretrain.made import make_corpus, name_files, published_2020, smoke
from tests.pretrain.runs import assert_equal, stored

PUBLISHED = (
    *("network.name=AudioNTT2020", "network.d=32", "front_end.n_mels=64", "training.frames=32", "training.batch=4"),
    *("front_end.n_fft=1024", "front_end.window=1024", "front_end.f_min=60", "front_end.f_max=7800"),
)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run to start from."""
    root = tmp_path_factory.mktemp("first")
    name_files(make_corpus(root / "corpus", seed=1), ["11.wav", "12.wav", "13.wav", "14.wav", "15.wav"])
    train(TrainOptions(corpus=root / "corpus", config=smoke("training.steps=2"), out=root / "run", device="cpu"))
    return root / "run"


@pytest.fixture
def corpus(tmp_path):
    folder = make_corpus(tmp_path / "corpus")
    name_files(folder, ["15.wav", "16.wav", "17.wav", "18.wav", "19.wav"])
    return folder


def begin(corpus, out, init, *changes):
    """A run of one step at a vanishing learning rate, so that its weights are those that it started from."""
    still = ("training.steps=1", "training.learning_rate=1e-30")
    train(TrainOptions(corpus=corpus, config=smoke(*still, *changes), out=out, init=init, device="cpu"))
    return stored(out)


@pytest.mark.parametrize("exported", [False, True])
def test_both_encoders_start_from_the_file(first, corpus, tmp_path, exported):
    path = export(first, tmp_path / "first.safetensors").encoder if exported else first / "checkpoint.pt"
    content = begin(corpus, tmp_path / "run", path)
    weights = load_checkpoint(path).network.state_dict()
    for name in ("features.4.weight", "fc.3.bias"):
        for network in ("encoder", "target_encoder"):
            assert torch.equal(content["training"]["learner"][f"{network}.{name}"], weights[name])
    told = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert content["card"]["init"] == told


def test_what_the_file_was_trained_on_is_part_of_what_the_run_is(first, corpus, tmp_path):
    begin(corpus, tmp_path / "run", first / "checkpoint.pt")
    listed = load_checkpoint(tmp_path / "run" / "checkpoint.pt").trained_on
    assert listed.freesound_ids.tolist() == list(range(11, 20))
    written = export(tmp_path / "run", tmp_path / "encoder.safetensors")
    assert "| started from | checkpoint.pt, sha256 " in written.card.read_text()


def test_published_weights_leave_it_unknown_what_a_run_is_trained_on(corpus, tmp_path):
    path = tmp_path / "published.pth"
    torch.save(published_2020(32), path)
    content = begin(corpus, tmp_path / "run", path, *PUBLISHED)
    assert torch.equal(content["encoder"]["fc.3.weight"], published_2020(32)["fc.3.weight"])
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").trained_on is None


def test_what_does_not_fit_is_refused_with_the_options_that_would(first, corpus, tmp_path):
    path = tmp_path / "published.pth"
    torch.save(published_2020(32), path)
    with pytest.raises(InvalidInputError) as caught:
        begin(corpus, tmp_path / "run", path)
    message = str(caught.value)
    assert "network.name is AudioNTT2020 in the file but AudioNTT2022 here; network.d is 32 in the file" in message
    assert "--set network.name=AudioNTT2020 --set network.d=32 --set front_end.n_fft=1024" in message
    assert "\n" not in message
    with pytest.raises(InvalidInputError, match="network.hidden is 64 in the file but 32 here; add --set network.hid"):
        begin(corpus, tmp_path / "run", first / "checkpoint.pt", "network.hidden=32")
    with pytest.raises(NotFoundError, match="none.pth: no such file"):
        begin(corpus, tmp_path / "run", tmp_path / "none.pth")
    assert not (tmp_path / "run").exists()


def test_the_options_in_the_message_are_enough(corpus, tmp_path):
    path = tmp_path / "published.pth"
    torch.save(published_2020(32), path)
    with pytest.raises(InvalidInputError) as caught:
        begin(corpus, tmp_path / "run", path, "training.frames=48")
    changes = [part.split(" ")[0] for part in str(caught.value).split("--set ")[1:]]
    begin(corpus, tmp_path / "run", path, "training.frames=48", *changes)


def test_a_resumed_run_must_have_started_from_the_same_file(first, corpus, tmp_path):
    path = first / "checkpoint.pt"

    def go(out, init, steps):
        config = smoke(f"training.steps={steps}")
        train(TrainOptions(corpus=corpus, config=config, out=tmp_path / out, init=init, device="cpu"))

    go("whole", path, 4)
    go("parts", path, 2)
    with pytest.raises(StorageError, match=r"started from checkpoint.pt in the folder but from the seed was requested"):
        go("parts", None, 4)
    go("parts", path, 4)
    assert_equal(tmp_path / "whole", tmp_path / "parts")
    go("plain", None, 2)
    with pytest.raises(StorageError, match=r"started from the seed in the folder but from checkpoint.pt was requested"):
        go("plain", path, 4)
