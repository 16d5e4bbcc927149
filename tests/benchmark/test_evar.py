"""Classes of EVAR's interface."""

import json
from pathlib import Path

import pytest
import torch

from benchmark.encoder import FittedEncoder, FrameEncoder
from benchmark.encoders import evar
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark.encoders import noise, write

AR_BASE = """
import torch

class BaseAudioRepr(torch.nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = type(cfg)(cfg.copy())

    def precompute(self, device, data_loader):
        pass

    def encode_frames(self, batch_audio):
        raise NotImplementedError

    def forward(self, batch_audio):
        raise NotImplementedError
"""

AR_MADE = """
import torch
from evar.ar_base import BaseAudioRepr

class AR_Mean(BaseAudioRepr):
    def __init__(self, cfg):
        super().__init__(cfg)
        self.layer = torch.nn.Linear(cfg.n_fft, cfg.get("size", 4))
        if cfg.weight_file:
            self.load_state_dict(torch.load(cfg.weight_file, weights_only=True))

    def forward(self, batch_audio):
        return self.layer(batch_audio[:, : self.cfg.n_fft])

class AR_Normed(AR_Mean):
    def __init__(self, cfg):
        super().__init__(cfg)
        self.norm = torch.nn.BatchNorm1d(4)

    def forward(self, batch_audio):
        return self.norm(super().forward(batch_audio))

class AR_Frames(BaseAudioRepr):
    def precompute(self, device, data_loader):
        self.mean = torch.stack([audio.to(device).mean() for audio, labels in data_loader if len(labels) == len(audio)])

    def encode_frames(self, batch_audio):
        batch_audio = batch_audio - self.mean.mean()
        return batch_audio.reshape(len(batch_audio), -1, self.cfg.feature_d).mT

    def forward(self, batch_audio):
        return self.encode_frames(batch_audio).mean(dim=2)

class AR_Flat(AR_Frames):
    def encode_frames(self, batch_audio):
        return batch_audio

class AR_Asks(AR_Mean):
    def __init__(self, cfg):
        cfg.runtime = 3
        assert cfg["runtime"] == 3 and cfg.nested.depth == 2 and not hasattr(cfg, "absent")
        assert getattr(cfg, "absent", 5) == 5 and cfg.copy().nested.depth == 2
        super().__init__(cfg)

def make(cfg):
    return AR_Mean(cfg)
"""


@pytest.fixture
def ar(folder):
    """EVAR's package with classes of our own; loads one of them."""
    write(folder / "evar" / "__init__.py", "")
    write(folder / "evar" / "ar_base.py", AR_BASE)
    write(folder / "evar" / "ar_made.py", AR_MADE)
    write(
        folder / "made.yaml",
        "sample_rate: 16000\nfeature_d: 4\nn_fft: 8\nweight_file: ''\nnested:\n  depth: 2\nday: 2026-01-01\n",
    )

    def load(name, **options):
        return evar.load(f"evar.ar_made.{name}", evar.Options(**{"config": "made.yaml", **options}))

    return load


def test_evar_classes_embed_with_their_configuration(ar):
    encoder = ar("AR_Mean")
    audio = noise(3, 100)
    assert torch.equal(encoder.embed(audio), encoder.model.layer(audio[:, :8]).detach())
    assert (encoder.name, encoder.rate_hz, encoder.embedding_size) == ("AR_Mean", 16_000, 4)
    assert not isinstance(encoder, FittedEncoder)
    assert not isinstance(encoder, FrameEncoder)
    assert encoder.configuration["evar"]["n_fft"] == 8
    assert json.loads(json.dumps(encoder.configuration)) == encoder.configuration
    assert ar("AR_Mean", sample_rate=32_000).rate_hz == 32_000


def test_evar_configurations_are_what_evars_classes_expect(ar):
    assert ar("AR_Asks").embedding_size == 4


def test_evar_weights_are_told_by_their_content_and_not_by_their_place(ar, folder):
    first = ar("AR_Mean").model.state_dict()
    for name in ("a.pth", "b.pth"):
        torch.save(first, folder / name)
    a, b = ar("AR_Mean", weight_file="a.pth"), ar("AR_Mean", weight_file="b.pth")
    assert a.configuration == b.configuration
    assert torch.equal(a.embed(noise(2, 100)), b.embed(noise(2, 100)))
    options = evar.Options(config="made.yaml", weight_file="a.pth")
    assert evar.weights_of("evar.ar_made.AR_Mean", options) == [Path("a.pth")]
    assert evar.weights_of("evar.ar_made.AR_Mean", evar.Options(config="made.yaml")) == []


def test_evar_sizes_are_measured_without_training_anything(ar, folder):
    write(folder / "sizeless.json", json.dumps({"sample_rate": 16_000, "n_fft": 8}))
    encoder = ar("AR_Normed", config="sizeless.json")
    assert encoder.embedding_size == 4
    assert int(encoder.model.norm.num_batches_tracked) == 0
    assert not encoder.model.training


def test_evar_statistics_are_those_of_the_training_audio(ar):
    encoder = ar("AR_Frames")
    assert isinstance(encoder, FittedEncoder)
    audio = noise(2, 400)
    for call in (encoder.embed, encoder.frames):
        with pytest.raises(InvalidInputError, match="AR_Frames: has no statistics yet; call fit"):
            call(audio)
    for offset in (0.25, 0.75):
        encoder.fit(iter([torch.full((3, 50), offset), torch.full((2, 50), offset + 1)]))
        expected = (audio - offset - 0.5).reshape(2, 100, 4)
        assert torch.allclose(encoder.embed(audio), expected.mean(dim=1), atol=1e-6)
        frames, times_ms = encoder.frames(audio)
        assert torch.allclose(frames, expected, atol=1e-6)
        assert times_ms[1].tolist() == pytest.approx([0.125 + 0.25 * place for place in range(100)])


def test_evar_frames_of_another_shape_are_refused(ar):
    encoder = ar("AR_Flat")
    encoder.fit([noise(1, 8)])
    message = r"AR_Flat: encode_frames returned \[2, 400\] .* must be \[2, D, T\]"
    with pytest.raises(InvalidInputError, match=message):
        encoder.frames(noise(2, 400))


def test_evar_statistics_that_fail_are_one_line(ar):
    with pytest.raises(InvalidInputError, match=r"AR_Frames: precompute fails: RuntimeError.*ar_made\.py, line \d+"):
        ar("AR_Frames").fit([])


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        ("evar.ar_made.AR_Mean", {}, InvalidInputError, "asks for n_fft, which the configuration lacks; add it to"),
        ("evar.ar_made.AR_Frames", {}, InvalidInputError, r"no sample_rate; give it .* as \?sample_rate=16000"),
        ("evar.ar_made.AR_Main", {"config": "made.yaml"}, NotFoundError, "no 'AR_Main' in it; did you mean AR_Mean?"),
        ("evar.ar_made.make", {"config": "made.yaml"}, InvalidInputError, "is a function, must be a class"),
        ("evar.ar_absent.AR", {"config": "made.yaml"}, NotFoundError, r"no module 'evar\.ar_absent'"),
        ("evar.ar_made.AR_Mean", {"config": "a.yaml"}, NotFoundError, r"a\.yaml: no such file"),
        ("evar.ar_made.AR_Mean", {"config": "list.yaml"}, InvalidInputError, "holds a list, must hold fields"),
        ("evar.ar_made.AR_Mean", {"config": "bad.yaml"}, InvalidInputError, "not YAML"),
        ("evar.ar_made.AR_Mean", {"config": "bad.json"}, InvalidInputError, "not JSON"),
        ("evar.ar_made.AR_Mean", {"weight_file": "a.pth"}, NotFoundError, r"option weight_file: no such file a\.pth"),
    ],
)
@pytest.mark.usefixtures("ar")
def test_evar_classes_that_cannot_be_made_are_one_line(folder, target, options, error, message):
    write(folder / "list.yaml", "- 1\n- 2\n")
    write(folder / "bad.yaml", "a: [\n")
    write(folder / "bad.json", "{")
    with pytest.raises(error, match=message) as raised:
        evar.load(target, evar.Options(**options))
    assert "\n" not in str(raised.value)
