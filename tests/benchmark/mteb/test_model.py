"""Encoders of this project as models of mteb, on tasks of mteb whose data are local."""

import mteb
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from mteb.models import EncoderProtocol, SearchProtocol
from mteb.tasks.classification.zxx.urban_sound8k import UrbanSound8kClassification
from sklearn.model_selection import KFold
from torch.utils.data import DataLoader

from benchmark.encoders.contract import LoadedEncoder
from benchmark.encoders.registry import load_encoder
from benchmark.mteb import EncoderModel, load_mteb_model
from bgknown.errors import InvalidInputError, NotFiniteError
from tests.benchmark.kinds import published
from tests.benchmark.mteb import made
from tests.benchmark.mteb.made import Hums, WithTexts

pytestmark = [
    pytest.mark.usefixtures("offline"),
    # mteb's logistic regression has 100 iterations, whatever the scale of the embeddings
    pytest.mark.filterwarnings("ignore:lbfgs failed to converge", "ignore:Precision is ill-defined"),
]
ABOUT = {"task_metadata": Hums.metadata, "hf_split": "test", "hf_subset": "default", "show_progress_bar": False}


def encode(model, rows):
    return model.encode(DataLoader(rows, batch_size=2, collate_fn=collate), **ABOUT)


def collate(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def convert(clip):
    return soxr.resample(clip["array"].astype(np.float32), clip["sampling_rate"], 16_000, quality="HQ")


def with_texts():
    return EncoderModel(LoadedEncoder(encoder=WithTexts(), spec="with-texts", kind="python", weights_sha256=""))


def test_logmel_on_a_classification_task_of_mteb_scores_as_by_hand():
    task = Hums()
    task.load_data()
    found = mteb.evaluate(load_mteb_model("logmel"), task, cache=None, show_progress_bar=False, num_proc=1)
    (result,) = found.task_results
    encoder = load_encoder("logmel").encoder
    rows = {split: made.embed_alone(encoder, map(convert, clips)) for split, clips in task.clips.items()}
    labels = [0, 1, 2] * 8
    mean, each = made.score_by_hand(rows["train"], labels, rows["test"], labels, experiments=3, per_label=4)
    scores = result.scores["test"][0]
    assert [one["accuracy"] for one in scores["scores_per_experiment"]] == pytest.approx(each)
    assert result.get_score() == pytest.approx(mean, abs=1e-5)
    assert 0.4 < mean < 1.0  # neither chance nor a task that every calculation solves
    assert len(set(each)) > 1
    assert (found.model_name, found.model_revision) == ("bgknown/logmel", load_encoder("logmel").key)


def test_a_rows_audio_is_converted_as_files_are(tmp_path):
    model, random = load_mteb_model("logmel"), np.random.default_rng(0)
    stereo = 0.1 * random.standard_normal((2, 44_100)).astype(np.float32)
    soundfile.write(str(tmp_path / "stereo.wav"), stereo.T, 44_100, subtype="FLOAT")
    clips = [
        {"array": stereo, "sampling_rate": 44_100},
        {"array": stereo.mean(axis=0).tolist(), "sampling_rate": np.int64(44_100)},
        {"array": stereo[0, :9_000], "sampling_rate": 16_000},
    ]
    rows = encode(model, [{"audio": clip, "label": 0} for clip in clips])
    (decoded,) = made.make_files(tmp_path, ["stereo.wav"], [0], "label")
    assert (rows.dtype, rows.shape) == (np.float32, (3, 128))
    assert np.allclose(rows[0], rows[1], atol=1e-5)
    assert np.allclose(rows[0], encode(model, [decoded])[0], atol=1e-5)
    assert np.array_equal(rows[2], made.embed_alone(model.loaded.encoder, [stereo[0, :9_000]])[0])


def test_clips_of_all_lengths_keep_their_places():
    model, random = load_mteb_model("melpower"), np.random.default_rng(0)
    clips = [random.standard_normal(length).astype(np.float32) for length in (800, 400, 800, 1_600, 400)]
    rows = encode(model, [{"audio": {"array": clip, "sampling_rate": 16_000}} for clip in clips])
    assert np.allclose(rows, made.embed_alone(model.loaded.encoder, clips), rtol=1e-5)


def test_audio_and_text_are_the_sum_of_unit_vectors():
    model = with_texts()
    clips = [{"array": np.full(600, value, np.float32), "sampling_rate": 16_000} for value in (0.1, 0.2, 0.3)]
    texts = ["louder", "quieter", "add a dog"]
    audio = encode(model, [{"audio": clip} for clip in clips])
    text = encode(model, [{"text": text} for text in texts])
    both = encode(model, [{"audio": clip, "text": text} for clip, text in zip(clips, texts, strict=True)])
    assert np.allclose(text, WithTexts().embed_texts(texts))
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (audio, text)]
    assert np.allclose(both, units[0] + units[1], atol=1e-6)
    assert model.mteb_model_meta.modalities == ["audio", "text"]


def test_a_python_class_may_have_texts(tmp_path):
    (tmp_path / "own.py").write_text("from tests.benchmark.mteb.made import WithTexts\n")
    model = load_mteb_model(f"{tmp_path / 'own.py'}:WithTexts", trust_code=True)
    assert model.mteb_model_meta.modalities == ["audio", "text"]
    assert np.allclose(encode(model, [{"text": "louder"}]), WithTexts().embed_texts(["louder"]))


def test_it_is_an_encoder_for_mteb():
    model = load_mteb_model("logmel", name="mine")
    assert isinstance(model, EncoderProtocol)
    assert not isinstance(model, SearchProtocol)
    meta = model.mteb_model_meta
    assert (meta.name, meta.embed_dim, meta.modalities) == ("bgknown/mine", 128, ["audio"])
    assert float(model.similarity(np.array([[2.0, 0.0]]), np.array([[1.0, 1.0]]))) == pytest.approx(0.5**0.5)


def test_results_are_stored_and_read_again(tmp_path, monkeypatch):
    cache, given = mteb.ResultCache(tmp_path), {"show_progress_bar": False, "num_proc": 1}
    first = mteb.evaluate(load_mteb_model("melpower"), Hums(), cache=cache, **given)
    monkeypatch.setattr(EncoderModel, "encode", None)
    again = mteb.evaluate(load_mteb_model("melpower"), Hums(), cache=cache, **given)
    assert again.task_results[0].get_score() == pytest.approx(first.task_results[0].get_score(), abs=1e-5)


def test_texts_are_refused_by_an_encoder_of_audio():
    with pytest.raises(InvalidInputError, match=r"Hums: has texts, and encoder logmel takes only audio .*CLAP"):
        encode(load_mteb_model("logmel"), [{"text": "louder"}])


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ({"image": 1}, InvalidInputError, "Hums: rows have the columns image; audio, text or both are needed"),
        ({"audio": {"array": [], "sampling_rate": 16_000}}, InvalidInputError, r"audio has shape \[0\]; it must be"),
        ({"audio": {"array": [[[0.0]]], "sampling_rate": 1}}, InvalidInputError, r"shape \[1, 1, 1\]; it must be"),
        ({"audio": {"array": [np.nan] * 9, "sampling_rate": 8_000}}, NotFiniteError, "NaN or infinite samples: 9"),
        ({"audio": {"array": [np.nan] * 400, "sampling_rate": 16_000}}, InvalidInputError, "NaN or infinite values"),
    ],
)
def test_rows_that_cannot_be_embedded_are_refused(row, error, message):
    with pytest.raises(error, match=message):
        encode(load_mteb_model("logmel"), [row])


def test_an_encoder_that_needs_training_audio_is_refused(tmp_path):
    spec = published(tmp_path)
    with pytest.raises(InvalidInputError, match=r"mteb has no training audio for it: give them as options, .*\?mean="):
        load_mteb_model(spec)
    assert load_mteb_model(f"{spec}?mean=-7.1&std=4.2").mteb_model_meta.embed_dim == 512


@pytest.mark.data
def test_urbansound8k_by_mtebs_own_task_scores_as_by_hand(shared_data):
    root = shared_data / "tasks" / "urbansound8k"
    table = pd.read_csv(root / "metadata" / "UrbanSound8K.csv")
    files = [f"audio/fold{fold}/{file}" for fold, file in zip(table["fold"], table["slice_file_name"], strict=True)]
    labels = table["classID"].tolist()
    task = UrbanSound8kClassification()
    task.dataset = {"train": made.make_files(root, files, labels, "classID")}
    task.data_loaded = True
    model = load_mteb_model("logmel")
    found = mteb.evaluate(model, task, cache=None, show_progress_bar=False, num_proc=1).task_results[0]
    clips = []
    for file in files:
        samples, rate_hz = soundfile.read(str(root / file), dtype="float32", always_2d=True)
        mono = np.ascontiguousarray(samples.mean(axis=1))
        clips.append(soxr.resample(mono, rate_hz, 16_000, quality="HQ")[: len(mono) * 16_000 // rate_hz])
    rows, labels, scores = made.embed_alone(model.loaded.encoder, clips), np.array(labels), []
    order = None
    for train, test in KFold(n_splits=5, shuffle=True, random_state=42).split(rows):
        order = list(range(len(train))) if order is None else order
        np.random.RandomState(42).shuffle(order)
        chosen = [row for label in set(labels[train]) for row in made.first(order, labels[train], label, 8)]
        probe = made.LogisticRegression(max_iter=100).fit(rows[train][chosen], labels[train][chosen])
        scores.append(float((probe.predict(rows[test]) == labels[test]).mean()))
    each = [one["accuracy"] for one in found.scores["train"][0]["scores_per_experiment"]]
    assert each == pytest.approx(scores)
    assert found.get_score() == pytest.approx(float(np.mean(scores)), abs=1e-5)
    assert float(np.mean(scores)) > 0.4  # of five classes
