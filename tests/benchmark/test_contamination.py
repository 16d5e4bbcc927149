"""Encoders that were trained on test clips: found by Freesound ids and file hashes, and reported in every row."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.contamination import check_training_data
from benchmark.encoders.registry import load_encoder
from benchmark.results.rows import read_rows
from benchmark.tasks import prepare
from benchmark.tasks.contract import TaskOptions
from bgknown.errors import InvalidInputError
from bgknown.mixtures.dataset import open_dataset
from bgknown.sounds import SoundList, make_sound_list
from pretrain.pack import PackOptions, pack
from pretrain.train import TrainOptions, train
from tests.benchmark.corpora import make_esc50, sound
from tests.pretrain.made import smoke

ENCODER = """
import torch

class Level:
    name, rate_hz, embedding_size = "level", 8000, 4

    def embed(self, audio):
        return torch.stack([part.square().mean(dim=1) for part in audio.tensor_split(4, dim=1)], dim=1)


class Known(Level):
    trained_on = ["4-400-A-0.wav", "a door"]


class Untrained(Level):
    trained_on = ()


class Module(torch.nn.Module):
    rate_hz = 8000
    trained_on = {"400"}

    def forward(self, audio):
        return audio.square().mean(dim=1, keepdim=True)


class Odd(Level):
    trained_on = "4-400-A-0.wav"


class Numbers(Level):
    trained_on = [400]
"""


@pytest.fixture(scope="module")
def data(built):
    corpora, root = built
    return prepare("bgknown", root, TaskOptions(cache=root.parent, data={"esc50": corpora.esc50}))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(data, *entries):
    return check_training_data(data, make_sound_list(entries), cache=data.root.parent)


def backgrounds_of_test_clips(root):
    table = open_dataset(root).table
    return [Path(file).name for file in table[table["split"] == "test"]["fsd50k_file"]]


def test_sources_and_backgrounds_of_test_clips_are_counted(data, built):
    files = backgrounds_of_test_clips(built[1])
    first = files.count(files[0])
    assert check(data, "400") == "the encoder was trained on the source of 1 of 4 test clips"
    assert check(data, "4-400-A-0.wav", "5-501-A-1.wav") == "the encoder was trained on the source of 2 of 4 test clips"
    assert check(data, files[0]) == f"the encoder was trained on the background of {first} of 4 test clips"
    assert check(data, "400", files[0]) == (
        f"the encoder was trained on the source of 1 and the background of {first} of 4 test clips"
    )


def test_training_clips_of_the_task_are_not_test_clips(data):
    assert check(data, "100", "1-101-A-1.wav", "999999") == "the encoder was trained on none of 4 test clips"


def test_files_are_found_by_their_content(data, built):
    corpora, root = built
    clean = sha256(corpora.clip("4-400-A-0"))
    assert check(data, clean) == "the encoder was trained on the source of 1 of 4 test clips"
    assert check(data, clean[:16]) == "the encoder was trained on the source of 1 of 4 test clips"
    table = open_dataset(root).table
    mixture = table[table["split"] == "test"].iloc[0]
    assert check(data, mixture["mix_sha256"]) == "the encoder was trained on the source of 1 of 4 test clips"
    assert check(data, mixture["a_sha256"]) == "the encoder was trained on the background of 1 of 4 test clips"


def test_unknown_untrained_and_not_comparable_are_told_apart(data, tmp_path):
    assert check_training_data(data, None, cache=data.root.parent) == "training data of the encoder unknown"
    assert check_training_data(data, SoundList(), cache=data.root.parent) == ""
    assert check(data, "a door") == "training data of the encoder not comparable with this task"
    for number, label in enumerate(["up", "up", "up", "down", "down", "down"]):
        sound(tmp_path / f"{label}{number}.wav", 300 + 500 * (label == "up"))
    rows = [
        f"{label}{n}.wav,{label},{split}"
        for n, (label, split) in enumerate(
            [("up", "train"), ("up", "train"), ("up", "test"), ("down", "train"), ("down", "train"), ("down", "test")]
        )
    ]
    (tmp_path / "mine.csv").write_text("file,label,split\n" + "\n".join(rows) + "\n")
    own = prepare(str(tmp_path / "mine.csv"), tmp_path, TaskOptions(cache=tmp_path))
    assert check(own, "400") == "training data of the encoder not comparable with this task"
    assert check(own, sha256(tmp_path / "up0.wav")) == "the encoder was trained on none of 2 test clips"
    assert check(own, sha256(tmp_path / "up2.wav")) == "the encoder was trained on the source of 1 of 2 test clips"


def test_all_clips_of_a_task_with_folds_are_test_clips(tmp_path):
    make_esc50(tmp_path / "ESC-50")
    data = prepare("esc50", tmp_path / "ESC-50", TaskOptions(cache=tmp_path))
    assert check(data, "1001", "2011.wav") == "the encoder was trained on the source of 2 of 30 test clips"


@pytest.fixture
def place(tmp_path, built, monkeypatch):
    """A folder with encoders in it, and the options of a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BGKNOWN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("benchmark.record.find_commit", lambda: "0123abc")  # finished runs are kept
    (tmp_path / "mine.py").write_text(ENCODER)
    return ["--data", f"bgknown={built[1]}", "--out", "results", "--device", "cpu", "--protocol", "linear"]


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def leak_checks(encoder):
    return {row.leak_check for row in read_rows(Path("results")) if row.encoder == encoder}


def test_an_encoder_trained_on_test_clips_is_reported(place, built, tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.train.time_step", lambda *_: None)
    corpora, _ = built
    (tmp_path / "audio").mkdir()
    for clip in ("1-100-A-0", "4-400-A-0", "5-501-A-1"):
        shutil.copy(corpora.clip(clip), tmp_path / "audio")
    pack(PackOptions(audio=(tmp_path / "audio",), out=tmp_path / "corpus", jobs=1))
    train(TrainOptions(corpus=tmp_path / "corpus", config=smoke(), out=tmp_path / "trained", device="cpu"))
    found = "ok; the encoder was trained on the source of 2 of 4 test clips"
    output = run("run", "--encoder", "trained/checkpoint.pt", *place)
    assert f"leak check: {found}\n" in output
    assert leak_checks("trained") == {found}
    board = run("leaderboard", "--out", "results")
    assert "trained was trained on the source of 2 of 4 test clips of bgknown" in board


def test_a_list_is_compared_and_a_changed_one_is_noticed(place, tmp_path):
    level = ["run", "--encoder", "mine.py:Level", "--trust-code", *place]
    assert "leak check: ok; training data of the encoder unknown\n" in run(*level)
    assert "training data of the encoder unknown: level" in run("leaderboard", "--out", "results")
    assert "already measured" in run(*level)
    (tmp_path / "list.txt").write_text("400\n")
    listed = [*level, "--trained-on", "list.txt"]
    output = run(*listed)
    assert "already measured" not in output
    assert leak_checks("level") == {"ok; the encoder was trained on the source of 1 of 4 test clips"}
    output = run(*listed)
    assert "already measured" in output
    assert "leak check: ok; the encoder was trained on the source of 1 of 4 test clips\n" in output
    (tmp_path / "list.txt").write_text("100\n")
    assert "already measured" not in run(*listed)
    assert leak_checks("level") == {"ok; the encoder was trained on none of 4 test clips"}
    assert "trained on" not in run("leaderboard", "--out", "results")
    (config,) = (json.loads(path.read_text()) for path in Path("results/runs").glob("*/config.json"))
    assert config["trained_on_sha256"] == make_sound_list(["100"]).sha256


def test_a_list_adds_to_what_an_encoder_says(place, tmp_path):
    (tmp_path / "list.txt").write_text("5-501-A-1.wav\n")
    known = load_encoder("mine.py:Known", trust_code=True).trained_on
    assert (known.to_lines(), known.unidentified) == (["400"], 1)
    run("run", "--encoder", "mine.py:Known", "--trust-code", "--trained-on", "list.txt", *place)
    assert leak_checks("level") == {"ok; the encoder was trained on the source of 2 of 4 test clips"}
    assert load_encoder("mine.py:Module", trust_code=True).trained_on.to_lines() == ["400"]
    assert load_encoder("mine.py:Untrained", trust_code=True).trained_on.is_empty
    assert load_encoder("mine.py:Level", trust_code=True).trained_on is None


def test_what_an_encoder_was_trained_on_is_no_part_of_its_key(place):
    keys = {load_encoder(f"mine.py:{name}", trust_code=True).key for name in ("Level", "Known")}
    assert len(keys) == 1


@pytest.mark.parametrize("name", ["Odd", "Numbers"])
def test_a_faulty_trained_on_is_one_line(place, name):
    with pytest.raises(InvalidInputError, match="trained_on is .* must be a collection of texts"):
        load_encoder(f"mine.py:{name}", trust_code=True)


def test_a_list_is_for_one_encoder(place, tmp_path):
    (tmp_path / "list.txt").write_text("400\n")
    two = ["--encoder", "logmel", "--encoder", "melpower"]
    assert "--trained-on list.txt is for one encoder, but 2 are given" in run(
        "run", *two, "--trained-on", "list.txt", *place, status=1
    )
    assert "nothing.txt: no such file" in run("run", *two[:2], "--trained-on", "nothing.txt", *place, status=1)


@pytest.mark.parametrize("spec", ["logmel", "melpower", "audiontt2022-untrained"])
def test_baselines_were_not_trained(spec):
    assert load_encoder(spec).trained_on.is_empty
