import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.embedding.clips import read_clip
from benchmark.tasks import load_task
from benchmark.tasks.bgknown import SETTINGS, add_origins, check_source_leaks, pair_other_backgrounds, prepare
from benchmark.tasks.contract import TaskOptions
from benchmark.tasks.difference_retrieval import measure_difference_retrieval
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.mixtures.dataset import open_dataset
from bgknown.mixtures.leaks import DatasetSources


@pytest.fixture
def data(built):
    corpora, root = built
    return prepare(root, TaskOptions(cache=root.parent, data={"esc50": corpora.esc50}))


def test_the_settings_are_what_the_paper_and_the_controls_say(data):
    n = len(data.table)
    assert [setting.name for setting in data.settings] == list(SETTINGS)
    draw = np.random.default_rng(0)
    embeddings = {name: draw.standard_normal((n, 3)).astype(np.float32) for name in data.signals}
    features = {setting.name: setting.features(embeddings) for setting in data.settings}
    mix = embeddings["mix"]
    assert np.array_equal(features["mix"], mix)
    for name in "abc":
        assert np.array_equal(features[name], mix - embeddings[name])
    assert np.array_equal(features["bg"], embeddings["a"])
    assert np.array_equal(features["clean"], embeddings["clean"])
    shuffled = next(setting for setting in data.settings if setting.name == "shuffled")
    assert np.array_equal(features["shuffled"], mix - embeddings["a"][shuffled.minus_rows])


def test_shuffled_takes_another_recording_of_the_same_split(data):
    other = next(setting for setting in data.settings if setting.name == "shuffled").minus_rows
    for row, place in enumerate(other):
        own, taken = data.table.iloc[row], data.table.iloc[place]
        assert own["split"] == taken["split"]
        assert own["fsd50k_file"] != taken["fsd50k_file"]
    assert sorted(other) == list(range(len(other)))


@pytest.mark.parametrize("sizes", [[1, 1], [3, 1, 2], [5, 5], [4, 3, 1, 1], [2] * 9])
def test_recordings_that_are_used_often_can_be_shuffled(sizes):
    files = [f"r{place}" for place, size in enumerate(sizes) for _ in range(size)]
    table = pd.DataFrame({"split": "test", "fsd50k_file": files, "clip_id": [f"c{i}" for i in range(len(files))]})
    table = table.sample(frac=1.0, random_state=0, ignore_index=True)
    other = pair_other_backgrounds(table)
    assert (table["fsd50k_file"].to_numpy() != table["fsd50k_file"].to_numpy()[other]).all()
    assert sorted(other) == list(range(len(files)))
    again = table.iloc[::-1].reset_index(drop=True)
    pairs = {(c, o) for c, o in zip(table["clip_id"], table["clip_id"][other], strict=True)}
    reverse = pair_other_backgrounds(again)
    assert pairs == {(c, o) for c, o in zip(again["clip_id"], again["clip_id"][reverse], strict=True)}


def test_one_recording_for_most_of_a_split_leaves_shuffled_out(built, tmp_path, monkeypatch):
    table = pd.DataFrame({"split": "test", "fsd50k_file": ["r", "r", "s"], "clip_id": ["a", "b", "c"]})
    assert pair_other_backgrounds(table) is None
    monkeypatch.setattr("benchmark.tasks.bgknown.pair_other_backgrounds", lambda table: None)
    data = prepare(built[1], TaskOptions(cache=tmp_path))
    assert "shuffled" not in [setting.name for setting in data.settings]
    assert any("shuffled is not measured" in note for note in data.notes)


def test_without_esc50_a_line_says_what_is_missing(built, tmp_path):
    data = prepare(built[1], TaskOptions(cache=tmp_path))
    assert "clean" not in data.signals
    assert data.notes == ["clean and the difference retrieval are not measured: give ESC-50 with --data esc50=DIR"]
    assert (
        measure_difference_retrieval(
            data, {name: np.ones((len(data.table), 2), np.float32) for name in data.signals}, {}
        )
        == []
    )


def test_folds_labels_and_facts(data, built, tmp_path):
    assert data.classes() == ["bell", "drum"]
    (fold,) = data.folds
    assert set(data.table["fold"].iloc[fold.train]) == {1, 2, 3}
    assert set(data.table["fold"].iloc[fold.test]) == {4, 5}
    assert data.leak_check == "ok"
    assert data.skipped == 0
    assert len(data.sha256) == 64
    assert len(prepare(built[1], TaskOptions(cache=tmp_path, limit=4)).table) == 4


def check(**columns):
    """The leak check of a training and two test clips without groups."""
    table = pd.DataFrame(
        {"split": ["train", "test", "test"], "clip_id": ["k", "l", "m"], "esc50_file": ["k", "l", "m"]}
    )
    table = table.assign(fsd50k_file=["x/7.wav", "y/8.wav", "y/9.wav"])
    given = {"clip_source": ["5", "6", "4"], "background_source": ["7", "8", "9"], **columns}
    clips = dict(zip(table["esc50_file"], given.pop("clip_source"), strict=True))
    backgrounds = dict(zip(table["fsd50k_file"], given.pop("background_source"), strict=True))
    return check_source_leaks(
        add_origins(table.assign(**given), DatasetSources(clips=clips, backgrounds=backgrounds, credits={}))
    )


@pytest.mark.parametrize(
    ("columns", "shared"),
    [
        ({}, 0),
        ({"clip_source": ["5", "5", "6"]}, 1),
        ({"clip_source": ["9", "4", "6"]}, 1),  # a clip of training and a background of testing
        ({"background_source": ["7", "7", "9"]}, 1),
        ({"group": ["anna", "ben", "anna"]}, 1),
        ({"group": ["5", "5", "4"], "clip_source": ["5", "5", "4"]}, 1),
        ({"group": ["5", "5", "4"], "clip_source": ["5", "6", "4"]}, 1),  # called after one of its sources
        # groups and files mean something in their own corpus only
        ({"group": ["9", "1", "2"]}, 0),
        ({"group": ["1", "7", "2"], "clip_source": ["", "", ""]}, 0),
        ({"group": ["y/8.wav", "1", "2"], "background_source": ["", "", ""]}, 0),
        ({"clip_source": ["", "x/7.wav", ""], "background_source": ["", "", ""]}, 0),
    ],
)
def test_sounds_and_groups_in_both_splits_are_leaks(columns, shared):
    assert check(**columns) == (f"{shared} sources in both splits" if shared else "ok")


def test_clean_is_cut_to_the_length_of_the_mixtures(data):
    audio, _ = read_clip(data.signals["clean"][0], 44_100)
    assert audio.shape == (220_500,)
    assert read_clip(data.signals["mix"][0], 44_100)[0].shape == (220_500,)


def test_difference_retrieval_finds_what_was_added(data):
    n = len(data.table)
    draw = np.random.default_rng(0)
    clean, background = draw.standard_normal((2, n, 16)).astype(np.float32)
    embeddings = {
        "clean": clean,
        "a": background,
        "b": background + 9,
        "c": draw.standard_normal((n, 16)),
        "mix": clean + background,
    }
    found = {measure.setting: measure for measure in measure_difference_retrieval(data, embeddings, {"a*": 1.0})}
    assert set(found) == {"mix", "a", "b", "c", "a*", "bg", "shuffled", "chance"}
    for setting in ("a", "a*"):
        for metric in ("clip R@1", "class R@1", "clip R@5", "class R@10", "clip R@1 uncentred", "cosine to clean"):
            assert found[setting].metrics[metric].mean() == pytest.approx(1.0)
    assert found["b"].metrics["clip R@1"].mean() == 1.0  # a constant offset is centred away
    test = data.folds[0].test
    assert np.array_equal(found["a"].rows, test)
    assert found["a"].predicted == data.table["clip_id"].iloc[test].tolist()
    assert found["chance"].metrics["clip R@1"] == pytest.approx(np.full(4, 1 / 4))
    assert found["chance"].metrics["class R@1"] == pytest.approx(np.full(4, 1 / 2))
    assert found["chance"].metrics["class R@5"] == pytest.approx(np.ones(4))


def copied(built, tmp_path):
    root = tmp_path / "dataset"
    shutil.copytree(built[1], root)
    return root


def change_manifest(root):
    manifest = root / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",bell,", ",drum,", 1))


def change_description(root):
    facts = json.loads((root / "dataset.json").read_text())
    facts["counts"]["train"] += 1
    (root / "dataset.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (change_manifest, InvalidInputError, "category is drum, the recipe says bell.*; `bgknown verify .*` lists all"),
        (change_description, InvalidInputError, "counts.train is 7, the manifest has 6"),
        (lambda root: (root / "manifest.csv").unlink(), NotFoundError, "no dataset"),
        (lambda root: (root / "recipe.csv").unlink(), InvalidInputError, "recipe.csv: no such file"),
    ],
)
def test_a_dataset_that_contradicts_itself_is_refused(built, tmp_path, damage, error, message):
    root = copied(built, tmp_path)
    damage(root)
    with pytest.raises(error, match=message) as raised:
        prepare(root, TaskOptions(cache=root))
    assert "\n" not in str(raised.value)


def test_another_esc50_is_refused(built, tmp_path):
    (tmp_path / "audio").mkdir()
    with pytest.raises(NotFoundError, match="10 of 10 clips of the dataset are missing there, the first: 1-100"):
        prepare(built[1], TaskOptions(cache=tmp_path, data={"esc50": tmp_path}))


def test_tasks_are_found_by_name():
    assert load_task("bgknown").FACTS.name == "bgknown"
    with pytest.raises(NotFoundError, match="no task 'bgknow'; did you mean bgknown"):
        load_task("bgknow")


def test_the_counts_are_those_of_the_dataset(built, tmp_path):
    assert load_task("bgknown").FACTS.counts == {"train": 1200, "test": 800}
    assert len(open_dataset(built[1])) == 10
    assert torch.is_tensor(torch.from_numpy(prepare(built[1], TaskOptions(cache=tmp_path)).labels()))
