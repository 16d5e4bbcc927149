import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchmark.results.paired import compare_paired, correct_by_holm, mcnemar
from benchmark.results.stats import estimate_mean, estimate_share, number_groups, summarise
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
    expected = scipy_stats.t.interval(0.95, n - 1, loc=values.mean(), scale=scipy_stats.sem(values))
    assert (found.ci95_low, found.ci95_high) == pytest.approx(expected)


def test_one_value_has_no_spread():
    found = summarise([47.0])
    assert (found.mean, found.std, found.ci95_low, found.ci95_high, found.n) == (47.0, None, None, None, 1)


def test_interval_covers_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(0)
    found = [summarise(draw.normal(10, 2, 3).tolist()) for _ in range(2000)]
    # 3 standard errors of a share of 0.95 in 2,000
    assert np.mean([one.ci95_low <= 10 <= one.ci95_high for one in found]) == pytest.approx(0.95, abs=0.015)


def test_interval_of_independent_answers_is_wilson_s():
    scores = np.repeat([1.0, 0.0], [300, 500])
    found = estimate_share(scores)
    expected = scipy_stats.binomtest(300, 800).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert (found.mean, found.n_groups) == (0.375, 800)


def test_interval_of_a_mean_is_student_s():
    scores = np.random.default_rng(1).gamma(2.0, size=120)
    found = estimate_mean(scores)
    expected = scipy_stats.t.interval(0.95, 119, loc=scores.mean(), scale=scipy_stats.sem(scores))
    # a skewed sample has fewer degrees of freedom than its size suggests
    assert found.low <= expected[0] < expected[1] <= found.high
    assert (found.low, found.high) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("groups", [None, [0, 0, 1, 1, 2, 2, 3, 3]])
def test_interval_has_a_width_and_stays_inside_where_all_answers_are_the_same(share, groups):
    found = estimate_share([share] * 8, [] if groups is None else [groups])
    n = 8 if groups is None else 4
    square = scipy_stats.t.ppf(0.975, n - 1) ** 2
    assert found.high - found.low == pytest.approx(square / (n + square))
    assert share in {found.low, found.high}


def test_groups_count_whole():
    # clips of a group are copies: four clips a group say no more than one
    groups = np.repeat(np.arange(50), 4).tolist()
    scores = (np.random.default_rng(4).random(50) < 0.5).astype(float)
    alone, copies = estimate_share(scores), estimate_share(np.repeat(scores, 4), [groups])
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high), abs=1e-9)
    assert copies.n_groups == 50
    narrow = estimate_share(np.repeat(scores, 4))
    assert (alone.high - alone.low) / (narrow.high - narrow.low) == pytest.approx(2.0, rel=0.05)


def test_uneven_groups_have_few_degrees_of_freedom():
    draw = np.random.default_rng(5)
    sizes = np.array([60, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    scores = np.repeat(draw.normal(size=10), sizes)
    even = estimate_mean(scores, [np.repeat(np.arange(10), sizes).tolist()])
    assert even.n_groups == 10
    assert even.high - even.low > 4 * scores.std()


def test_the_wider_of_two_groupings_counts():
    draw = np.random.default_rng(6)
    one, two = np.repeat(np.arange(20), 10).tolist(), np.tile(np.arange(50), 4).tolist()
    scores = (draw.random(200) < np.repeat(draw.random(20), 10)).astype(float)
    apart = [estimate_share(scores, [groups]) for groups in (one, two)]
    both = estimate_share(scores, [one, two])
    assert both == max(apart, key=lambda found: found.high - found.low) == apart[0]
    tests = [compare_paired(scores, 1 - scores, [groups]) for groups in (one, two)]
    found = compare_paired(scores, 1 - scores, [one, two])
    assert found.p == max(test.p for test in tests)
    assert found.high - found.low == pytest.approx(max(test.high - test.low for test in tests))


def test_a_clip_without_a_group_stands_for_itself():
    scores = np.random.default_rng(7).integers(0, 2, 30).astype(float)
    assert estimate_share(scores, [[""] * 30]) == estimate_share(scores)
    assert estimate_share(scores, [["", *["a"] * 2, *[""] * 27]]).n_groups == 29
    assert [places.max() + 1 for places in number_groups(3, [["", "", ""], ["a", "", "a"]])] == [3, 2]


def test_one_group_has_no_interval():
    found = estimate_share([1.0, 0.0, 1.0], [["a", "a", "a"]])
    assert (found.mean, found.low, found.high, found.n_groups) == (pytest.approx(2 / 3), None, None, 1)
    assert compare_paired([1.0], [0.0]).low is None


@given(seed=st.integers(0, 1000), count=st.integers(2, 40))
@settings(max_examples=50)
def test_an_interval_holds_the_mean_inside_its_bounds_in_any_order(seed, count):
    draw = np.random.default_rng(seed)
    scores, groups = draw.integers(0, 4, count) / 3, draw.integers(0, 5, count)
    found = estimate_share(scores, [groups.tolist()])
    turned = estimate_share(scores[::-1], [groups[::-1].tolist()])
    if found.n_groups > 1:
        assert 0 <= found.low <= found.mean <= found.high <= 1
        assert (turned.low, turned.high) == (pytest.approx(found.low), pytest.approx(found.high))
    gain = estimate_mean(scores - scores[::-1], [groups.tolist()], bounds=(-1, 1))
    assert gain.low is None or -1 <= gain.low <= gain.high <= 1


def test_holm_is_that_of_statistics_books():
    # Holm (1979) by hand: 4 x 0.01, 3 x 0.02, 2 x 0.03, and never below an earlier one
    assert correct_by_holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert correct_by_holm([0.9, 0.8]) == [1.0, 1.0]
    assert correct_by_holm([]) == []


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
    expected = plain_sign_flip(a - b)
    assert compare_paired(a, b, draws=10).p == pytest.approx(expected)
    if n > 1:
        scipys = scipy_stats.permutation_test(
            (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True
        )
        assert scipys.pvalue == pytest.approx(expected)


def test_exact_p_of_many_clips_is_the_binomial_one():
    a, b = np.repeat([1.0, 0.0, 1.0], [300, 220, 1000]), np.repeat([0.0, 1.0, 1.0], [300, 220, 1000])
    found = compare_paired(a, b)
    assert found.exact
    assert found.p == pytest.approx(scipy_stats.binomtest(300, 520).pvalue)
    assert (found.n, found.wins, found.losses, found.ties) == (1520, 300, 220, 1000)
    assert found.mean == pytest.approx(80 / 1520)


def test_random_flips_approach_the_normal_limit():
    draw = np.random.default_rng(5)
    a, b = draw.normal(0.0, 1, 400), draw.normal(0.1, 1, 400)
    found = compare_paired(a, b, draws=20_000)
    difference = a - b
    z = abs(difference.sum()) / math.sqrt((difference**2).sum())
    assert not found.exact
    assert found.p == pytest.approx(2 * scipy_stats.norm.sf(z), abs=0.012)
    assert found.low < found.mean < found.high
    half = 1.96 * scipy_stats.sem(difference)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=0.02)


def test_random_p_is_never_zero():
    a = 5 + np.random.default_rng(6).random(100)
    found = compare_paired(a, np.zeros(100), draws=999)
    assert not found.exact
    assert found.p == 1 / 1000


def test_false_positives_are_at_the_level_and_a_difference_is_found():
    draw = np.random.default_rng(7)

    def p(gain):
        a, b = ((draw.random((80, 3)) < share).mean(axis=1) for share in (0.5 + gain, 0.5))
        return compare_paired(a, b, draws=10).p

    assert np.mean([p(0.0) <= 0.05 for _ in range(400)]) == pytest.approx(0.05, abs=0.03)
    assert np.mean([p(0.2) <= 0.05 for _ in range(50)]) > 0.9


def test_groups_are_flipped_whole():
    # ten recordings of five clips: the sign test has ten signs, not fifty
    difference = np.repeat(np.ones(10), 5)
    found = compare_paired(difference, np.zeros(50), [np.repeat(np.arange(10), 5).tolist()])
    assert found.p == pytest.approx(2 / 2**10)
    assert (found.n, found.n_groups) == (50, 10)


def test_rounding_errors_are_ties():
    found = compare_paired([0.1 + 0.2, 1.0], [0.3, 1.0])
    assert (found.ties, found.p, found.mean) == (2, 1.0, 0.0)


def test_swapping_the_sides_changes_the_sign():
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
    expected = scipy_stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p == pytest.approx(expected)
    assert compare_paired(a.astype(float), b.astype(float), draws=1).p == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: summarise([]), "values has shape .0.; it must be a vector of at least one"),
        (lambda: summarise([1.0, math.nan]), "values holds nan at place 1"),
        (lambda: estimate_share([[1.0]]), r"per_clip has shape \[1, 1\]"),
        (lambda: compare_paired([1.0], [1.0], draws=0), "draws is 0; it must be at least 1"),
        (lambda: estimate_mean([1.0, 2.0], [["x"]]), "there are 1 groups for 2 clips"),
        (lambda: compare_paired([1.0], [1.0, 2.0]), "a has 1 clips and b 2; both must have the same"),
        (lambda: compare_paired([1.0], [math.inf]), "b holds inf at place 0"),
        (lambda: estimate_share([0.5, 1.5]), "per_clip holds 1.5 at place 1; a share must be in 0..1"),
        (lambda: mcnemar([1, 0], [True, False]), r"a_correct is int64 \[2\] and b_correct bool"),
        (lambda: mcnemar([True], [True, False]), "must be boolean vectors of the same length"),
    ],
)
def test_invalid_input_is_reported_as_one_line(call, match):
    with pytest.raises(InvalidInputError, match=match):
        call()
