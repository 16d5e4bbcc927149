"""Encoders of X-ARES."""

import pytest
import torch

from benchmark.encoders.adapters import xares
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark import kinds as made
from tests.benchmark.made_encoders import noise, write


def test_xares_averages_the_frames(folder):
    encoder = xares.load(made.xares(folder).removeprefix("xares:"), xares.Options())
    audio = noise(3, 8_000)
    frames, times_ms = encoder.frames(audio)
    assert torch.equal(frames, encoder.model(audio).detach())
    assert torch.equal(encoder.embed(audio), frames.mean(dim=1))
    assert times_ms[2].tolist() == [25.0 + 50.0 * place for place in range(10)]
    assert (encoder.name, encoder.rate_hz, encoder.embedding_size) == ("Encoder", 16_000, 5)
    assert xares.weights_of("any.py", xares.Options()) == []


@pytest.mark.parametrize(
    "more",
    [
        # as in X-ARES's template: a network that reads the three, beside the encoder that sets them
        "class Net:\n    def f(self):\n        return self.sampling_rate, self.output_dim, self.hop_size_in_ms",
        "class Judge:\n    def f(self, e):\n        return e.sampling_rate == e.output_dim == e.hop_size_in_ms",
        "class Other(Encoder):\n    pass",
        "class Facts:\n    sampling_rate: int = 1\n    output_dim = 1\n    hop_size_in_ms = 1",
    ],
)
def test_the_one_xares_class_of_a_file_is_found(folder, more):
    write(folder / "file.py", f"{made.XARES}\n{more}\n")
    assert xares.load("file.py", xares.Options()).name == "Encoder"


def test_several_xares_classes_are_listed(folder):
    write(folder / "file.py", f"{made.XARES}\nclass LargeEncoder(Encoder):\n    pass\n")
    with pytest.raises(InvalidInputError, match=r"several classes fit: Encoder, LargeEncoder; name one as file\.py:"):
        xares.load("file.py", xares.Options())
    assert xares.load("file.py:LargeEncoder", xares.Options()).name == "LargeEncoder"
    with pytest.raises(NotFoundError, match="no 'LargEncoder' in it; did you mean LargeEncoder?"):
        xares.load("file.py:LargEncoder", xares.Options())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("self.output_dim = 5", "", "has no output_dim, which X-ARES's interface requires"),
        ("self.sampling_rate = 16000", "self.sampling_rate = 0.5", "sampling_rate is 0.5; it must be a positive whole"),
        ("hop_size_in_ms = 50", "hop_size_in_ms = None", "hop_size_in_ms is None; it must be a positive number"),
        ("super().__init__()", "1 / 0", r"cannot be constructed: ZeroDivisionError.*file\.py, line 6"),
    ],
)
def test_xares_classes_that_lack_something_are_reported_in_one_line(folder, old, new, message):
    assert old in made.XARES
    write(folder / "file.py", made.XARES.replace(old, new))
    with pytest.raises(InvalidInputError, match=message):
        xares.load("file.py:Encoder", xares.Options())


def test_xares_output_without_frames_is_refused(folder):
    write(folder / "file.py", made.XARES.replace("mean(dim=3) * self.scale", "mean(dim=(1, 3))"))
    encoder = xares.load("file.py", xares.Options())
    with pytest.raises(InvalidInputError, match=r"returned \[2, 5\] of audio \[2, 8000\]; it must be \[B, T, D\]"):
        encoder.embed(noise(2, 8_000))
