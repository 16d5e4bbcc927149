"""APwD as tasks of mteb: their recall is that of this project on the same embeddings."""

import sys
import types
from collections import Counter

import mteb
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark import tasks
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.encoders.contract import LoadedEncoder
from benchmark.encoders.registry import load_encoder
from benchmark.mteb import EncoderModel, load_mteb_model, make_apwd_tasks
from benchmark.mteb.apwd import shuffle_texts
from benchmark.ranking import compute_ranks
from benchmark.tasks.contract import TaskOptions
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark import kinds
from tests.benchmark.embedding.test_texts import distilbert
from tests.benchmark.mteb.made import WithTexts, embed_alone
from tests.bgknown.apwd.conftest import make_pairs

pytestmark = pytest.mark.usefixtures("offline")
NAMES = ["AT2A", "TextOnlyT2A", "AudioOnlyA2A", "ShuffledTextAT2A"]
QUIET = {"cache": None, "show_progress_bar": False, "num_proc": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pairs without two equal targets, whose order would be arbitrary; a set of them with audio and one without."""
    root = tmp_path_factory.mktemp("apwd")
    pairs = make_pairs(root / "made")
    for file in pairs.jams.rglob("*removed_s?.jams"):
        file.unlink()
    pairs.build(root / "set")
    pairs.build(root / "texts", source=None)
    return root


def measure(model, task):
    """R@1, R@5 and R@10 as mteb measures them."""
    (result,) = mteb.evaluate(model, task, **QUIET).task_results
    (scores,) = result.scores["test"]
    assert result.get_score() == pytest.approx(scores["recall_at_1"])
    return [scores[f"recall_at_{k}"] for k in (1, 5, 10)]


def rank(queries, gallery):
    """The same of this project: row i of the gallery is the target of query i."""
    own = torch.arange(len(queries))
    ranks, _ = compute_ranks(torch.as_tensor(queries), torch.as_tensor(gallery), own, own)
    return [float((ranks <= k).double().mean()) for k in (1, 5, 10)]


def read_pairs(root):
    """The test pairs of a set, and both sides at 16 kHz, without this project's readers."""
    table = pd.read_csv(root / "manifest.csv", dtype=str, keep_default_na=False)
    table = table[(table["split"] == "eval") & (table["jams_s2"] != "")].sort_values("pair")
    sides = {}
    for side in ("s1", "s2"):
        files = [soundfile.read(str(root / file), dtype="float32") for file in table[side]]
        sides[side] = [soxr.resample(audio, rate_hz, 16_000, quality="HQ") for audio, rate_hz in files]
    return table, sides


def unit(rows):
    rows = np.asarray(rows)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def resampler(monkeypatch):
    """What mteb's own collator calls, and torchaudio would be needed for."""

    def make(orig_freq, new_freq):
        return lambda audio: torch.from_numpy(soxr.resample(audio.numpy(), orig_freq, new_freq, quality="HQ"))

    module = types.ModuleType("torchaudio")
    module.transforms = types.SimpleNamespace(Resample=make)
    monkeypatch.setitem(sys.modules, "torchaudio", module)


@pytest.mark.parametrize("which", ["an encoder with texts", "a model of mteb"])
def test_recall_of_the_task_and_its_controls_is_this_projects_own(place, tmp_path, which, resampler):
    if which == "a model of mteb":
        spec = kinds.mteb_model(tmp_path)
        own = load_encoder(spec, trust_code=True).encoder
        model = own.model  # as mteb knows it, without this project's wrapper
    else:
        own = WithTexts()
        model = EncoderModel(LoadedEncoder(encoder=own, spec="with-texts", kind="python", weights_sha256=""))
    table, sides = read_pairs(place / "set")
    audio = {side: unit(embed_alone(own, clips)) for side, clips in sides.items()}
    texts = {
        shuffled: unit(own.embed_texts(shuffle_texts(table) if shuffled else table["text"].tolist()))
        for shuffled in (False, True)
    }
    queries = {
        "AT2A": audio["s1"] + texts[False],
        "TextOnlyT2A": texts[False],
        "AudioOnlyA2A": audio["s1"],
        "ShuffledTextAT2A": audio["s1"] + texts[True],
    }
    found = {}
    for name, task in zip(NAMES, make_apwd_tasks(place / "set"), strict=True):
        assert task.metadata.name == f"APwDRain{name}Retrieval"
        found[name] = measure(model, task)
        assert found[name] == pytest.approx(rank(queries[name], audio["s2"]), abs=1e-5), name
    assert len({tuple(recalls) for recalls in found.values()}) > 1


def test_audio_alone_equals_the_benchmarks_uncentred_zero_shot(place, tmp_path):
    distilbert(tmp_path / "encoder")
    options = TaskOptions(cache=tmp_path, text_encoder=str(tmp_path / "encoder"))
    data = tasks.prepare("apwd-rain", place / "set", options)
    loaded, settings = load_encoder("logmel"), EmbedSettings(cache=tmp_path / "cache", batch_size=4)
    tested = data.folds[0].test
    rows = {side: embed_clips(loaded, data.signals[side], settings, fit_on=[])[tested] for side in ("s1", "s2")}
    task = make_apwd_tasks(place / "set")[2]
    assert task.metadata.category == "a2a"
    assert measure(load_mteb_model("logmel"), task) == pytest.approx(rank(rows["s1"], rows["s2"]), abs=1e-5)
    assert measure(load_mteb_model("logmel"), task)[0] < 1  # loaded again after mteb deleted its data


def test_audio_is_rendered_where_there_is_none(place):
    sides = {"jams": place / "made" / "jams", "source": place / "made" / "source"}
    (built, *_), (rendered, *_) = (
        make_apwd_tasks(place / "set", scenes=["rain"]),
        make_apwd_tasks(place / "texts", **sides),
    )
    for task in (built, rendered):
        task.load_data()
    for part in ("queries", "corpus"):
        one, other = (task.dataset["default"]["test"][part] for task in (built, rendered))
        assert one["id"][:] == other["id"][:]
        for first, second in zip(one, other, strict=True):
            assert np.array_equal(first["audio"]["array"], second["audio"]["array"])
            assert first["audio"]["sampling_rate"] == 44_100
    assert built.metadata.revision != rendered.metadata.revision  # one counts audio, the other what it is made from


def test_ids_say_which_pair_a_row_is(place):
    task = make_apwd_tasks(place / "set")[0]
    task.load_data()
    table, _ = read_pairs(place / "set")
    split = task.dataset["default"]["test"]
    assert split["queries"]["id"][:] == table["pair"].tolist()
    assert split["queries"]["text"][:] == table["text"].tolist()
    assert split["relevant_docs"] == {pair: {f"{pair}_s2": 1} for pair in table["pair"]}
    assert set(split["corpus"].column_names) == {"id", "audio"}
    assert task.metadata.is_filled()


def test_an_encoder_of_audio_only_is_refused_where_there_are_texts(place):
    both, text, audio, shuffled = make_apwd_tasks(place / "set")
    model = load_mteb_model("logmel")
    for task in (both, shuffled):
        with pytest.raises(InvalidInputError, match="has texts, and encoder logmel takes only audio"):
            measure(model, task)
    with pytest.raises(ValueError, match="none overlap with task APwDRainTextOnlyT2ARetrieval"):  # mteb's own words
        measure(model, text)
    assert len(measure(model, audio)) == 3


@pytest.mark.parametrize(
    ("folder", "given", "error", "message"),
    [
        ("nowhere", {}, NotFoundError, "nowhere"),
        ("set", {"scenes": ["trafic"]}, NotFoundError, "trafic"),
        ("texts", {}, InvalidInputError, "has no audio file; give jams and source to render it"),
    ],
)
def test_a_set_that_cannot_be_used_is_refused_at_once(place, folder, given, error, message):
    with pytest.raises(error, match=message):
        make_apwd_tasks(place / folder, **given)


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=30))
def test_shuffling_gives_every_pair_the_text_of_another(texts):
    table = pd.DataFrame({"pair": [f"p{number:02}" for number in range(len(texts))], "text": texts})
    shuffled = shuffle_texts(table)
    assert Counter(shuffled) == Counter(texts)
    if 2 * max(Counter(texts).values()) <= len(texts):
        assert all(one != other for one, other in zip(texts, shuffled, strict=True))
    turned = shuffle_texts(table.iloc[::-1])[::-1]
    assert turned == shuffled  # whatever the order of the table
