"""From a run to an encoder alone, and to what measures it."""

import hashlib

import pytest
import torch

from benchmark.encoders.registry import load_encoder
from bgknown import __version__
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from bgknown.sounds import read_sound_list
from pretrain.checkpoint import load_checkpoint, write_encoder
from pretrain.export import export, format_model_card
from pretrain.frontend import FrontEnd, Statistics
from pretrain.networks import AudioNTT2022
from pretrain.train import TrainOptions, train
from tests.pretrain.made import make_corpus, name_files, noise, smoke


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    config = smoke("objective.lambda=0.2")
    train(TrainOptions(corpus=make_corpus(root / "corpus"), config=config, out=root / "mine", device="cpu"))
    return root / "mine"


@pytest.mark.parametrize("whole", [False, True])
def test_an_exported_encoder_is_the_run_s(run, tmp_path, whole):
    written = export(run / "checkpoint.pt" if whole else run, tmp_path / "encoder.safetensors")
    assert written.finished
    assert written.encoder.stat().st_size < (run / "checkpoint.pt").stat().st_size / 3
    first, second = (load_checkpoint(path) for path in (run / "checkpoint.pt", written.encoder))
    assert first.card == second.card
    assert first.statistics == second.statistics
    assert first.front_end == second.front_end
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(second.network.state_dict()[name], tensor)


def test_the_registry_takes_both_by_their_content(run, tmp_path):
    """The statistics travel with them: nothing is fitted to a task."""
    written = export(run, tmp_path / "encoder.safetensors")
    clips = noise(3, 9_000)
    embedded = []
    for path in (run / "checkpoint.pt", written.encoder):
        loaded = load_encoder(str(path))
        assert loaded.name == "mine"
        assert not hasattr(loaded.encoder, "fit")
        embedded.append(loaded.encoder.embed(clips))
    assert torch.equal(*embedded)


def test_the_card_tells_what_data_and_how(run, tmp_path):
    written = export(run, tmp_path / "encoder.safetensors", name="difference-aware")
    card = written.card.read_text()
    assert written.card.name == "encoder.md"
    for told in (
        "# difference-aware",
        "the difference loss, lambda 0.2",
        "5 clips, 0.00 hours, from the folders made",
        "| steps | 6 of 6 |",
        "| objective.gamma_high | 0.6 |",
        "| training.learning_rate | 0.001 |",
        f"bgknown {__version__}",
        f"torch {torch.__version__}",
        load_checkpoint(run / "checkpoint.pt").card["corpus"]["index_sha256"],
    ):
        assert told in card
    assert load_encoder(str(written.encoder)).name == "difference-aware"


def test_exporting_twice_gives_the_same_bytes(run, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        export(run, tmp_path / name / "encoder.safetensors")
    for name in ("encoder.safetensors", "encoder.md", "encoder.trained-on.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_cannot_be_exported_is_one_line(run, tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        export(tmp_path, tmp_path / "encoder.safetensors")
    with pytest.raises(InvalidInputError, match="choose a name with this suffix"):
        export(run, tmp_path / "encoder.pt")
    alone = tmp_path / "alone.safetensors"
    write_encoder(alone, AudioNTT2022(), FrontEnd(), Statistics(mean=-8, std=4))
    with pytest.raises(InvalidInputError, match="not made by pretrain train"):
        export(alone, tmp_path / "encoder.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["alone.safetensors"]


def test_a_file_that_is_no_model_card_is_not_replaced(run, tmp_path):
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(StorageError, match="README.md: exists and is not a model card"):
        export(run, tmp_path / "README.safetensors")
    assert (tmp_path / "README.md").read_text() == "# Mine\n"
    assert not (tmp_path / "README.safetensors").exists()


def test_the_card_says_which_files_were_taken(run):
    read = load_checkpoint(run / "checkpoint.pt")
    corpus = {**read.card["corpus"], "match": ["[1-3]-*", "dev/*"], "sample": 200, "seed": 7, "broken": 3}
    text = format_model_card(read, {**read.card, "corpus": corpus}, "0" * 64, "encoder.safetensors")
    for told in (
        "of the files that match \\[1-3\\]-\\* or dev/\\*",
        "200 files chosen at random with seed 7",
        "left out: 3.",
    ):
        assert told in text


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A run on a corpus whose files are named like those of Freesound corpora."""
    root = tmp_path_factory.mktemp("named")
    folder = make_corpus(root / "corpus")
    name_files(folder, ["a/1-100032-A-0.wav", "64760.wav", "7061-6-0-0.wav", "door.wav", "64760.flac"])
    train(TrainOptions(corpus=folder, config=smoke(), out=root / "mine", device="cpu"))
    return root / "mine"


def test_checkpoint_and_export_list_the_sounds_of_the_corpus(named, tmp_path):
    written = export(named, tmp_path / "encoder.safetensors")
    lines = ["7061", "64760", "100032", *(f"{number:016x}" for number in (1, 2, 3, 4, 5))]
    for path in (named / "checkpoint.pt", written.encoder):
        assert load_checkpoint(path).trained_on.to_lines() == lines
        assert load_encoder(str(path)).trained_on.to_lines() == lines
    listed = written.trained_on
    assert listed.name == "encoder.trained-on.txt"
    assert listed.read_text().splitlines()[0].startswith("# Training data of mine: ")
    assert read_sound_list(listed).to_lines() == lines
    card = written.card.read_text()
    assert "3 Freesound ids (found in file names) and 5 different file hashes are listed" in card
    assert f"encoder.trained-on.txt, sha256 {hashlib.sha256(listed.read_bytes()).hexdigest()}" in card


def test_a_checkpoint_without_a_list_is_of_unknown_data(run, tmp_path):
    content = torch.load(run / "checkpoint.pt", weights_only=True)
    assert content.pop("trained_on")
    torch.save(content, tmp_path / "old.pt")
    assert load_encoder(str(tmp_path / "old.pt")).trained_on is None
    written = export(tmp_path / "old.pt", tmp_path / "old.safetensors")
    assert written.trained_on is None
    assert not (tmp_path / "old.trained-on.txt").exists()
    assert load_encoder(str(written.encoder)).trained_on is None
    assert "earlier version, which did not list" in written.card.read_text()


def test_a_damaged_list_is_one_line(run, tmp_path):
    content = torch.load(run / "checkpoint.pt", weights_only=True)
    torch.save({**content, "trained_on": {"freesound_ids": "x"}}, tmp_path / "bad.pt")
    with pytest.raises(InvalidInputError, match=r"bad\.pt: trained_on: freesound_ids is not a list of numbers"):
        load_checkpoint(tmp_path / "bad.pt")


def test_a_file_that_is_no_list_is_not_replaced(run, tmp_path):
    (tmp_path / "encoder.trained-on.txt").write_text("mine\n")
    with pytest.raises(StorageError, match="exists and is not a list of training data"):
        export(run, tmp_path / "encoder.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.trained-on.txt"]
