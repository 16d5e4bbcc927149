"""The regression: scikit-learn's as oracle, the plain subtraction as limit, memory that does not grow."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from benchmark.heads.features import form_features
from benchmark.heads.moments import add_up, measure_scales
from benchmark.heads.network import HeadNetworkSettings, train_network
from benchmark.heads.penalties import measure_penalties
from benchmark.heads.ridge import (
    RIDGE_PENALTIES,
    LinearMap,
    choose_ridge,
    fit_subtraction,
    make_subtraction,
    measure_map_error,
    solve_ridge,
)
from benchmark.heads.row_space import find_row_space

SIZE = 6


def make_embeddings(rows, *, seed=0, alpha=0.8, noise=0.3):
    """y_mix = y_clean + alpha y_bg + noise, around a mean."""
    draw = np.random.default_rng(seed)
    clean, background = 2.0 + draw.standard_normal((2, rows, SIZE))
    mix = clean + alpha * background + noise * draw.standard_normal((rows, SIZE))
    return [values.astype(np.float32) for values in (mix, background, clean)]


def make_pairs(form, embeddings, block=50):
    mix, background, clean = embeddings
    for start in range(0, len(mix), block):
        part = slice(start, start + block)
        yield form_features(form, mix[part], background[part]), clean[part].astype(np.float64)


def prepare(form, *sets):
    """Scales of the first set, and the moments of all."""
    scales = measure_scales(make_pairs(form, sets[0]))
    width = {"mix": 1, "linear": 2, "full": 4}[form] * SIZE
    return scales, *(add_up(map(scales.standardise, make_pairs(form, each)), width, SIZE) for each in sets)


def find_subtraction(scales, embeddings, form="linear"):
    return fit_subtraction(map(scales.standardise, make_pairs(form, embeddings)), scales)


@pytest.mark.parametrize("form", ["mix", "linear", "full"])
def test_the_closed_form_is_scikit_learns_ridge(form):
    embeddings = make_embeddings(203)
    scales, moments = prepare(form, embeddings)
    whole = [np.concatenate(part) for part in zip(*make_pairs(form, embeddings), strict=True)]
    x, y = scales.standardise(tuple(whole))
    assert x.mean(axis=0) == pytest.approx(0.0, abs=1e-12)
    assert y.std(axis=0) == pytest.approx(1.0)
    for penalty in (1e-3, 0.1, 10.0):
        own = solve_ridge(moments, penalty, np.zeros_like(moments.xy))
        oracle = Ridge(alpha=penalty * len(x)).fit(x, y)
        assert pytest.approx(oracle.coef_, abs=1e-9) == own.weight.T
        assert own.bias == pytest.approx(oracle.intercept_, abs=1e-9)
        error = np.square(y - oracle.predict(x)).mean()
        assert moments.measure_error(own.weight, own.bias) == pytest.approx(error, rel=1e-9)


def test_a_ridge_that_is_shrunk_to_a_prior_is_that_of_what_the_prior_leaves():
    embeddings = make_embeddings(150)
    scales, moments = prepare("linear", embeddings)
    _, prior = find_subtraction(scales, embeddings)
    x, y = scales.standardise(
        tuple(np.concatenate(part) for part in zip(*make_pairs("linear", embeddings), strict=True))
    )
    own = solve_ridge(moments, 0.5, prior)
    oracle = Ridge(alpha=0.5 * len(x)).fit(x, y - x @ prior)
    assert own.weight == pytest.approx(prior + oracle.coef_.T, abs=1e-9)
    assert solve_ridge(moments, 1e9, prior).weight == pytest.approx(prior, abs=1e-6)


def test_the_best_subtraction_is_found_and_is_the_plain_one():
    embeddings = make_embeddings(2_000, alpha=0.8)
    scales, moments = prepare("linear", embeddings)
    alpha, prior = find_subtraction(scales, embeddings)
    assert alpha == pytest.approx(0.8, abs=0.03)
    errors = {
        value: moments.measure_error(weight := make_subtraction(value, scales), moments.y - moments.x @ weight)
        for value in (alpha - 0.05, alpha, alpha + 0.05)
    }
    assert min(errors, key=errors.get) == alpha
    mix, background, clean = embeddings
    x, _ = scales.standardise((form_features("linear", mix, background), clean.astype(np.float64)))
    plain = x @ prior * scales.target_scale
    difference = mix - alpha * background
    assert plain == pytest.approx(difference - difference.mean(axis=0), abs=1e-4)


def test_one_decomposition_measures_every_penalty_as_fitting_it_does():
    sets = [make_embeddings(60, seed=1), make_embeddings(21, seed=2, alpha=0.4)]
    scales, training, held_out = prepare("full", *sets)
    priors = [np.zeros_like(training.xy), find_subtraction(scales, sets[0], "full")[1]]
    errors = measure_penalties(training, held_out, RIDGE_PENALTIES, priors)
    assert errors.shape == (13, 2)
    for row, penalty in enumerate(RIDGE_PENALTIES):
        for column, prior in enumerate(priors):
            found = solve_ridge(training, penalty, prior)
            expected = held_out.measure_error(found.weight, found.bias)
            assert errors[row, column] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("rows", [(9, 3), (15, 8)])
def test_few_mixtures_give_the_same_head_in_the_space_that_they_span(rows):
    """Fewer mixtures than features, fewer still than values of an embedding, and two that are the same."""
    sets = [make_embeddings(count, seed=count) for count in rows]
    for signal in sets[0]:
        signal[1] = signal[0]
    scales, training, held_out = prepare("full", *sets)
    _, prior = find_subtraction(scales, sets[0], "full")
    assert sum(rows) < training.xx.shape[0] == 4 * SIZE

    def read(embeddings):
        return map(scales.standardise, make_pairs("full", embeddings, 4))

    space = find_row_space([partial(read, each) for each in sets], sum(rows), 4 * SIZE)
    parts = [add_up(read_set(), sum(rows), SIZE) for read_set in space.sets]
    for subtraction in (None, prior):
        whole = choose_ridge(training, held_out, subtraction)
        small = choose_ridge(*parts, None if subtraction is None else space.project_weight(subtraction))
        assert (small.penalty, small.prior) == (whole.penalty, whole.prior)
        assert small.error == pytest.approx(whole.error, rel=1e-9)
        shrunk_to = subtraction if small.prior == "subtraction" else None
        for found, expected in ((small.fitted, whole.fitted), (small.training, whole.training)):
            expanded = space.expand(found, shrunk_to)
            assert expanded.weight == pytest.approx(expected.weight, abs=1e-8)
            assert expanded.bias == pytest.approx(expected.bias, abs=1e-8)
    error = measure_map_error(*parts, space.project_weight(prior))
    assert error == pytest.approx(measure_map_error(training, held_out, prior), rel=1e-9)
    plain = LinearMap(weight=space.project_weight(prior), bias=np.zeros(SIZE))
    assert np.array_equal(space.expand(plain, prior).weight, prior)


def test_held_out_mixtures_decide_between_zero_and_the_subtraction():
    few, held = make_embeddings(14, seed=1, alpha=0.8), make_embeddings(400, seed=2, alpha=0.8)
    scales, training, held_out = prepare("linear", few, held)
    _, prior = find_subtraction(scales, few)
    chosen = choose_ridge(training, held_out, prior)
    assert chosen.prior == "subtraction"  # so few mixtures say little more than alpha
    assert chosen.error < chosen.error_of_zero
    assert chosen.error <= measure_map_error(training, held_out, prior)
    draw = np.random.default_rng(0)
    turn = np.linalg.qr(draw.standard_normal((SIZE, SIZE)))[0].astype(np.float32)
    sets = []
    for seed in (3, 4):  # the mixture's embedding is turned, which no subtraction undoes
        mix, background, clean = make_embeddings(600, seed=seed)
        sets.append((mix @ turn, background, clean))
    scales, training, held_out = prepare("linear", *sets)
    _, prior = find_subtraction(scales, sets[0])
    chosen = choose_ridge(training, held_out, prior)
    assert chosen.error < 0.5 * measure_map_error(training, held_out, prior)
    control = choose_ridge(*prepare("mix", *sets)[1:], None)
    assert control.error > chosen.error
    assert control.fitted.weight.shape == (SIZE, SIZE)


def test_a_feature_that_hardly_varies_in_training_is_not_amplified():
    mix, background, _ = make_embeddings(300)
    scales = measure_scales(make_pairs("full", (mix, background, mix)))
    rare = measure_scales(make_pairs("full", (mix, mix.max(axis=0) + 0 * mix, mix)))  # relu of the difference is 0
    assert np.array_equal(scales.limit_features().scale[:SIZE], scales.scale[:SIZE])
    limited = rare.limit_features().scale
    assert (limited >= 0.3 * np.tile(rare.scale[:SIZE], 4) - 1e-12).all()
    assert limited[SIZE : 2 * SIZE] == pytest.approx(rare.scale[SIZE : 2 * SIZE])  # constant: 1


def test_memory_does_not_grow_with_the_number_of_mixtures():
    peaks = []
    for blocks in (10, 100):
        tracemalloc.start()
        pairs = (next(make_pairs("full", make_embeddings(200, seed=seed), 200)) for seed in range(blocks))
        moments = add_up(pairs, 4 * SIZE, SIZE)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert moments.rows == 200 * blocks
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize(("bend", "gain"), [(0.0, 1.0), (2.0, 0.7)])
def test_the_network_learns_what_no_linear_map_can_and_is_never_worse(bend, gain):
    sets = []
    for seed in (5, 6):
        mix, background, clean = make_embeddings(1_500, seed=seed)
        sets.append((mix, background, (clean + bend * np.abs(background - 2.0)).astype(np.float32)))
    scales, training, held_out = prepare("linear", *sets)
    chosen = choose_ridge(training, held_out, find_subtraction(scales, sets[0])[1])

    def train():
        return train_network(
            lambda: map(scales.standardise, make_pairs("linear", sets[0], 500)),
            lambda: map(scales.standardise, make_pairs("linear", sets[1], 500)),
            chosen.training,
            seed=0,
            device="cpu",
            settings=HeadNetworkSettings(hidden=64, lr=3e-3, max_epochs=25, dropout=0.0),
        )

    found, again = train(), train()
    assert found.error <= gain * chosen.error * (1 + 1e-6)
    assert all(np.array_equal(found.arrays[name], again.arrays[name]) for name in found.arrays)


@pytest.mark.parametrize("counts", [(7, 5), (1, 1), (12, 3), (20, 20)])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_coordinates_are_those_of_the_rows_and_each_block_is_read_once(counts, scale):
    """Rows of very different lengths, one of zeros and two that are the same."""
    draw = np.random.default_rng(3)
    x = draw.standard_normal((sum(counts), 30)) * np.geomspace(1, scale, sum(counts))[:, None]
    x[-1] = x[0]
    x[sum(counts) // 2] = 0.0
    y = draw.standard_normal((sum(counts), SIZE))
    reads = []

    def read(begin, stop):
        for place in range(begin, stop, 4):
            reads.append(place)
            yield x[place : min(place + 4, stop)], y[place : min(place + 4, stop)]

    parts = [partial(read, 0, counts[0]), partial(read, counts[0], sum(counts))]
    space = find_row_space(parts, sum(counts), 30)
    found = [np.concatenate(values) for values in zip(*(block for part in space.sets for block in part()), strict=True)]
    assert len(reads) == len(set(reads))
    assert np.array_equal(found[1], y)
    if space.basis is None:
        assert sum(counts) >= 30
        assert np.array_equal(found[0], x)
        return
    assert np.abs(found[0] - x @ space.basis).max() <= 1e-13 * np.abs(x).max()
    assert np.abs(found[0] @ space.basis.T - x).max() <= 1e-13 * np.abs(x).max()
    assert space.basis.T @ space.basis == pytest.approx(np.eye(sum(counts)), abs=1e-13)


def test_few_mixtures_of_a_wide_encoder_need_no_square_of_its_features():
    width, rows = 4_000, 24
    draw = np.random.default_rng(0)
    blocks = [(draw.standard_normal((rows // 2, width)), draw.standard_normal((rows // 2, SIZE))) for _ in range(2)]
    tracemalloc.start()
    space = find_row_space([partial(iter, blocks[:1]), partial(iter, blocks[1:])], rows, width)
    training, held_out = (add_up(read_set(), rows, SIZE) for read_set in space.sets)
    found = choose_ridge(training, held_out, None)
    weight = space.expand(found.fitted, None).weight
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert weight.shape == (width, SIZE)
    assert peak < 8 * width * width / 20
