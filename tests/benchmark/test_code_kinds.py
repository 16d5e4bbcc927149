"""Encoders of other people's code: HEAR, EVAR, X-ARES and plain Python."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.encoder import FittedEncoder, FrameEncoder
from benchmark.encoders import evar, hear, python, xares
from benchmark.encoders.foreign import import_path, module_of_file, module_of_name, whole_number
from benchmark.registry import load_encoder
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark import kinds as made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, which leaves nothing behind in the interpreter."""
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def noise(clips: int, samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("value", "number"), [(16_000, 16_000), (16_000.0, 16_000), (np.int64(8), 8), (np.float32(8), 8)]
)
def test_whole_numbers_may_be_of_any_type(value, number):
    assert whole_number(value, "rate") == number


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "16000", float("nan"), float("inf")])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(InvalidInputError, match="rate is .*, must be a positive whole number"):
        whole_number(value, "rate")


def test_each_file_gets_the_modules_beside_it(folder):
    for place in ("one", "two"):
        write(folder / place / "network.py", f"place = {place!r}\n")
        write(folder / place / "parts" / "__init__.py", "")
        write(folder / place / "parts" / "layer.py", f"place = {place!r}\n")
        write(folder / place / "mine.py", "import network\nfrom parts import layer\n")
    for place in ("one", "two", "one"):
        module = module_of_file(folder / place / "mine.py")
        assert (module.network.place, module.layer.place) == (place, place)


def test_a_module_of_another_current_folder_is_not_taken(folder, monkeypatch):
    for place in ("one", "two"):
        write(folder / place / "network.py", f"place = {place!r}\n")
        monkeypatch.chdir(folder / place)
        assert module_of_name("network").place == place


def test_modules_that_are_installed_stay(folder):
    write(folder / "json.py", "1 / 0\n")
    with import_path(folder):
        assert sys.modules["json"] is json


def test_a_file_that_fails_leaves_no_module(folder):
    before = set(sys.modules)
    with pytest.raises(InvalidInputError, match="cannot be run: ZeroDivisionError"):
        module_of_file(write(folder / "mine.py", "1 / 0\n"))
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("text", "name", "error", "message"),
    [
        ("import absent_library\n", "theirs", InvalidInputError, "No module named 'absent_library'.*theirs.py, line 1"),
        ("import theirs.absent\n", "theirs.part", InvalidInputError, "cannot be imported: ModuleNotFoundError"),
        ("x = (\n", "theirs", InvalidInputError, r"cannot be imported: SyntaxError.*theirs\.py, line 1"),
        ("raise SystemExit(3)\n", "theirs", InvalidInputError, "cannot be imported: SystemExit: 3"),
        ("", "theirz", NotFoundError, "no module 'theirz': .*; did you mean theirs?"),
        ("", "theirs.part", NotFoundError, r"no module 'theirs\.part'"),
        ("", "absent.part", NotFoundError, "neither installed nor in the current folder$"),
        ("", "", InvalidInputError, "cannot be imported: ValueError"),
    ],
)
def test_modules_that_cannot_be_imported_are_one_line(folder, text, name, error, message):
    write(folder / "theirs.py", text)
    with pytest.raises(error, match=message) as raised:
        module_of_name(name)
    assert "\n" not in str(raised.value)


def test_the_line_that_is_named_is_theirs_and_not_a_librarys(folder):
    write(folder / "mine.py", "import torch\n\ndef make():\n    return torch.zeros(2) @ torch.zeros(3)\n")
    with pytest.raises(InvalidInputError, match=r"mine\.py:make: cannot be made: RuntimeError: .*mine\.py, line 4\)$"):
        python.load("mine.py:make", python.Options())


# HEAR


def test_hear_gives_what_the_module_gives(folder):
    spec = made.hear(folder)
    module = module_of_file(folder / "hearing.py")
    model = module.load_model(str(folder / "hear.pth"))
    encoder = hear.load(spec.removeprefix("hear:"), hear.Options())
    audio = noise(3, 12_000)
    assert torch.equal(encoder.embed(audio), module.get_scene_embeddings(audio, model).detach())
    frames, times_ms = encoder.frames(audio)
    assert torch.equal(frames.mean(dim=1), encoder.embed(audio))
    assert times_ms.shape == frames.shape[:2]
    assert (encoder.name, encoder.rate_hz, encoder.embedding_size) == ("hearing", 16_000, 6)
    assert not encoder.embed(audio).requires_grad


def test_hear_modules_are_found_by_name_and_put_in_evaluation_mode(folder):
    write(folder / "heard.py", made.HEAR.replace("return model", "assert model.training\n    return model"))
    encoder = hear.load("heard", hear.Options())
    assert encoder.name == "heard"
    assert not encoder.model.training
    assert hear.weights_of("heard", hear.Options()) == []
    without = write(folder / "plain.py", made.HEAR.replace("get_timestamp_embeddings", "frames_of"))
    assert not isinstance(hear.load(str(without), hear.Options()), FrameEncoder)


def test_hear_loads_late_imports_and_weights_of_a_folder(folder):
    text = made.HEAR.replace(
        "    model = Model()\n", "    import late\n    model = late.put(Model(), model_file_path)\n"
    )
    text = text.replace("    if model_file_path:\n        model.load_state", "    if False:\n        model.load_state")
    write(folder / "code" / "heard.py", text)
    write(folder / "code" / "late.py", "def put(model, path):\n    model.path = path\n    return model\n")
    for name in ("b.bin", "a/c.bin"):
        write(folder / "weights" / name, name)
    encoder = hear.load("code/heard.py@weights", hear.Options())
    assert encoder.model.path == "weights"
    files = hear.weights_of("code/heard.py@weights", hear.Options())
    assert [file.as_posix() for file in files] == ["weights/a/c.bin", "weights/b.bin"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def load_model", "def load", "has no function load_model; HEAR's interface asks for it"),
        ("def get_scene_embeddings", "def scene", "has no function get_scene_embeddings"),
        ("sample_rate, scene", "rate, scene", "its model has no sample_rate, which HEAR's interface asks for"),
        (" = 16000, 6, 6", " = 16000, None, 6", "scene_embedding_size of its model is None, must be a positive whole"),
        ("    model = Model()", "    model = Modell()", r"cannot be loaded: NameError.*hearing\.py, line 1\d\)"),
    ],
)
def test_hear_modules_that_lack_something_are_one_line(folder, old, new, message):
    assert old in made.HEAR
    write(folder / "hearing.py", made.HEAR.replace(old, new))
    with pytest.raises(InvalidInputError, match=message) as raised:
        hear.load("hearing.py", hear.Options())
    assert "\n" not in str(raised.value)


def test_wrong_shapes_are_told_when_files_are_embedded(folder):
    write(folder / "hearing.py", made.HEAR.replace("return get_timestamp_embeddings(audio, model)[0].mean(dim=1)", "1"))
    loaded = load_encoder("hear:hearing.py", trust_code=True)
    assert loaded.encoder.embed(noise(2, 9_000)) is None
    write(folder / "hearing.py", made.HEAR.replace(")[0].mean(dim=1)", ")[0].mean(dim=2)"))
    from benchmark.encoder import check_output  # noqa: PLC0415

    loaded = load_encoder("hear:hearing.py", trust_code=True)
    with pytest.raises(InvalidInputError, match=r"embed returned shape \[2, 15\], must be \[2, 6\]"):
        check_output(loaded.encoder, loaded.encoder.embed(noise(2, 9_000)), 2)


# EVAR

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


# X-ARES


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
        ("self.output_dim = 5", "", "has no output_dim, which X-ARES's interface asks for"),
        ("self.sampling_rate = 16000", "self.sampling_rate = 0.5", "sampling_rate is 0.5, must be a positive whole"),
        ("hop_size_in_ms = 50", "hop_size_in_ms = None", "hop_size_in_ms is None, must be a positive number"),
        ("super().__init__()", "1 / 0", r"cannot be made: ZeroDivisionError.*file\.py, line 6"),
    ],
)
def test_xares_classes_that_lack_something_are_one_line(folder, old, new, message):
    assert old in made.XARES
    write(folder / "file.py", made.XARES.replace(old, new))
    with pytest.raises(InvalidInputError, match=message):
        xares.load("file.py:Encoder", xares.Options())


def test_xares_output_that_is_no_frames_is_refused(folder):
    write(folder / "file.py", made.XARES.replace("mean(dim=3) * self.scale", "mean(dim=(1, 3))"))
    encoder = xares.load("file.py", xares.Options())
    with pytest.raises(InvalidInputError, match=r"returned \[2, 5\] for audio \[2, 8000\], must be \[B, T, D\]"):
        encoder.embed(noise(2, 8_000))


# Python

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


def test_weights_are_handed_over_and_listed(folder):
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
        ("Wrong", {}, InvalidInputError, "its configuration is a str, must be a dictionary"),
        ("Rateless", {}, InvalidInputError, r"its rate_hz \(or sample_rate\) is None, must be a positive whole number"),
        ("Frames", {}, InvalidInputError, r"returns \[2, 8000, 1\] for audio \[2, 8000\], must be \[2, D\]"),
        ("Outer.Iner", {}, NotFoundError, "no 'Iner' in it; did you mean Inner?"),
        ("Slotted", {"weights": "a.bin"}, NotFoundError, r"mine\.py:Slotted: no such file a\.bin"),
        ("Slotted", {"args": '{"gain": 1}'}, InvalidInputError, "cannot be made: TypeError"),
        ("Slotted", {"args": "gain"}, InvalidInputError, "must be JSON"),
    ],
)
def test_objects_that_are_no_encoders_are_one_line(mine, name, options, error, message):
    with pytest.raises(error, match=message) as raised:
        mine(name, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("mine")
def test_what_a_factory_forgets_to_return_is_one_line():
    with pytest.raises(InvalidInputError, match="mine.py:nothing: the encoder's rate_hz is missing"):
        load_encoder("mine.py:nothing", trust_code=True)
