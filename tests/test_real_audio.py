"""BgKnown of real recordings: ESC-10, and recordings in the layout of FSD50K (../shared/data)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmark import tasks
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.encoders.registry import load_encoder
from benchmark.evaluate import evaluate
from benchmark.probe import draw_validation_rows
from benchmark.protocol import PROTOCOLS, Protocol
from benchmark.results.paired import compare_paired
from benchmark.results.stats import estimate_share
from benchmark.tasks import bgknown as task
from benchmark.tasks.contract import TaskOptions
from bgknown.corpora.pair import open_corpora
from bgknown.mixtures.build import build
from bgknown.mixtures.dataset import open_dataset
from bgknown.mixtures.options import BuildOptions
from bgknown.mixtures.verify import verify
from bgknown.pages.dataset_page import write_dataset_page
from bgknown.pages.options import PageOptions

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    corpora = open_corpora(shared_data / "esc10", shared_data / "fsd50k", cache=root / "cache")
    build(corpora, BuildOptions(cache=root / "cache"), root / "out")
    return root / "out"


def test_it_verifies_clean(real):
    assert verify(real, jobs=2)[1] == []


def test_it_has_the_rows_lengths_and_snrs_it_should(real):
    table = open_dataset(real).table
    assert table["split"].value_counts().to_dict() == {"train": 240, "test": 160}
    assert (table["achieved_snr_db"] - table["snr_db"]).abs().max() < 0.05
    assert {soundfile.info(path).frames for path in (real / "audio").rglob("*.wav")} == {220_500}


def test_backgrounds_are_disjoint_evenly_used_and_never_the_clips_own_source(real):
    table = open_dataset(real).table
    used = {split: set(part["fsd50k_file"]) for split, part in table.groupby("split")}
    assert not used["train"] & used["test"]
    assert (
        table.groupby("split")["fsd50k_file"].value_counts().groupby("split").agg(lambda n: n.max() - n.min()).max()
        == 1
    )
    assert "189237" not in table.loc["5-189237-A-12", "fsd50k_file"]


def test_two_thousand_rows_of_a_page_stay_below_ten_megabytes(real, tmp_path):
    report = write_dataset_page(PageOptions(folder=real, out=tmp_path, sample=100))
    assert (report.rows, report.faults, report.checks.faults) == (100, (), ())
    assert report.page_bytes < 100 * 5_000


def test_the_five_wav_clips_build_too(shared_data, tmp_path):
    corpora = open_corpora(shared_data / "esc50_extra", shared_data / "fsd50k", cache=tmp_path / "cache")
    report = build(corpora, BuildOptions(cache=tmp_path / "cache", jobs=1), tmp_path / "out")
    assert len(report.table) == 5
    assert verify(tmp_path / "out", jobs=1)[1] == []


@pytest.fixture(scope="module")
def data(real, shared_data):
    return task.prepare(real, TaskOptions(cache=real, data={"esc50": shared_data / "esc10"}))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return EmbedSettings(cache=tmp_path_factory.mktemp("embeddings"))


def keep_settings(data, *names):
    """A task with only some of its settings: each takes three probes of its own, trained in the same way."""
    settings = [setting for setting in data.settings if setting.name in names]
    assert len(settings) == len(names)
    return dataclasses.replace(data, settings=settings, gains=())


def by_clip(evaluation, setting, metric="accuracy"):
    (score,) = (score for score in evaluation.scores if (score.setting, score.metric) == (setting, metric))
    return score.by_clip


def test_probes_are_as_good_as_scikit_learn_s_logistic_regression(data, settings):
    loaded = load_encoder("logmel")
    data = keep_settings(data, "mix", "a", "shuffled", "clean")
    evaluation = evaluate(loaded, data, Protocol(), settings)
    labels, (fold,) = data.labels(), data.folds
    embeddings = {name: embed_clips(loaded, clips, settings) for name, clips in data.signals.items()}
    names = data.table["clip_id"].to_numpy()[fold.train].tolist()
    splits = [fold.train[~draw_validation_rows(labels[fold.train], names, share=0.1, seed=seed)] for seed in range(3)]
    for setting in data.settings:
        features = setting.features(embeddings)
        correct = []
        for rows in splits:
            scaler = StandardScaler().fit(features[rows])
            # about as regularised as 200 steps of Adam are
            reference = LogisticRegression(C=0.01, max_iter=1000).fit(scaler.transform(features[rows]), labels[rows])
            correct.append(reference.predict(scaler.transform(features[fold.test])) == labels[fold.test])
        found = estimate_share(by_clip(evaluation, setting.name))
        assert found.low <= np.mean(correct) <= found.high, setting.name
    assert by_clip(evaluation, "mix").mean() > 0.25  # chance is 0.1
    assert by_clip(evaluation, "clean").mean() > 0.6


def test_another_background_does_not_work_where_differences_are_exact(data, settings):
    data = keep_settings(data, "a", "shuffled", "bg")
    evaluation = evaluate(load_encoder("melpower"), data, Protocol(), settings)
    result = compare_paired(by_clip(evaluation, "a"), by_clip(evaluation, "shuffled"))
    assert result.low > 0
    # the remainder is the clip times a gain, which the cosine ignores unless a mean is taken off
    assert by_clip(evaluation, "a", "clip R@1 uncentred").mean() > 0.9
    assert by_clip(evaluation, "bg").mean() < 0.25


def test_esc_10_in_its_official_folds(shared_data, tmp_path):
    data = tasks.prepare("esc50", shared_data / "esc10", TaskOptions(cache=tmp_path))
    assert len(data.table) == 400
    assert [len(fold.test) for fold in data.folds] == [80] * 5
    assert data.leak_check == "ok"
    evaluation = evaluate(load_encoder("logmel"), data, PROTOCOLS["evar"], EmbedSettings(cache=tmp_path))
    assert evaluation.scores[0].by_clip.mean() >= 0.6


def test_real_parts_are_read_as_their_owners_publish_them(shared_data, tmp_path):
    options = TaskOptions(cache=tmp_path)
    us8k = tasks.prepare("us8k", shared_data / "tasks" / "urbansound8k", options)
    assert [fold.name for fold in us8k.folds] == ["1", "2", "3", "10"]
    assert (len(us8k.table), us8k.leak_check) == (52, "ok")
    spcv2 = tasks.prepare("spcv2", shared_data / "tasks" / "speech_commands", options)
    assert spcv2.table["split"].value_counts().to_dict() == {"train": 25, "test": 4, "valid": 1}
