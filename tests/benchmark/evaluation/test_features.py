"""What probes are trained and tested on, how the training part is divided, and how the weight is chosen."""

import dataclasses

import numpy as np
import pytest

from benchmark.evaluation.features import choose_alpha, make_features, name_features, split_inner
from benchmark.tasks.contract import Fold
from tests.benchmark.evaluation.made import ALPHAS, make_embeddings, make_setting, make_task

MIX, A = make_setting("mix"), make_setting("a", minus="a")
CLEAN_TO_A = make_setting("clean -> a", "clean", tested=A)


def test_features_are_the_signal_minus_alpha_times_the_other():
    data = make_task()
    embeddings = make_embeddings(data)
    fold = data.folds[0]
    assert np.array_equal(make_features(MIX, embeddings, data, fold), embeddings["mix"])
    half = make_features(A, embeddings, data, fold, 0.5)
    assert np.allclose(half, embeddings["mix"] - 0.5 * embeddings["a"], atol=1e-6)
    assert np.array_equal(make_features(A, embeddings, data, fold, 0.0), embeddings["mix"])


def test_clean_to_a_standardises_each_side_by_its_own_training_rows():
    data = make_task()
    fold = data.folds[0]
    embeddings = make_embeddings(data)
    # an encoder whose remainders have another offset and scale in every dimension than its clean embeddings
    embeddings["mix"] = 7.0 * embeddings["mix"] + 100.0
    embeddings["a"] = 7.0 * embeddings["a"] - 30.0
    features = make_features(CLEAN_TO_A, embeddings, data, fold)
    assert features.dtype == np.float32
    remainder = embeddings["mix"] - embeddings["a"]
    for rows, side in ((fold.train, embeddings["clean"]), (fold.test, remainder)):
        mean, std = side[fold.train].mean(axis=0), side[fold.train].std(axis=0)
        assert np.allclose(features[rows], (side[rows] - mean) / std, rtol=1e-3, atol=2e-3)
    # mix = clean + background, so standardised remainders are standardised clean embeddings
    clean = embeddings["clean"]
    expected = (clean - clean[fold.train].mean(axis=0)) / clean[fold.train].std(axis=0)
    assert np.allclose(features, expected, atol=5e-3)


def test_the_test_part_does_not_enter_the_standardisation():
    data = make_task()
    fold = data.folds[0]
    embeddings = make_embeddings(data)
    before = make_features(CLEAN_TO_A, embeddings, data, fold)
    changed = {name: values.copy() for name, values in embeddings.items()}
    for values in changed.values():
        values[fold.test] *= 1_000.0
    assert np.array_equal(make_features(CLEAN_TO_A, changed, data, fold)[fold.train], before[fold.train])


def test_equal_features_have_one_name_and_different_ones_never():
    fold, other = (
        Fold(name="1", train=np.arange(2), test=np.arange(2)),
        Fold(name="2", train=np.arange(2), test=np.arange(2)),
    )
    star = make_setting("a*", minus="a", alphas=ALPHAS)
    shuffled = make_setting("shuffled", minus="a", minus_rows=np.array([1, 0]))
    assert name_features(MIX, fold) == name_features(star, fold, 0.0) == name_features(shuffled, other, 0.0)
    assert name_features(A, fold) == name_features(star, other, 1.0)
    names = {
        name_features(setting, where, alpha)
        for setting, where, alpha in (
            (MIX, fold, 1.0),
            (A, fold, 1.0),
            (star, fold, 0.5),
            (shuffled, fold, 1.0),
            (shuffled, fold, 0.5),
            (CLEAN_TO_A, fold, 1.0),
            (CLEAN_TO_A, other, 1.0),
        )
    }
    assert len(names) == 7


def test_the_task_s_own_folds_are_held_out_in_turn():
    data = make_task()
    inner = split_inner(data, data.folds[0])
    folds = data.table["fold"].to_numpy()
    assert [set(folds[held]) for _, held in inner] == [{"1"}, {"2"}, {"3"}, {"4"}]
    for fitted, held in inner:
        assert set(folds[fitted]) == {"1", "2", "3", "4"} - set(folds[held])
        assert not set(data.folds[0].test) & {*fitted, *held}


def test_a_validation_split_is_what_is_held_out():
    data = make_task()
    fold = Fold(name="", train=np.arange(0, 64), valid=np.arange(64, 96), test=np.arange(96, 160))
    ((fitted, held),) = split_inner(data, fold)
    assert np.array_equal(fitted, fold.train)
    assert np.array_equal(held, fold.valid)


def test_without_either_groups_are_dealt_whole():
    data = make_task()
    data = dataclasses.replace(data, table=data.table.drop(columns="fold"))
    inner = split_inner(data, data.folds[0])
    assert len(inner) == 5
    groups = data.groups()
    assert sorted(np.concatenate([held for _, held in inner])) == data.folds[0].train.tolist()
    for fitted, held in inner:
        assert not set(groups[fitted]) & set(groups[held])
        assert set(data.table["label"].iloc[held]) == set("abcd")


def test_views_that_are_trained_on_are_fitted_and_views_that_are_tested_are_held_out():
    data = make_task()
    n = len(data.table)
    data = dataclasses.replace(data, training_rows=np.arange(n) + n)
    for fitted, held in split_inner(data, data.folds[0]):
        assert (fitted >= n).all()
        assert (held < n).all()
        assert not set(fitted - n) & set(held)


@pytest.mark.parametrize("seed", range(3))
def test_the_weight_is_1_where_the_mixture_is_the_sum_and_0_where_the_background_is_of_no_mixture(seed):
    data = make_task()
    embeddings = make_embeddings(data, seed=seed)
    exact, random = (make_setting("x", minus=minus, alphas=ALPHAS) for minus in ("a", "other"))
    assert choose_alpha(exact, embeddings, data, data.folds[0]) == 1.0
    quiet = make_embeddings(data, seed=seed, loud=0.3)
    quiet["other"] = embeddings["other"]
    assert choose_alpha(random, quiet, data, data.folds[0]) == 0.0
    assert choose_alpha(A, embeddings, data, data.folds[0]) is None


def test_the_weight_is_the_encoder_s_own():
    """An encoder whose mixtures hold half of the background's embedding."""
    data = make_task()
    embeddings = make_embeddings(data)
    embeddings["mix"] = embeddings["clean"] + np.float32(0.5) * embeddings["a"]
    star = make_setting("a*", minus="a", alphas=ALPHAS)
    assert choose_alpha(star, embeddings, data, data.folds[0]) == 0.5


def test_test_clips_do_not_choose_the_weight():
    data = make_task()
    embeddings = make_embeddings(data)
    for values in embeddings.values():
        values[data.folds[0].test] = np.nan
    star = make_setting("a*", minus="a", alphas=ALPHAS)
    assert choose_alpha(star, embeddings, data, data.folds[0]) == 1.0
