import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchmark.results.stats import bootstrap_ci, compare_paired, mcnemar, summarise
from bgknown.errors import InvalidInputError


def test_three_seeds_by_hand():
    # mean 82, std 1, t(0.975, 2) = 4.303
    found = summarise([81.0, 82.0, 83.0])
    assert (found.mean, found.std, found.n) == (82.0, 1.0, 3)
    assert found.ci95_high - 82.0 == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
    assert found.ci95_low == pytest.approx(164.0 - found.ci95_high)


@pytest.mark.parametrize("n", [2, 5, 40])
def test_interval_is_that_of_scipy(n):
    values = np.random.default_rng(n).normal(50, 3, n)
    found = summarise(values.tolist())
    wanted = scipy_stats.t.interval(0.95, n - 1, loc=values.mean(), scale=scipy_stats.sem(values))
    assert (found.ci95_low, found.ci95_high) == pytest.approx(wanted)


def test_one_value_has_no_spread():
    found = summarise([47.0])
    assert (found.mean, found.std, found.ci95_low, found.ci95_high, found.n) == (47.0, None, None, None, 1)


def test_interval_covers_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(0)
    found = [summarise(draw.normal(10, 2, 3).tolist()) for _ in range(2000)]
    # 3 standard errors of a share of 0.95 in 2,000
    assert np.mean([one.ci95_low <= 10 <= one.ci95_high for one in found]) == pytest.approx(0.95, abs=0.015)


def test_bootstrap_of_right_and_wrong_is_binomial():
    scores = np.repeat([1.0, 0.0], [300, 500])
    low, high = bootstrap_ci(scores, draws=200_000)
    wanted = scipy_stats.binom.ppf([0.025, 0.975], 800, 300 / 800) / 800
    assert (low, high) == pytest.approx(wanted, abs=1 / 800)


def test_bootstrap_is_that_of_scipy():
    scores = np.random.default_rng(1).gamma(2.0, size=120)
    wanted = scipy_stats.bootstrap(
        (scores,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert bootstrap_ci(scores, draws=20_000) == pytest.approx((wanted.low, wanted.high), abs=0.01)


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(3)
    found = [bootstrap_ci(draw.random(200) < 0.6, draws=500, seed=i) for i in range(600)]
    assert np.mean([low <= 0.6 <= high for low, high in found]) == pytest.approx(0.95, abs=0.03)


def test_bootstrap_resamples_groups_whole():
    # clips of a group are copies: four clips a group say no more than one
    groups = np.repeat(np.arange(50), 4)
    scores = (np.random.default_rng(4).random(50) < 0.5).astype(float)
    alone = bootstrap_ci(scores)
    assert bootstrap_ci(np.repeat(scores, 4), groups.tolist()) == pytest.approx(alone)
    wide, narrow = alone[1] - alone[0], np.subtract(*bootstrap_ci(np.repeat(scores, 4))[::-1])
    assert wide / narrow == pytest.approx(2.0, rel=0.15)


def test_bootstrap_weights_groups_by_their_clips():
    # a group of 9 clips at 1 and one of 1 clip at 0: resamples are both of one kind, or one of each
    low, high = bootstrap_ci([1.0] * 9 + [0.0], ["large"] * 9 + ["small"], draws=2000)
    assert (low, high) == (0.0, 1.0)
    assert bootstrap_ci([0.5] * 7) == (0.5, 0.5)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_bootstrap_depends_on_its_seed_and_not_on_the_order(seed):
    scores = np.random.default_rng(seed).integers(0, 4, 30) / 3
    found = bootstrap_ci(scores, draws=200, seed=seed)
    assert found == bootstrap_ci(scores[::-1], draws=200, seed=seed)
    assert found[0] <= scores.mean() <= found[1]


def test_bootstrap_in_blocks_keeps_every_draw(monkeypatch):
    monkeypatch.setattr("benchmark.results.stats.BLOCK", 50)
    scores = np.arange(10.0)
    low, high = bootstrap_ci(scores, draws=4_001)
    assert (low, high) == pytest.approx(4.5 + np.array([-1, 1]) * 1.96 * scores.std() / math.sqrt(10), abs=0.15)


def plain_sign_flip(differences):
    """The definition: every combination of signs."""
    signs = np.array(list(itertools.product([-1, 1], repeat=len(differences))))
    return float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9))


@given(thirds=st.lists(st.integers(-3, 3), min_size=1, max_size=10))
def test_exact_p_on_means_of_three_seeds_follows_the_definition(thirds):
    b = np.full(len(thirds), 2.0)
    found = compare_paired(b + np.array(thirds) / 3, b, draws=10)
    assert found.exact
    assert found.p == pytest.approx(plain_sign_flip(np.array(thirds) / 3))
    assert (found.wins, found.losses, found.ties) == tuple(sum(sign(x) for x in thirds) for sign in SIGNS)


SIGNS = (lambda x: x > 0, lambda x: x < 0, lambda x: x == 0)


@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_exact_p_on_any_numbers_is_that_of_scipy(n):
    draw = np.random.default_rng(n)
    a, b = draw.normal(0.4, 1, n), draw.normal(0, 1, n)
    wanted = plain_sign_flip(a - b)
    assert compare_paired(a, b, draws=10).p == pytest.approx(wanted)
    if n > 1:
        scipys = scipy_stats.permutation_test(
            (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True
        )
        assert scipys.pvalue == pytest.approx(wanted)


def test_exact_p_of_many_clips_is_the_binomial_one():
    a, b = np.repeat([1.0, 0.0, 1.0], [300, 220, 1000]), np.repeat([0.0, 1.0, 1.0], [300, 220, 1000])
    found = compare_paired(a, b)
    assert found.exact
    assert found.p == pytest.approx(scipy_stats.binomtest(300, 520).pvalue)
    assert (found.n, found.wins, found.losses, found.ties) == (1520, 300, 220, 1000)
    assert found.mean == pytest.approx(80 / 1520)


def test_random_flips_come_near_the_normal_limit():
    draw = np.random.default_rng(5)
    a, b = draw.normal(0.0, 1, 400), draw.normal(0.1, 1, 400)
    found = compare_paired(a, b, draws=20_000)
    difference = a - b
    z = abs(difference.sum()) / math.sqrt((difference**2).sum())
    assert not found.exact
    assert found.p == pytest.approx(2 * scipy_stats.norm.sf(z), abs=0.012)
    assert found.ci95_low < found.mean < found.ci95_high
    half = 1.96 * scipy_stats.sem(difference)
    assert (found.ci95_low, found.ci95_high) == pytest.approx((found.mean - half, found.mean + half), abs=0.02)


def test_random_p_is_never_zero():
    a = 5 + np.random.default_rng(6).random(100)
    found = compare_paired(a, np.zeros(100), draws=999)
    assert not found.exact
    assert found.p == 1 / 1000


def test_test_holds_its_level_and_finds_a_difference():
    draw = np.random.default_rng(7)

    def p(gain):
        a, b = ((draw.random((80, 3)) < share).mean(axis=1) for share in (0.5 + gain, 0.5))
        return compare_paired(a, b, draws=10).p

    assert np.mean([p(0.0) <= 0.05 for _ in range(400)]) == pytest.approx(0.05, abs=0.03)
    assert np.mean([p(0.2) <= 0.05 for _ in range(50)]) > 0.9


def test_groups_are_flipped_whole():
    # ten recordings of five clips: the sign test has ten signs, not fifty
    difference = np.repeat(np.ones(10), 5)
    found = compare_paired(difference, np.zeros(50), np.repeat(np.arange(10), 5).tolist())
    assert found.p == pytest.approx(2 / 2**10)
    assert found.n == 50


def test_rounding_is_a_tie():
    found = compare_paired([0.1 + 0.2, 1.0], [0.3, 1.0])
    assert (found.ties, found.p, found.mean) == (2, 1.0, 0.0)


def test_swapping_sides_turns_the_sign():
    draw = np.random.default_rng(8)
    a, b = draw.integers(0, 4, 60) / 3, draw.integers(0, 4, 60) / 3
    one, two = compare_paired(a, b), compare_paired(b, a)
    assert (one.mean, one.wins, one.p) == (pytest.approx(-two.mean), two.losses, pytest.approx(two.p))


@given(answers=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_the_binomial_test_and_the_sign_flip(answers):
    a, b = np.array(answers).T
    found = mcnemar(a, b)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    assert (found.only_a, found.only_b) == (only_a, only_b)
    wanted = scipy_stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p == pytest.approx(wanted)
    assert compare_paired(a.astype(float), b.astype(float), draws=1).p == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: summarise([]), "values has shape .0.; it must be a vector of at least one"),
        (lambda: summarise([1.0, math.nan]), "values holds nan at place 1"),
        (lambda: bootstrap_ci([[1.0]]), r"per_clip has shape \[1, 1\]"),
        (lambda: bootstrap_ci([1.0], draws=0), "draws is 0; it must be at least 1"),
        (lambda: bootstrap_ci([1.0, 2.0], ["x"]), "there are 1 groups for 2 clips"),
        (lambda: compare_paired([1.0], [1.0, 2.0]), "a has 1 clips and b 2; both must have the same"),
        (lambda: compare_paired([1.0], [math.inf]), "b holds inf at place 0"),
        (lambda: mcnemar([1, 0], [True, False]), r"a_correct is int64 \[2\] and b_correct bool"),
        (lambda: mcnemar([True], [True, False]), "must be boolean vectors of the same length"),
    ],
)
def test_bad_input_is_one_line(call, match):
    with pytest.raises(InvalidInputError, match=match):
        call()
