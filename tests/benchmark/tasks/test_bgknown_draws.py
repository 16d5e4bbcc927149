"""BgKnown ESC-50 with several draws of each clip and with a grid of SNRs, as a task."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.evaluation.bands import tabulate_bands
from benchmark.evaluation.gradient import hold_out
from benchmark.evaluation.scoring import Place, tabulate_probes
from benchmark.protocol import PROTOCOLS
from benchmark.results.bands import BAND_COLUMNS
from benchmark.tasks.bgknown import add_origins, check_source_leaks, prepare
from benchmark.tasks.contract import TaskOptions
from benchmark.tasks.difference_retrieval import measure_difference_retrieval
from benchmark.tasks.other_backgrounds import pair_other_backgrounds
from benchmark.tasks.snr_bands import divide_by_snr
from bgknown.mixtures.leaks import DatasetSources
from bgknown.mixtures.making import build_dataset


def build_tiny(built, folder, **options):
    tiny, _ = built
    common = {"esc50": tiny.esc50, "fsd50k": tiny.fsd50k, "engine": "direct", "jobs": 1, "cache": folder}
    build_dataset(folder / "out", **common, **options)
    return tiny, folder / "out"


def read(made):
    tiny, root = made
    return prepare(root, TaskOptions(cache=root.parent, data={"esc50": tiny.esc50}))


@pytest.fixture(scope="module")
def drawn(built, tmp_path_factory):
    return build_tiny(built, tmp_path_factory.mktemp("drawn"), draws=2)


@pytest.fixture(scope="module")
def grid(built, tmp_path_factory):
    return build_tiny(built, tmp_path_factory.mktemp("grid"), snr_grid_db=(-10, 5))


def embed_randomly(data, size=4):
    """Embeddings that are the same for the same file."""
    draw = np.random.default_rng(0)
    rows = {}
    for clips in data.signals.values():
        for clip in clips:
            rows.setdefault(clip.path, draw.standard_normal(size).astype(np.float32))
    return {name: np.stack([rows[clip.path] for clip in clips]) for name, clips in data.signals.items()}


def test_every_draw_of_a_clip_is_trained_on_or_tested(drawn):
    data = read(drawn)
    (fold,) = data.folds
    assert (len(fold.train), len(fold.test)) == (12, 8)
    assert data.clips().tolist() == [name.rsplit("_", 1)[0] for name in data.table["clip_id"]]
    assert set(data.clips()[fold.train]).isdisjoint(data.clips()[fold.test])
    assert set(data.table["fold"].iloc[fold.train]) == {1, 2, 3}
    assert data.groups().tolist() == [name.split("-")[1] for name in data.table["clip_id"]]
    assert data.backgrounds().tolist() == data.table["fsd50k_file"].tolist()
    assert data.leak_check == "ok"


def test_a_source_in_both_splits_is_a_leak_whatever_the_suffix():
    table = pd.DataFrame({"split": ["train", "test"], "clip_id": ["1-5-A-0_r0_snr-10", "4-5-B-0_r1_snr-10"]})
    table["esc50_file"] = ["audio/1-5-A-0.wav", "audio/4-5-B-0.wav"]
    table["fsd50k_file"] = ["x/7.wav", "y/8.wav"]
    sources = DatasetSources(clips=dict.fromkeys(table["esc50_file"], "5"), backgrounds={}, credits={})
    assert check_source_leaks(add_origins(table, sources)) == "1 sources in both splits"


def test_shuffled_never_takes_a_recording_of_another_draw(drawn):
    data = read(drawn)
    other = next(setting for setting in data.settings if setting.name == "shuffled").minus_rows
    had = data.table.groupby("clip")["fsd50k_file"].agg(set)
    for row, place in enumerate(other):
        assert data.table["fsd50k_file"].iloc[place] not in had[data.table["clip"].iloc[row]]
        assert data.table["split"].iloc[place] == data.table["split"].iloc[row]
    assert sorted(other) == list(range(len(other)))


@pytest.mark.parametrize("recordings", [5, 12, 60])
def test_pairs_of_many_draws_use_each_row_once(recordings):
    draw = np.random.default_rng(recordings)
    rows = [
        {"clip": f"c{k}", "draw": r, "fsd50k_file": f"r{place}"}
        for k in range(30)
        for r, place in enumerate(draw.permutation(recordings)[:2])
    ]
    table = pd.DataFrame(rows)
    table["esc50_file"], table["split"] = "audio/" + table["clip"] + ".wav", "test"
    table["clip_id"] = table["clip"] + "_r" + table["draw"].astype(str)
    other = pair_other_backgrounds(table)
    had = table.groupby("clip")["fsd50k_file"].agg(set)
    assert sorted(other) == list(range(60))
    assert not any(table["fsd50k_file"][place] in had[table["clip"][row]] for row, place in enumerate(other))


def test_clips_that_have_all_recordings_leave_shuffled_out():
    table = pd.DataFrame({"esc50_file": ["a.wav", "a.wav", "b.wav", "b.wav"], "draw": [0, 1, 0, 1], "split": "test"})
    table["fsd50k_file"], table["clip_id"] = ["r", "s", "s", "r"], ["a_r0", "a_r1", "b_r0", "b_r1"]
    assert pair_other_backgrounds(table) is None


def test_mixtures_at_several_snrs_are_shuffled_alike(grid):
    table = read(grid).table
    other = pair_other_backgrounds(table)
    assert (table["snr_db"].to_numpy() == table["snr_db"].to_numpy()[other]).all()
    for _, rows in table.groupby("clip").groups.items():
        assert len(set(table["clip"].iloc[other[rows]])) == 1


def test_clean_clips_are_embedded_once(drawn):
    data = read(drawn)
    clean = data.signals["clean"]
    assert len(clean) == 20
    assert len(set(clean)) == 10


def test_difference_retrieval_has_each_clip_once_in_its_gallery(drawn):
    data = read(drawn)
    embeddings = dict(embed_randomly(data))
    embeddings["mix"] = embeddings["clean"] + embeddings["a"]
    found = {measure.setting: measure for measure in measure_difference_retrieval(data, embeddings, {})}
    assert found["chance"].metrics["clip R@1"] == pytest.approx(np.full(8, 1 / 4))
    assert found["a"].metrics["clip R@1 uncentred"].tolist() == [1.0] * 8
    assert found["a"].predicted == data.clips()[data.folds[0].test].tolist()


def test_a_limit_and_shuffled_labels_keep_draws_together(drawn):
    _, root = drawn
    data = prepare(root, TaskOptions(cache=root, limit=4, shuffle_labels=True))
    assert len(data.table) == 8
    assert data.table.groupby("clip")["label"].nunique().eq(1).all()


@pytest.mark.parametrize("draw", ["stratified", "random"])
def test_draws_of_a_clip_are_held_out_together(draw):
    names = [f"c{k // 3}" for k in range(60)]
    labels = np.array([k // 3 % 2 for k in range(60)])
    protocol = dataclasses.replace(PROTOCOLS["paper"], validation_draw=draw)
    held = hold_out(protocol, labels, names, seed=0)
    by_clip = pd.Series(held).groupby(names).nunique()
    assert by_clip.eq(1).all()
    single = hold_out(protocol, labels[::3], names[::3], seed=0)
    assert held[::3].tolist() == single.tolist()


def test_bands_of_a_grid_are_its_values(grid):
    data = read(grid)
    assert data.bands.names == ("-10", "5")
    test = data.folds[0].test
    assert data.table["snr_db"].iloc[test].map({-10.0: 0, 5.0: 1}).tolist() == data.bands.places[test].tolist()
    assert set(data.bands.places[data.folds[0].train]) == {-1}


def test_other_snrs_give_bands_of_equal_size(drawn):
    data = read(drawn)
    places = data.bands.places[data.folds[0].test]
    assert np.bincount(places).tolist() == [3, 3, 2]
    achieved = data.table["achieved_snr_db"].iloc[data.folds[0].test].to_numpy()
    assert achieved[places == 0].max() <= achieved[places == 1].min()
    low, high = data.bands.names[0].split(" to ")
    assert (float(low), float(high)) == (round(achieved.min(), 2), round(achieved[places == 0].max(), 2))
    constant = data.table.assign(achieved_snr_db=1.0)
    assert divide_by_snr(constant, data.folds[0].test).names == ("1.00 to 1.00",)


def test_scores_by_band_are_those_of_its_rows(grid):
    data = read(grid)
    (fold,) = data.folds
    right = data.labels()[fold.test]
    low = data.bands.places[fold.test] == 0
    answers = {"mix": np.where(low, 1 - right, right), "a": right}
    places = [Place(setting=name, fold=fold) for name in answers]
    table = tabulate_bands(data, data.bands, tabulate_probes(data, places, list(answers.values()), "accuracy"))
    assert list(table.columns) == BAND_COLUMNS
    means = {(row.band, row.setting): row.mean for row in table.itertuples()}
    assert means == {
        **{(-10, "mix"): 0.0, (5, "mix"): 100.0, (-10, "a"): 100.0, (5, "a"): 100.0},
        **{(-10, "a - mix"): 100.0, (5, "a - mix"): 0.0},
    }
    assert set(table["n"]) == {4}
    assert ((table["low"] <= table["mean"]) & (table["mean"] <= table["high"])).all()


def test_a_run_writes_scores_by_band(drawn, tmp_path):
    tiny, root = drawn
    data = ["--data", f"bgknown={root}", "--data", f"esc50={tiny.esc50}"]
    others = ["--protocol", "linear", "--device", "cpu", "--cache", str(tmp_path / "cache")]
    arguments = ["run", "--encoder", "logmel", "--task", "bgknown", *data, *others, "--out", str(tmp_path / "results")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "10 clips in 20 mixtures, leak check: ok" in result.output
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    table = pd.read_csv(folder / "snr.csv")
    assert list(table.columns) == BAND_COLUMNS
    assert {"mix", "a", "a - mix", "a* - mix"} <= set(table["setting"])
    predictions = pd.read_csv(folder / "predictions.csv")
    part = predictions[(predictions["setting"] == "a") & (predictions["metric"] == "accuracy")]
    assert part["clip_id"].is_unique
    assert len(part) == 8
    assert part["background"].notna().all()
    mean = table[table["setting"] == "a"].pipe(lambda rows: (rows["mean"] * rows["n"]).sum() / rows["n"].sum())
    assert mean == pytest.approx(100 * part["score"].mean(), abs=1e-3)
