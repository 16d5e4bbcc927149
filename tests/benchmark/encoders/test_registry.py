import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

import pretrain.encoder
from benchmark.encoders import registry
from benchmark.encoders.adapters import mel
from benchmark.encoders.kinds import BUILT_IN
from benchmark.encoders.options import list_options, parse_options
from benchmark.encoders.registry import list_kinds, load_encoder
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.settings import read_options
from tests.benchmark import kinds as made


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of every type."""

    layer: int | None = None
    """Which layer,
    counted from 0."""
    gain: float = 1.0
    """A factor."""
    fast: bool = False
    """Quick."""
    pooling: str = "mean"
    """How."""


def test_options_become_typed_settings():
    given = parse_options("layer=-2&gain=0.5&fast=true&pooling=a%26b", "x")
    assert read_options(Settings, given, "x") == Settings(layer=-2, gain=0.5, fast=True, pooling="a&b")
    assert read_options(Settings, parse_options("layer=none&fast=0", "x"), "x") == Settings()
    assert read_options(Settings, parse_options("", "x"), "x") == Settings()


def test_options_are_listed_with_their_docstrings():
    facts = {option.name: (option.default, option.about) for option in list_options(Settings)}
    assert facts == {
        "layer": ("", "Which layer, counted from 0."),
        "gain": ("1.0", "A factor."),
        "fast": ("False", "Quick."),
        "pooling": ("mean", "How."),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layr=3", "x: unknown option 'layr'; did you mean layer"),
        ("layer=3.5", "x: option layer is '3.5'; it must be a whole number"),
        ("gain=loud", "option gain is 'loud'; it must be a number"),
        ("fast=maybe", "option fast is 'maybe'; it must be true or false"),
        ("layer", "must be written key=value&key=value"),
        ("layer=1&layer=2", "an option is given twice"),
    ],
)
def test_wrong_options_are_reported_in_one_line(text, message):
    with pytest.raises(InvalidInputError, match=message):
        read_options(Settings, parse_options(text, "x"), "x")


def test_every_kind_is_listed_with_its_options():
    found = {kind.name: kind for kind in list_kinds()}
    assert set(BUILT_IN) < set(found)
    assert {"byola", "audiontt2022-untrained"} < set(found)
    for kind in found.values():
        assert kind.about, kind.name
        assert all(option.about for option in kind.options), kind.name
    programs = {kind.name for kind in found.values() if kind.runs_code}
    assert programs == {"torchscript", "exported", "hear", "evar", "xares", "mteb", "python"}


def test_two_packages_of_one_name_are_refused(monkeypatch):
    class Entry:
        name, value = "logmel", "somebody.else"

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry()])
    with pytest.raises(InvalidInputError, match="two packages offer an encoder 'logmel'"):
        list_kinds()


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A folder of files that are no encoders, beside some that are."""
    tmp_path = tmp_path_factory.mktemp("faulty")
    made.onnx_model(tmp_path)
    made.hear(tmp_path)
    made.evar(tmp_path)
    made.python_file(tmp_path)
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "empty.pt").touch()
    (tmp_path / "notes.txt").write_text("notes")
    for name in ("noise.pt", "noise.safetensors", "noise.onnx"):
        (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(500))
    torch.save({"head.weight": torch.zeros(2)}, tmp_path / "foreign.pt")
    save_file({"head.weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    (tmp_path / "broken.py").write_text("x = 1\ndef Mine(:\n")
    (tmp_path / "raising.py").write_text("1 / 0\n")
    (tmp_path / "bare.py").write_text(
        "class Bare:\n    name = 'bare'\n"
        "class Mute(Bare):\n    rate_hz = embedding_size = 3\n"
        "class Negative(Mute):\n    embedding_size = -3\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("logmell", NotFoundError, "no encoder 'logmell'; did you mean logmel"),
        ("nothing", NotFoundError, "names and kinds are: .*melpower"),
        ("", InvalidInputError, "the encoder's name is empty"),
        ("hff:somewhere", NotFoundError, "did you mean hf"),
        ("logmel:x", InvalidInputError, "logmel takes no target"),
        ("logmel?n_mell=3", InvalidInputError, "did you mean n_mels"),
        ("logmel?n_mels=0", InvalidInputError, "n_mels is 0"),
        ("logmel?f_max=9000", InvalidInputError, "f_max 9000"),
        ("absent.pt", NotFoundError, "absent.pt: no such file"),
        ("modle.onnx", NotFoundError, r"no such file; did you mean .*model\.onnx"),
        ("folder.pt", InvalidInputError, "is a folder; it must be a file"),
        ("empty.pt", InvalidInputError, "the file is empty"),
        ("notes.txt", InvalidInputError, "a file of this type is not an encoder"),
        ("noise.pt", InvalidInputError, "not readable as a torch checkpoint"),
        ("noise.safetensors", InvalidInputError, "not a whole safetensors file"),
        ("noise.onnx", InvalidInputError, "is not an ONNX model"),
        ("foreign.pt", InvalidInputError, r"not recognised as an encoder; looked for: AudioNTT weights .* TorchScript"),
        ("foreign.safetensors", InvalidInputError, "not recognised as an encoder"),
        ("byola", InvalidInputError, "the checkpoint is missing"),
        ("hf:nowhere/at-all", NotFoundError, "no such folder, and the hub lacks it or cannot be reached"),
        ("hf:folder.pt", InvalidInputError, "this folder does not hold a whole model"),
        ("hear:nowhere", NotFoundError, "no module 'nowhere'"),
        ("hear:hearing.py@absent.pt", NotFoundError, "no such file absent.pt"),
        ("hear:mine.py", InvalidInputError, "has no function load_model"),
        ("evar:ar_made.AR_Plan?sample_rate=16000", NotFoundError, "did you mean AR_Plain"),
        (
            "evar:ar_made.AR_Plain?sample_rate=16000",
            InvalidInputError,
            "asks for feature_d, which the configuration lacks",
        ),
        ("evar:ar_made.AR_Plain?config=absent.yaml", NotFoundError, "absent.yaml: no such file"),
        ("evar:ar_made", InvalidInputError, "write it as evar:MODULE.CLASS"),
        ("xares:mine.py", InvalidInputError, "no class in it has sampling_rate"),
        ("xares:absent.py", NotFoundError, "absent.py: no such file"),
        ("mine.py:Mina", NotFoundError, "no 'Mina' in it; did you mean Mine"),
        ("mine.py:number", InvalidInputError, "number is a int; it must be a class or a function"),
        ("mine.py:Mine?args=[]", InvalidInputError, "must be a JSON object"),
        ('mine.py:Mine?args={"loud":1}', InvalidInputError, "cannot be constructed: TypeError"),
        ("broken.py:Mine", InvalidInputError, r"cannot be run: SyntaxError.*broken\.py, line 2"),
        ("raising.py:Mine", InvalidInputError, r"cannot be run: ZeroDivisionError.*raising\.py, line 1"),
        ("absent.py:Mine", NotFoundError, "absent.py: no such file"),
        ("nowhere.at.all:make", NotFoundError, "no module 'nowhere.at.all'"),
        ("bare.py:Bare", InvalidInputError, "the encoder's rate_hz is missing; it must be a positive whole number"),
        ("bare.py:Mute", InvalidInputError, "has no method embed"),
        ("bare.py:Negative", InvalidInputError, "embedding_size is -3"),
    ],
)
def test_files_that_cannot_be_loaded_are_reported_in_one_line(faulty, monkeypatch, spec, error, message):
    monkeypatch.chdir(faulty)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=message) as raised:
        load_encoder(spec, trust_code=True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("make", [made.torchscript, made.exported, made.hear, made.evar, made.xares, made.python_file])
def test_code_is_refused_unless_it_is_trusted(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    spec = make(tmp_path)
    with pytest.raises(InvalidInputError, match="runs arbitrary code .* pass --trust-code"):
        load_encoder(spec)
    load_encoder(spec, trust_code=True)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch touched",))


@pytest.mark.parametrize("name", ["evil.pt", "evil.pth", "evil.ckpt", "plain.pt"])
def test_pickled_code_is_refused_and_not_run(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name == "plain.pt":
        Path(name).write_bytes(pickle.dumps({"a": Evil()}))
    else:
        torch.save({"features.0.weight": torch.zeros(2), "extra": Evil()}, name)
    for spec in (name, f"byola:{name}"):
        with pytest.raises(InvalidInputError, match=name.replace(".", r"\.")):
            load_encoder(spec, trust_code=True)
    assert not Path("touched").exists()


def test_a_program_without_a_rate_says_how_to_give_it(tmp_path):
    spec = made.onnx_model(tmp_path, rate_hz=None)
    with pytest.raises(InvalidInputError, match=r"does not give its sampling rate; write .*\?rate_hz=16000"):
        load_encoder(spec)
    assert load_encoder(f"{spec}?rate_hz=8000").encoder.rate_hz == 8000


def test_frames_of_a_program_are_averaged_on_request(tmp_path):
    spec = made.torchscript(tmp_path, made.WithFrames())
    with pytest.raises(InvalidInputError, match=r"returns \[1, 40, 12\] for audio .* is taken by \?pooling=mean"):
        load_encoder(spec, trust_code=True)
    frames = load_encoder(f"{spec}?pooling=mean", trust_code=True).encoder
    whole = load_encoder(made.torchscript(tmp_path, name="whole.pt"), trust_code=True).encoder
    audio = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(frames.embed(audio), whole.embed(audio), atol=1e-6)


def test_a_program_of_a_fixed_number_of_clips_is_run_in_parts(tmp_path):
    fixed = made.exported(tmp_path, dynamic=False, name="fixed.pt2")
    free = load_encoder(made.exported(tmp_path), trust_code=True).encoder
    encoder = load_encoder(fixed, trust_code=True).encoder
    audio = torch.randn(7, 16_000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(encoder.embed(audio), free.embed(audio), atol=1e-6)
    with pytest.raises(InvalidInputError, match="was exported for clips of 16000 samples, not 8000"):
        encoder.embed(audio[:, :8000])


@pytest.mark.parametrize("location", ["/etc/passwd", "../outside.bin", "link.bin", "C:\\outside.bin"])
def test_onnx_data_outside_the_folder_are_refused(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(100_000))
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    path = Path(made.onnx_external(folder))
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    onnx.save(model, str(path))
    with pytest.raises(InvalidInputError, match="is outside its folder"):
        load_encoder(str(path))


def test_missing_onnx_data_is_named(tmp_path):
    path = made.onnx_external(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(NotFoundError, match="external data 'weights.bin' is missing"):
        load_encoder(path)


def test_onnx_weights_next_to_the_model_count(tmp_path):
    path = made.onnx_external(tmp_path)
    before = load_encoder(path).weights_sha256
    data = bytearray((tmp_path / "weights.bin").read_bytes())
    data[100] ^= 1
    (tmp_path / "weights.bin").write_bytes(data)
    assert load_encoder(path).weights_sha256 != before


def test_changed_weights_change_the_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = made.hear(tmp_path)
    before = load_encoder(spec, trust_code=True)
    torch.save({"scale": torch.full((6,), 3.0)}, tmp_path / "hear.pth")
    after = load_encoder(spec, trust_code=True)
    assert after.weights_sha256 != before.weights_sha256
    assert after.key != before.key
    mine = load_encoder(made.python_file(tmp_path), trust_code=True)
    (tmp_path / "mine.py").write_text(made.PYTHON.replace("gain=1.0", "gain=3.0"))
    assert load_encoder(f"{tmp_path / 'mine.py'}:Mine", trust_code=True).key != mine.key
    module = f"hear:{tmp_path / 'hearing.py'}"
    plain = load_encoder(module, trust_code=True).weights_sha256
    (tmp_path / "hearing.py").write_text(made.HEAR.replace("torch.ones(6)", "torch.zeros(6)"))
    assert load_encoder(module, trust_code=True).weights_sha256 != plain


def test_options_change_the_key_and_names_do_not():
    plain = load_encoder("logmel")
    assert load_encoder("logmel?n_mels=32").key != plain.key
    named = load_encoder("logmel", name="mine")
    assert (named.name, named.key) == ("mine", plain.key)


def test_layers_and_poolings_of_transformers(tmp_path):
    spec = made.wav2vec2(tmp_path)
    audio = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    whole = load_encoder(spec).encoder
    frames, times_ms = whole.frames(audio)
    assert torch.allclose(whole.embed(audio), frames.mean(dim=1), atol=1e-5)
    assert times_ms[0, 0] > 0
    assert times_ms[0, -1] < 1000
    for pooling, expected in (("max", frames.amax(dim=1)), ("first", frames[:, 0])):
        assert torch.allclose(load_encoder(f"{spec}?pooling={pooling}").encoder.embed(audio), expected, atol=1e-5)
    first, last = (load_encoder(f"{spec}?layer={layer}").encoder.embed(audio) for layer in (0, -1))
    assert not torch.allclose(first, last)
    with pytest.raises(InvalidInputError, match=r"option layer is 7; it must be from -3 to 2"):
        load_encoder(f"{spec}?layer=7")
    with pytest.raises(InvalidInputError, match="option pooling is 'median'"):
        load_encoder(f"{spec}?pooling=median")


def test_whisper_averages_only_frames_within_the_clip(tmp_path):
    encoder = load_encoder(made.whisper(tmp_path)).encoder
    audio = torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0))
    frames, times_ms = encoder.frames(audio)
    assert frames.shape[1] == 100  # 50 a second
    assert times_ms[0].tolist() == pytest.approx([10 + 20 * place for place in range(100)])
    assert torch.allclose(encoder.embed(audio), frames.mean(dim=1), atol=1e-6)


def test_the_baselines_follow_librosa():
    audio = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    power = librosa.feature.melspectrogram(
        y=audio.numpy(), sr=16_000, n_fft=400, hop_length=160, n_mels=64, fmin=50, fmax=8000, pad_mode="constant"
    )
    assert np.allclose(load_encoder("melpower").encoder.embed(audio), power.mean(axis=2), rtol=1e-4)
    log_mel = np.log(power + 1e-7)
    expected = np.concatenate([log_mel.mean(axis=2), log_mel.std(axis=2)], axis=1)
    assert np.allclose(load_encoder("logmel").encoder.embed(audio), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["melpower", "logmel"])
def test_the_baselines_compute_the_same_however_many_clips_at_a_time(name, monkeypatch):
    audio = 0.1 * torch.randn(9, 8000, generator=torch.Generator().manual_seed(0))
    encoder, found = load_encoder(name).encoder, []
    for clips in (1, 4, 9):
        monkeypatch.setattr(mel, "AT_ONCE", clips * 8000)
        found.append(encoder.embed(audio))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_power_of_sounds_that_share_no_frequency_adds_up():
    encoder = load_encoder("melpower").encoder
    time_s = torch.arange(16_000) / 16_000
    one, two = (torch.sin(2 * torch.pi * hz * time_s).unsqueeze(0) for hz in (500.0, 3000.0))
    added = encoder.embed(one + two) - encoder.embed(two)
    assert torch.allclose(added, encoder.embed(one), atol=1e-3 * float(encoder.embed(one).max()))


def test_a_checkpoint_that_is_replaced_while_it_is_loaded_is_loaded_again(tmp_path, monkeypatch):
    """A training writes its checkpoint at any time: hash and weights must be of the same one."""
    for name in ("older", "newer"):
        (tmp_path / name).mkdir()
    older, newer = (made.own_checkpoint(tmp_path / name) for name in ("older", "newer"))
    network, front_end = made.AudioNTT2022(n_mels=16, d=300, hidden=8), made.FrontEnd(n_mels=16)
    made.write_encoder(Path(newer), network, front_end, made.Statistics(mean=-5.0, std=2.0))
    fresh = load_encoder(newer)
    assert fresh.weights_sha256 != load_encoder(older).weights_sha256
    whole, calls = pretrain.encoder.load, []

    def slowly(target, options):
        calls.append(target)
        found = whole(target, options)
        if len(calls) == 1:
            Path(newer).replace(older)
        return found

    monkeypatch.setattr(pretrain.encoder, "load", slowly)
    loaded = load_encoder(older)
    assert len(calls) == 2
    assert loaded.weights_sha256 == fresh.weights_sha256
    audio = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.encoder.embed(audio), fresh.encoder.embed(audio))
