import itertools

import numpy as np
import pytest

from benchmark.results import ranks as module
from benchmark.results.paired import compare_paired
from benchmark.results.ranks import group_ties, rank_encoders


def draw_scores(shares, count=300, seed=0):
    draw = np.random.default_rng(seed)
    return np.array([(draw.random(count) < share).astype(float) for share in shares])


def test_ranks_follow_the_means_and_equal_means_share_a_rank():
    scores = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    assert [rank.place for rank in rank_encoders(scores)] == [2, 1, 2]


def test_encoders_that_clearly_differ_have_ranks_of_one_place():
    found = rank_encoders(draw_scores([0.2, 0.9, 0.55]), draws=500)
    assert [(rank.place, rank.low, rank.high, rank.tie) for rank in found] == [(3, 3, 3, 3), (1, 1, 1, 1), (2, 2, 2, 2)]


def test_equal_encoders_are_tied_and_may_have_any_rank():
    found = rank_encoders(draw_scores([0.5, 0.5, 0.5]), draws=500)
    assert {(rank.low, rank.high, rank.tie) for rank in found} == {(1, 3, 1)}


def test_an_encoder_is_in_the_tie_group_of_the_first_that_it_does_not_differ_from():
    scores = draw_scores([0.9, 0.86, 0.3, 0.28])
    assert group_ties(scores, draws=500) == [1, 1, 2, 2]


def test_groups_make_ranks_less_certain():
    draw = np.random.default_rng(1)
    by_group = draw.random((2, 10)) < np.array([[0.75], [0.35]])
    scores = np.repeat(by_group.astype(float), 30, axis=1)
    assert group_ties(scores, draws=500) == [1, 2]
    assert group_ties(scores, [np.repeat(np.arange(10), 30).tolist()], draws=500) == [1, 1]
    # the larger p-value of two groupings counts
    both = [list(range(300)), np.repeat(np.arange(10), 30).tolist()]
    assert group_ties(scores, both, draws=500) == [1, 1]
    assert [(rank.low, rank.high) for rank in rank_encoders(scores, both, draws=500)] == [(1, 2), (1, 2)]


def test_one_group_says_nothing():
    found = rank_encoders(np.array([[1.0, 1.0], [0.0, 0.0]]), [["a", "a"]])
    assert [(rank.place, rank.low, rank.high, rank.tie) for rank in found] == [(1, 1, 2, 1), (2, 1, 2, 1)]


@pytest.mark.parametrize("groups", [9, 40])
def test_p_values_of_pairs_are_those_of_the_paired_test(groups):
    scores = np.random.default_rng(2).random((3, groups))
    found = module._test_pairs(scores.T.copy(), 20_000, 0)
    for one, two in itertools.combinations(range(3), 2):
        expected = compare_paired(scores[one], scores[two], draws=20_000).p
        assert found[one, two] == pytest.approx(expected, abs=1e-9 if groups == 9 else 0.015)
        assert found[one, two] == found[two, one]


def test_blocks_give_the_same_law(monkeypatch):
    scores = draw_scores([0.5, 0.6, 0.7], count=40)
    whole = rank_encoders(scores, draws=2_000)
    monkeypatch.setattr(module, "BLOCK", 100)
    assert [rank.place for rank in rank_encoders(scores, draws=2_000)] == [rank.place for rank in whole]
