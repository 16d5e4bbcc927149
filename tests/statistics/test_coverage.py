import numpy as np
import pytest

from tests.statistics.coverage import SHAPES, draw_answers, draw_clips, find_accuracy, measure_intervals, measure_ranks

REPETITIONS = 300


def check(found, repetitions):
    """Intervals cover in 93 to 97 % and tests err in 3 to 6.5 %, but for four standard errors of these shares."""
    error = 400 * np.sqrt(0.05 * 0.95 / repetitions)
    for name, value in found.items():
        if name.startswith(("mean", "gain")):
            assert 93 - error <= value <= min(100, 97 + error), name
        if name.startswith("false"):
            assert max(0.0, 3 - error) <= value <= 6.5 + error, name


@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_cover_and_tests_err_as_often_as_they_say(shape):
    found = measure_intervals(shape, REPETITIONS)
    check(found, REPETITIONS)
    assert shape == "esc50" or found["by clips 60 %"] > 8  # what groups are for


def test_rank_intervals_cover():
    found = measure_ranks("cremad", 40)
    assert found["ranks ="] > 85
    assert found["ranks /="] > 90


def test_simulated_accuracy_is_the_one_that_is_computed():
    draw = np.random.default_rng(0)
    for shape in ("esc50", "bgknown"):
        means = [draw_answers(draw_clips(shape, draw), [0.55], draw).mean() for _ in range(150)]
        assert np.mean(means) == pytest.approx(find_accuracy(shape, 0.55), abs=0.015)
