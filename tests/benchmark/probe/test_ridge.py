import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from benchmark.probe import ridge
from benchmark.probe.design import Standardiser
from benchmark.probe.folds import deal_folds
from bgknown.errors import InvalidInputError
from tests.benchmark.probe.clusters import make_clusters


def predict_by_the_others(x, labels, groups, penalty, classes):
    """Each group's prediction by a regression that is fitted without it, one regression after another."""
    targets = np.eye(classes)[labels]
    found, errors = np.empty(len(labels), dtype=np.int64), np.empty(len(labels))
    for group in np.unique(groups):
        inside = groups == group
        model = Ridge(alpha=penalty * len(labels)).fit(x[~inside], targets[~inside])
        outputs = model.predict(x[inside])
        found[inside] = outputs.argmax(axis=1)
        errors[inside] = ((outputs - targets[inside]) ** 2).sum(axis=1)
    return np.mean(found == labels), errors.sum() / (len(labels) * classes)


@pytest.mark.parametrize("size", [12, 90], ids=["tall", "wide"])
@pytest.mark.parametrize("of_a_group", [1, 3])
def test_scores_of_clips_left_out_are_those_of_regressions_without_them(size, of_a_group, monkeypatch):
    monkeypatch.setattr(ridge, "BLOCK_ROWS", 7)
    features, labels = make_clusters(n=48, size=size, spread=3.0)
    groups = np.array([f"g{i // of_a_group}" for i in range(48)])
    rows = np.arange(48)
    found = ridge.fit_ridge(features, labels, rows, groups.tolist(), 4)
    x = Standardiser(features, rows).apply(features, rows, dtype=torch.float64, device="cpu").numpy()
    scores = {penalty: predict_by_the_others(x, labels.numpy(), groups, penalty, 4) for penalty in ridge.PENALTIES}
    best = max(scores, key=lambda penalty: (scores[penalty][0], -scores[penalty][1]))
    assert found.penalty == best
    assert found.left_out_accuracy == pytest.approx(scores[best][0])
    assert found.left_out_error == pytest.approx(scores[best][1], rel=1e-6)


def test_predictions_are_those_of_scikit_learn():
    features, labels = make_clusters(n=120, size=30, spread=2.0)
    rows, test = np.arange(80), np.arange(80, 120)
    found = ridge.fit_ridge(features, labels, rows, [""] * 80, 4)
    standardiser = Standardiser(features, rows)
    x, tested = (standardiser.apply(features, part, dtype=torch.float64, device="cpu").numpy() for part in (rows, test))
    model = Ridge(alpha=found.penalty * 80).fit(x, np.eye(4)[labels[:80]])
    np.testing.assert_array_equal(found.predict(features, test).numpy(), model.predict(tested).argmax(axis=1))


def test_twins_in_a_group_do_not_answer_for_each_other():
    """Labels are noise, but every clip is there twice: only whole groups left out show that nothing was learned."""
    draw = np.random.default_rng(0)
    half = draw.standard_normal((60, 40)).astype(np.float32)
    features, labels = (
        torch.from_numpy(np.concatenate([half, half])),
        torch.from_numpy(draw.integers(0, 4, 60)).repeat(2),
    )
    names = [f"clip {i % 60}" for i in range(120)]
    alone = ridge.fit_ridge(features, labels, np.arange(120), [""] * 120, 4)
    grouped = ridge.fit_ridge(features, labels, np.arange(120), names, 4)
    assert alone.left_out_accuracy > 0.6
    assert grouped.left_out_accuracy < 0.4


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=20, max_size=80))
def test_folds_hold_whole_groups_and_do_not_depend_on_the_order(clips):
    labels = np.array([label for label, _ in clips])
    groups = [f"{label} {group}" for label, group in clips]
    if len(set(groups)) < 2:
        return
    dealt = deal_folds(labels, groups)
    by_group = {}
    for group, fold in zip(groups, dealt, strict=True):
        by_group.setdefault(group, set()).add(fold)
    assert all(len(folds) == 1 for folds in by_group.values())
    assert set(dealt) == set(range(min(5, len(by_group))))
    turned = deal_folds(labels[::-1], groups[::-1])
    np.testing.assert_array_equal(turned[::-1], dealt)


def test_folds_are_alike_in_their_classes():
    labels = np.arange(100) % 4
    dealt = deal_folds(labels, [""] * 100)
    counts = np.array([np.bincount(labels[dealt == fold], minlength=4) for fold in range(5)])
    assert counts.min() == counts.max() == 5


def test_one_group_alone_is_refused():
    with pytest.raises(InvalidInputError, match="all training clips are of one group; at least two are required"):
        deal_folds(np.array([0, 1, 0]), ["x", "x", "x"])
