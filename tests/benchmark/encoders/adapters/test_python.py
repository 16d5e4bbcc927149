"""Plain Python objects as encoders."""

import sys
from pathlib import Path

import pytest
import torch

from benchmark.encoders.adapters import python
from benchmark.encoders.contract import FittedEncoder, FrameEncoder
from benchmark.encoders.registry import load_encoder
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark import kinds as made
from tests.benchmark.made_encoders import noise, write

CLASSES = """
import torch

class Slotted:
    __slots__ = ("rate_hz", "embedding_size")
    def __init__(self):
        self.rate_hz, self.embedding_size = 8000, 1
    def embed(self, audio):
        return audio[:, :1]

class Told(Slotted):
    name = "told"
    @property
    def configuration(self):
        return {"gain": 2}

class Wrong(Slotted):
    configuration = "loud"

class Own:
    rate_hz, embedding_size = 8000, 4
    def __init__(self):
        self.network = torch.load("own.pt", weights_only=True)["scale"]
        self.module = torch.nn.Linear(1, 4)
        self.module.load_state_dict({"weight": self.network, "bias": self.network[:, 0]})
    def embed(self, audio):
        return self.module(audio[:, :1])
    def frames(self, audio):
        return self.module(audio[:, :, None]), torch.arange(audio.shape[1]).expand(len(audio), -1)
    def fit(self, batches):
        self.seen = list(batches)

class Named(torch.nn.Module):
    name, sample_rate = "named", 8000
    def forward(self, audio):
        assert not self.training
        return audio[:, :2]

class Frames(Named):
    def forward(self, audio):
        return audio[:, :, None]

class Rateless(torch.nn.Module):
    def forward(self, audio):
        return audio[:, :2]

def nothing():
    pass

class Outer:
    class Inner(Slotted):
        pass
"""


@pytest.fixture
def mine(folder):
    """Loads an object of a file."""
    write(folder / "mine.py", CLASSES)
    torch.save({"scale": torch.ones(4, 1)}, folder / "own.pt")
    return lambda name, **options: python.load(f"mine.py:{name}", python.Options(**options))


def test_objects_need_no_room_for_attributes(mine):
    slotted, told = mine("Slotted"), mine("Told")
    assert (slotted.name, slotted.rate_hz, slotted.embedding_size) == ("Slotted", 8_000, 1)
    assert (told.name, told.configuration["gain"]) == ("told", 2)
    assert mine("Outer.Inner").name == "Inner"
    audio = noise(2, 10)
    assert torch.equal(slotted.embed(audio), audio[:, :1])
    slotted.name = "renamed"
    assert slotted.name == "renamed"
    told.name = "retold"
    assert (told.name, told.made.name) == ("retold", "retold")
    assert not hasattr(slotted, "to")
    assert not isinstance(slotted, FrameEncoder | FittedEncoder)
    own = mine("Own")
    assert isinstance(own, FrameEncoder)
    assert isinstance(own, FittedEncoder)
    own.fit([audio])
    assert own.made.seen[0] is audio


@pytest.mark.parametrize("spec", ["mine.py:Own", "mine:Own"])
@pytest.mark.usefixtures("mine")
def test_weights_that_the_code_reads_by_itself_change_the_key(folder, spec):
    before = load_encoder(spec, trust_code=True).key
    assert load_encoder(spec, trust_code=True).key == before
    torch.save({"scale": torch.full((4, 1), 2.0)}, folder / "own.pt")
    assert load_encoder(spec, trust_code=True).key != before


@pytest.mark.parametrize("maker", [made.hear, made.xares, made.evar, made.python_file, made.torch_module])
def test_changed_code_changes_the_key(folder, maker):
    spec = maker(folder)
    before = load_encoder(spec, trust_code=True).key
    for file in folder.glob("*.py"):
        file.write_text(f"{file.read_text()}\n# another version\n")
    for name in ("ar_made",):
        sys.modules.pop(name, None)  # a new process would read it again
    assert load_encoder(spec, trust_code=True).key != before


def test_torch_modules_are_wrapped(mine):
    encoder = mine("Named")
    assert (encoder.name, encoder.rate_hz, encoder.embedding_size) == ("named", 8_000, 2)
    assert torch.equal(encoder.embed(noise(2, 10)), noise(2, 10)[:, :2])
    assert encoder.to("cpu") is encoder


def test_weights_are_passed_and_listed(folder):
    write(folder / "mine.py", made.PYTHON.replace('"mine", gain', 'f"mine of {weights}", gain'))
    (folder / "w.bin").touch()
    options = python.Options(weights="w.bin", args='{"gain": 3}')
    assert python.load("mine.py:Mine", options).name == "mine of w.bin"
    assert python.weights_of("mine.py:Mine", options) == [Path("mine.py"), Path("w.bin")]
    assert python.weights_of("mine:Mine", options) == [Path("w.bin")]
    assert python.weights_of("mine:Mine", python.Options()) == []


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("Wrong", {}, InvalidInputError, "its configuration is a str; it must be a dictionary"),
        (
            "Rateless",
            {},
            InvalidInputError,
            r"its rate_hz \(or sample_rate\) is None; it must be a positive whole number",
        ),
        ("Frames", {}, InvalidInputError, r"returns \[2, 8000, 1\] for audio \[2, 8000\]; it must be \[2, D\]"),
        ("Outer.Iner", {}, NotFoundError, "no 'Iner' in it; did you mean Inner?"),
        ("Slotted", {"weights": "a.bin"}, NotFoundError, r"mine\.py:Slotted: no such file a\.bin"),
        ("Slotted", {"args": '{"gain": 1}'}, InvalidInputError, "cannot be constructed: TypeError"),
        ("Slotted", {"args": "gain"}, InvalidInputError, "must be JSON"),
    ],
)
def test_objects_that_are_not_encoders_are_reported_in_one_line(mine, name, options, error, message):
    with pytest.raises(error, match=message) as raised:
        mine(name, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("mine")
def test_a_factory_that_returns_nothing_is_reported_in_one_line():
    with pytest.raises(InvalidInputError, match="mine.py:nothing: the encoder's rate_hz is missing"):
        load_encoder("mine.py:nothing", trust_code=True)
