"""Difference retrieval: both sides are centred by their own training means, and each clip is in the gallery once."""

import dataclasses

import numpy as np
import pytest

from benchmark.predictions import COSINE
from benchmark.tasks.difference_retrieval import UNCENTRED, measure_difference_retrieval
from tests.benchmark.evaluation.made import ALPHAS, make_embeddings, make_setting, make_task

SETTINGS = (
    make_setting("mix"),
    make_setting("a", minus="a"),
    make_setting("a*", minus="a", alphas=ALPHAS),
    make_setting("clean", "clean"),
    make_setting("clean -> a", "clean", tested=make_setting("a", minus="a")),
)


def make(draws=1):
    """The task, with ``draws`` mixtures of each clip."""
    data = make_task(SETTINGS)
    table = data.table.assign(esc50_file=data.table["clip_id"])
    if draws > 1:
        table = table.loc[np.repeat(table.index, draws)].reset_index(drop=True)
        table["clip_id"] += [f"_r{row % draws}" for row in range(len(table))]
    test = (table["fold"] == "5").to_numpy()
    fold = dataclasses.replace(data.folds[0], train=np.flatnonzero(~test), test=np.flatnonzero(test))
    return dataclasses.replace(data, table=table, folds=[fold])


def measure(data, embeddings, **alphas):
    return {measure.setting: measure for measure in measure_difference_retrieval(data, embeddings, alphas)}


def recall(measures, setting, metric):
    return float(measures[setting].metrics[metric].mean())


def test_an_exact_difference_finds_its_clip():
    data = make()
    found = measure(data, make_embeddings(data))
    assert set(found) == {"mix", "a", "chance"}
    for metric in ("clip R@1", "class R@1", COSINE):
        assert recall(found, "a", metric) == pytest.approx(1.0)
    assert recall(found, "mix", "clip R@1") < 0.5
    assert found["a"].predicted == data.table["clip_id"].iloc[data.folds[0].test].tolist()
    assert np.array_equal(found["a"].rows, data.folds[0].test)


def test_an_offset_between_the_sides_is_taken_off():
    """Without centring, all remainders look alike to the cosine, and every query finds the same clips."""
    data = make()
    embeddings = make_embeddings(data)
    embeddings["mix"] = embeddings["mix"] + np.float32(100.0) * np.eye(12, dtype=np.float32)[0]
    found = measure(data, embeddings)
    assert recall(found, "a", "clip R@1") == 1.0
    assert recall(found, "a", "clip R@1" + UNCENTRED) < 0.2
    assert recall(found, "a", COSINE) < 0.9


def test_means_are_those_of_the_training_part():
    data = make()
    embeddings = make_embeddings(data)
    before = measure(data, embeddings)
    changed = {name: values.copy() for name, values in embeddings.items()}
    for values in changed.values():
        values[data.folds[0].train] += 1_000.0  # leaves uncentred figures alone
    after = measure(data, changed)
    for metric in ("clip R@1" + UNCENTRED, "class R@5" + UNCENTRED, COSINE):
        assert np.array_equal(after["mix"].metrics[metric], before["mix"].metrics[metric])
    shifted = dict(embeddings, clean=embeddings["clean"] + np.float32(5.0))  # the test part moves with its mean
    assert recall(measure(data, shifted), "a", "clip R@1") == 1.0


def test_a_star_uses_the_weight_that_its_probe_chose():
    data = make()
    embeddings = make_embeddings(data)
    found = measure(data, embeddings, **{"a*": 1.0})
    assert recall(found, "a*", "clip R@1") == 1.0
    nothing = measure(data, embeddings, **{"a*": 0.0})
    for metric, values in nothing["a*"].metrics.items():
        assert np.array_equal(values, nothing["mix"].metrics[metric]), metric


def test_several_mixtures_of_a_clip_query_a_gallery_of_clips():
    one, six = make(), make(draws=6)
    clean = make_embeddings(one)["clean"].repeat(6, axis=0)
    embeddings = make_embeddings(six)
    embeddings |= {"clean": clean, "mix": clean + embeddings["a"]}
    found = measure(six, embeddings)
    assert len(found["a"].rows) == 6 * len(one.folds[0].test)
    assert recall(found, "a", "clip R@1") == 1.0
    assert recall(found, "chance", "clip R@1") == pytest.approx(1 / len(one.folds[0].test))


def test_chance_is_what_random_orders_give():
    data = make()
    found = measure(data, make_embeddings(data))
    n, same = len(data.folds[0].test), 8  # clips, and those of each class
    draw = np.random.default_rng(0)
    orders = np.array([draw.permutation(n) for _ in range(20_000)])
    for k in (1, 5, 10):
        assert recall(found, "chance", f"clip R@{k}") == pytest.approx(k / n)
        hits = (orders[:, :k] < same).any(axis=1).mean()
        assert recall(found, "chance", f"class R@{k}") == pytest.approx(hits, abs=0.015)


def test_without_clean_clips_nothing_is_measured():
    data = make()
    embeddings = make_embeddings(data)
    del embeddings["clean"]
    assert measure(data, embeddings) == {}
