"""Encoders as HEAR's tools meet them."""

import json
import re

import pytest
import torch

from benchmark import hear
from benchmark.encoders.registry import load_encoder
from bgknown.errors import InvalidInputError
from tests.benchmark import kinds as made

AUDIO = 0.1 * torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0))


def test_embeddings_are_the_encoders_own():
    model = hear.load_model("logmel?n_mels=32")
    encoder = load_encoder("logmel?n_mels=32").encoder
    assert (model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size) == (16_000, 64, 32)
    assert torch.equal(hear.get_scene_embeddings(AUDIO, model), encoder.embed(AUDIO))
    frames, times_ms = hear.get_timestamp_embeddings(AUDIO, model)
    assert torch.equal(frames, encoder.frames(AUDIO)[0])
    assert times_ms[0, :3].tolist() == [0.0, 10.0, 20.0]


def test_no_weights_are_the_baseline():
    assert hear.load_model().encoder.name == "logmel"


@pytest.mark.parametrize("path", ["logmel", "", "logmel?hop=320"])
def test_options_of_the_runner_are_options_of_the_encoder(path):
    model = hear.load_model(path, n_mels=32, f_max=7000.0)
    assert model.encoder.options.n_mels == 32
    assert model.encoder.options.f_max == 7000.0
    assert model.encoder.options.hop == (320 if "hop" in path else 160)
    with pytest.raises(InvalidInputError, match="did you mean n_mels"):
        hear.load_model(path, n_mel=32)


def test_the_documented_command_names_an_encoder_as_the_runner_passes_it():
    """The runner hands ``--model-options`` over as keywords; its ``--model`` must be a path that exists."""
    command = next(part for part in hear.__doc__.split("\n\n") if "heareval.embeddings.runner" in part)
    assert "--model " not in command.partition("hear-validator")[0]
    (documented,) = re.findall(r"--model-options '(.*)'", command)
    (argument,) = json.loads(documented)
    model = hear.load_model(**{argument: "logmel", "n_mels": 32})
    assert model.encoder.options.n_mels == 32


def test_the_model_moves_its_encoder_and_audio_follows():
    class Recording:
        name, rate_hz, embedding_size = "recording", 16_000, 1

        def __init__(self):
            self.moves = []

        def to(self, device):
            self.moves.append(device)

        def embed(self, audio):
            assert audio.dtype == torch.float32
            return audio.mean(dim=1, keepdim=True)

    encoder = Recording()
    model = hear.Model(encoder)
    assert model.to("cpu") is model
    assert encoder.moves == ["cpu"]
    assert hear.get_scene_embeddings(AUDIO.double(), model).shape == (3, 1)


def test_programs_need_the_variable(tmp_path, monkeypatch):
    monkeypatch.delenv(hear.TRUST, raising=False)
    spec = made.torchscript(tmp_path)
    with pytest.raises(InvalidInputError, match="runs arbitrary code"):
        hear.load_model(spec)
    monkeypatch.setenv(hear.TRUST, "0")
    with pytest.raises(InvalidInputError, match="runs arbitrary code"):
        hear.load_model(spec)
    monkeypatch.setenv(hear.TRUST, "1")
    assert hear.get_scene_embeddings(AUDIO, hear.load_model(spec)).shape == (3, made.SIZE)


def test_output_that_breaks_the_contract_is_refused():
    class Empty:
        name, rate_hz, embedding_size = "empty", 16_000, 2

        def embed(self, audio):
            return torch.full((len(audio), 2), torch.nan)

    with pytest.raises(InvalidInputError, match="encoder empty: embed returned NaN or infinite values for 3 of 3"):
        hear.get_scene_embeddings(AUDIO, hear.Model(Empty()))
