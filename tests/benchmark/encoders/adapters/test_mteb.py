"""Models of mteb as encoders, against the same models called directly as mteb calls them."""

import shutil
import sys
import types

import mteb
import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset, Features, List, Value
from mteb._create_dataloaders import create_dataloader
from mteb.models.model_implementations.clap_models import ClapZeroShotWrapper
from mteb.models.model_implementations.wav2vec2_models import Wav2Vec2AudioWrapper

from benchmark.encoders.adapters import mteb as adapter
from benchmark.encoders.adapters.mteb_inputs import describe_inputs
from benchmark.encoders.check import check_encoder
from benchmark.encoders.contract import TextAudioEncoder
from benchmark.encoders.registry import load_encoder
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark import kinds as made
from tests.benchmark.embedding.test_texts import TEXTS, words
from tests.benchmark.made_encoders import noise, write

pytestmark = pytest.mark.usefixtures("offline")
AUDIO = Features({"audio": {"array": List(Value("float32")), "sampling_rate": Value("int32")}})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, whose modules are forgotten; torch and transformers import more of their own meanwhile."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("plain", "model", "mteb_model"):
        sys.modules.pop(name, None)


@pytest.fixture
def mtebs_collator(monkeypatch):
    """mteb's own collator imports torchaudio, which it does not call where no rate is converted."""
    monkeypatch.setitem(sys.modules, "torchaudio", types.ModuleType("torchaudio"))


def call_directly(model, *, audio=None, rate_hz=0, texts=None):
    """What mteb gets of a model: rows of a dataset through its own loader."""
    if texts is None:
        rows = {"audio": [{"array": clip.tolist(), "sampling_rate": rate_hz} for clip in audio]}
        dataset, about = Dataset.from_dict(rows, features=AUDIO), "audio"
    else:
        dataset, about = Dataset.from_dict({"text": texts}), "text"
    task = describe_inputs().model_copy(update={"modalities": [about], "category": "a2a" if texts is None else "t2t"})
    loader = create_dataloader(dataset, task_metadata=task, batch_size=2)
    return model.encode(loader, task_metadata=task, hf_split="test", hf_subset="default", show_progress_bar=False)


def save_clap(folder):
    """A tiny CLAP with its tokenizer."""
    path = folder / "clap"
    made.clap(folder)
    words(path, transformers.ClapModel.from_pretrained(path), pad_token="[PAD]")
    return path


@pytest.mark.parametrize("duration_s", [1.0, 12.0, 0.01])
def test_an_object_gives_what_it_gives_when_mteb_calls_it(folder, mtebs_collator, duration_s):
    """Also where mteb's collator cuts (10 s) and pads (25 ms)."""
    loaded = load_encoder(made.mteb_model(folder), trust_code=True)
    audio = noise(3, round(16_000 * duration_s))
    direct = call_directly(loaded.encoder.model, audio=audio, rate_hz=16_000)
    assert torch.equal(loaded.encoder.embed(audio), direct)
    assert (loaded.name, loaded.encoder.rate_hz, loaded.encoder.embedding_size) == ("tiny", 16_000, 12)
    assert isinstance(loaded.encoder, TextAudioEncoder)
    assert torch.equal(loaded.encoder.embed_texts(TEXTS), call_directly(loaded.encoder.model, texts=TEXTS))


def test_a_model_of_the_registry_takes_its_weights_from_a_folder(folder, mtebs_collator):
    path = made.wav2vec2(folder).removeprefix("hf:")
    loaded = load_encoder(f"mteb:facebook/wav2vec2-base@{path}", trust_code=True)
    audio = noise(3, 8_000)
    direct = call_directly(Wav2Vec2AudioWrapper(path, None, device="cpu"), audio=audio, rate_hz=16_000)
    rows = loaded.encoder.embed(audio)
    assert torch.allclose(rows, torch.as_tensor(direct), atol=1e-6)
    assert float(rows.std()) > 1e-3
    assert (loaded.name, loaded.encoder.rate_hz) == ("wav2vec2-base", 16_000)
    assert not isinstance(loaded.encoder, TextAudioEncoder)
    assert loaded.configuration["mteb"] == mteb.__version__
    changed = shutil.copytree(path, folder / "changed")
    (changed / "preprocessor_config.json").write_text((changed / "preprocessor_config.json").read_text() + "\n")
    assert load_encoder(f"mteb:facebook/wav2vec2-base@{changed}", trust_code=True).key != loaded.key


@pytest.mark.skipif(int(transformers.__version__.split(".")[0]) < 5, reason="mteb's CLAP needs transformers 5")
def test_clap_of_mteb_is_embedded_at_its_own_rate_with_its_texts(folder, mtebs_collator):
    path = str(save_clap(folder))
    encoder = load_encoder(f"mteb:laion/clap-htsat-unfused@{path}", trust_code=True).encoder
    assert (encoder.rate_hz, encoder.embedding_size) == (48_000, 10)
    direct, audio = ClapZeroShotWrapper(path, None, device="cpu"), noise(2, 24_000)
    assert np.allclose(encoder.embed(audio), call_directly(direct, audio=audio, rate_hz=48_000), atol=1e-6)
    assert np.allclose(encoder.embed_texts(TEXTS), call_directly(direct, texts=TEXTS), atol=1e-6)
    own = load_encoder(f"hf:{path}").encoder  # the same weights through this project's own kind
    assert np.allclose(own.embed_texts(TEXTS), encoder.embed_texts(TEXTS), atol=1e-5)
    assert torch.allclose(own.embed(audio), encoder.embed(audio), atol=1e-3)  # mteb rounds audio to 16 bits


@pytest.mark.parametrize(
    ("name", "ends"),
    [("Plain", r"Plain\?rate_hz=48000"), ("silent", r"silent\?rate_hz=48000")],
    ids=["class", "object"],
)
def test_a_model_that_says_no_rate_needs_the_option(folder, name, ends):
    plain = (
        "import torch\nclass Plain:\n    def encode(self, inputs, **more):\n        return torch.stack([\n"
        "            torch.as_tensor(a['array'])[:3] for b in inputs for a in b['audio']])\nsilent = Plain()\n"
    )
    write(folder / "plain.py", plain)
    with pytest.raises(
        InvalidInputError, match=rf"does not say its sampling rate; give it, as in mteb:plain\.py:{ends}"
    ):
        load_encoder(f"mteb:plain.py:{name}", trust_code=True)
    loaded = load_encoder(f"mteb:plain:{name}?rate_hz=32000", trust_code=True)
    assert (loaded.encoder.rate_hz, loaded.encoder.embedding_size) == (32_000, 3)
    assert loaded.name == f"{name}?rate_hz=32000"


def test_an_attribute_says_the_rate(folder):
    code = "import torch\nclass Plain:\n    sampling_rate = 22050\n    def encode(self, inputs, **more):\n"
    write(folder / "plain.py", code + "        return [[float(len(a['array']))] for b in inputs for a in b['audio']]\n")
    assert load_encoder("mteb:plain.py:Plain", trust_code=True).encoder.rate_hz == 22_050


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("laion/clap-htsat-unfuse", r"has no model of that name; did you mean laion/clap-htsat-unfused\?"),
        ("sentence-transformers/all-MiniLM-L6-v2", "is not an audio model; mteb says that it takes text"),
        ("facebook/wav2vec2-base@nowhere", r"no such file nowhere"),
        (".", r"names no model; write mteb:NAME, mteb:NAME@FOLDER"),
        ("", "names no model"),
        ("absent.py:Model", r"absent\.py: no such file"),
        ("model.py:Mdel", r"no 'Mdel' in it; did you mean Model\?"),
        ("model.py:number", "gives a int without encode, so it is not a model of mteb"),
        ("model.py:Model", r"cannot be constructed: TypeError: .*needs a name"),
        ("model.py:Wrong", r"encode returned \[2\] for 1 inputs; it must be \[1, D\]"),
        ("model.py:Failing", r"its encode fails on a second of noise: RuntimeError: no \(.*model\.py, line"),
        ("mteb_model.py:meta?rate_hz=8000", r"option rate_hz is 8000; the model asks for 16000"),
        ("mteb_model.py:meta?rate_hz=0", "option rate_hz is 0; it must be a positive whole number"),
        ("facebook/wav2vec2-base@empty", r"cannot be loaded \(its packages: pip install 'mteb\[audio\]'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, target, message):
    made.mteb_model(folder)
    (folder / "empty").mkdir()
    lines = (
        "import torch\nnumber = 3\nclass Model:\n    def __init__(self):\n        raise TypeError('needs a name')\n"
        "class Wrong:\n    sampling_rate = 16000\n    def encode(self, inputs, **more): return torch.zeros(2)\n"
        "class Failing(Wrong):\n    def encode(self, inputs, **more):\n        raise RuntimeError('no')\n"
    )
    write(folder / "model.py", lines)
    with pytest.raises((InvalidInputError, NotFoundError), match=message) as caught:
        load_encoder(f"mteb:{target}", trust_code=True)
    assert "\n" not in str(caught.value)


def test_the_check_covers_texts(folder, monkeypatch):
    monkeypatch.setattr("benchmark.encoders.check.SPEED_S", 0.0)
    loaded = load_encoder(made.mteb_model(folder), trust_code=True)
    (finding,) = [finding for finding in check_encoder(loaded) if finding.name == "texts"]
    assert (finding.passed, finding.detail[:7]) == (True, "[2, 12]")
    monkeypatch.setattr(loaded.encoder, "embed_texts", lambda texts: torch.zeros(2, 12))
    assert [finding.name for finding in check_encoder(loaded) if finding.passed is False] == ["texts"]


def test_code_is_not_run_without_permission(folder):
    with pytest.raises(InvalidInputError, match="runs arbitrary code"):
        load_encoder(made.mteb_model(folder))


def test_without_mteb_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(NotFoundError, match=r"need it: pip install 'bgknown\[mteb\]'"):
        load_encoder("mteb:facebook/wav2vec2-base", trust_code=True)


def test_moving_moves_the_modules_that_the_model_holds(folder):
    encoder = adapter.load(made.mteb_model(folder).removeprefix("mteb:"), adapter.Options())
    encoder.to("meta")
    assert encoder.model.model.weight.device.type == "meta"
    assert encoder.model.device == "meta"
    assert not encoder.model.model.training
