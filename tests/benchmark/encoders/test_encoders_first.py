"""What is noticed of encoders before anything is measured, and what is said of their statistics."""

import json
import logging

import numpy as np
import pytest
import torch

from benchmark import run as running
from benchmark.embedding.clips import Clip
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.embedding.embed_files import embed_files
from benchmark.encoders import loading as interface
from benchmark.encoders.loading import REPEATED, check_repeatable
from benchmark.results.rows import FILE, read_rows
from bgknown.errors import InvalidInputError
from tests.benchmark.made_encoders import Bands, Fitted, loaded
from tests.benchmark.test_run import ENCODER, LINEAR, place, run
from tests.conftest import noise, write_wav

__all__ = ["place"]

MORE = """

class Dropout(Tones):
    def embed(self, audio):
        return torch.nn.functional.dropout(super().embed(audio), 0.1)


class Stats(Tones):
    def fit(self, batches):
        self.level = sum(super(Stats, self).embed(batch).sum(dim=0) for batch in batches)

    def embed(self, audio):
        return torch.nn.functional.dropout(super().embed(audio) / self.level, 0.1)


class Other(Tones):
    configuration = {"other": True}


class Anew(Tones):
    def __init__(self):
        self.module = torch.nn.Linear(2, 2)
        self.name = "anew"

    def parameters(self):
        return self.module.parameters()


class Failing(Tones):
    name = "failing"

    def embed(self, audio):
        raise RuntimeError("no such kernel")
"""


@pytest.fixture
def more(place, tmp_path):
    (tmp_path / "mine.py").write_text(ENCODER + MORE)
    return place


@pytest.mark.parametrize("encoder", ["Dropout", "Stats"])
def test_a_nondeterministic_encoder_is_refused_by_run(more, tmp_path, encoder):
    result = run("run", "--encoder", f"mine.py:{encoder}", "--trust-code", *more, status=1)
    assert "encoder tones gives different embeddings from call to call: those" in result.stderr
    assert "put it into evaluation mode (eval())" in result.stderr
    assert not (tmp_path / "results" / FILE).exists()
    run("embed", "--encoder", f"mine.py:{encoder}", "--trust-code", "--out", "array", more[1][8:] + "/audio", status=1)
    assert not (tmp_path / "array").exists()


@pytest.mark.parametrize(
    ("third", "message"),
    [
        ("mine.py:Failing", "encoder failing: fails on 5 s of noise: RuntimeError: no such kernel"),
        ("mine.py:Dropout", "gives different embeddings from call to call"),
        ("mine.py:NotANumber", "NaN or infinite values"),
        ("mine.py:Nowhere", "no 'Nowhere' in it"),
        ("nowhere.pt", "no such file"),
        ("mine.py:Other", "are both called 'tones', but are different encoders"),
    ],
)
def test_a_bad_third_encoder_is_noticed_before_the_first_is_measured(more, tmp_path, third, message):
    encoders = ["--encoder", "mine.py:Tones", "--encoder", "melpower", "--encoder", third]
    result = run("run", *encoders, "--trust-code", *more, status=1)
    assert message in result.stderr
    assert not (tmp_path / "results").exists()


def test_one_encoder_is_in_memory_at_a_time_and_each_is_measured(more, monkeypatch):
    asked = []
    load = running.load_encoder
    monkeypatch.setattr(running, "load_encoder", lambda spec, **given: asked.append(spec) or load(spec, **given))
    encoders = ["mine.py:Tones", "melpower", "mine.py:Tones"]
    run("run", *(part for name in encoders for part in ("--encoder", name)), "--trust-code", *LINEAR, *more)
    assert asked == [*encoders, "mine.py:Tones", "melpower"]
    assert {row.encoder for row in read_rows(running.Path("results") / FILE)} == {"tones", "melpower"}


def test_the_same_answer_is_one_up_to_rounding():
    first = np.array([[1.0, -100.0], [0.001, 0.0]], dtype=np.float32)
    check_repeatable("x", first, first * (1 + 0.9 * REPEATED["float32"]), "float32")
    with pytest.raises(InvalidInputError, match="differ by 0.002 of their largest value"):
        check_repeatable("x", first, first + np.float32([[0, 0], [2e-6, 0]]), "float32")
    check_repeatable("x", first, first + np.float32([[0, 0], [2e-6, 0]]), "bfloat16")
    check_repeatable("x", np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32), "float32")


def test_trying_an_encoder_does_not_change_global_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    interface.try_out(loaded(), 1.0)
    interface.try_out(loaded(Fitted()), 1.0)
    assert torch.equal(torch.get_rng_state(), before)


class Drawing(Bands):
    def embed(self, audio):
        return super().embed(audio) * torch.rand(len(audio), 1)


def test_the_library_compares_on_request(tmp_path):
    write_wav(tmp_path / "a.wav", noise(0.1, 0), 16_000)
    clips, settings = [Clip(path=tmp_path / "a.wav")], EmbedSettings(cache=tmp_path / "cache")
    with pytest.raises(InvalidInputError, match="encoder bands gives different embeddings from call to call"):
        embed_clips(loaded(Drawing()), clips, settings, twice=True)
    assert embed_clips(loaded(), clips, settings, twice=True).shape == (1, 24)


def test_embed_says_where_statistics_came_from(tmp_path, caplog):
    for name in "cab":
        write_wav(tmp_path / "audio" / f"{name}.wav", noise(0.1, ord(name)), 16_000)
    settings = EmbedSettings(cache=tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        embed_files(loaded(Fitted()), [tmp_path / "audio"], tmp_path / "out", settings, duration_s=None)
    first = (tmp_path / "audio" / "a.wav").as_posix()
    assert f"they were taken from the 3 clips embedded here (first: {first})" in caplog.text
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert (about["encoder"], about["weights_sha256"], about["clips"]) == ("fitted", "0" * 64, 3)
    statistics = about["statistics"]
    assert (statistics["source"], statistics["clips"], statistics["first"]) == ("the clips embedded here", 3, first)
    caplog.clear()
    embed_files(loaded(Fitted()), [tmp_path / "audio" / "b.wav"], tmp_path / "out", settings, duration_s=None)
    other = json.loads((tmp_path / "out" / "about.json").read_text())["statistics"]
    assert other["clips"] == 1
    assert other["sha256"] != statistics["sha256"]
    caplog.clear()
    embed_files(loaded(), [tmp_path / "audio"], tmp_path / "out", settings, duration_s=0.1)
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert (about["statistics"], about["duration_s"]) == (None, 0.1)
    assert caplog.text == ""
