"""From a run to an encoder alone, and to what measures it."""

import pytest
import torch

from benchmark.encoders.registry import load_encoder
from bgknown import __version__
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from pretrain.checkpoint import load_checkpoint, write_encoder
from pretrain.export import export, format_model_card
from pretrain.frontend import FrontEnd, Statistics
from pretrain.networks import AudioNTT2022
from pretrain.train import TrainOptions, train
from tests.pretrain.made import make_corpus, noise, smoke


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
    for name in ("encoder.safetensors", "encoder.md"):
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
