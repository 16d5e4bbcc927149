"""Compiled passes against the functions that they stand for, bit for bit."""

import numpy as np
import pytest

from bgknown.audio.amplitude import measure_amplitude
from bgknown.audio.files import RATE_HZ, as_pcm32, check_finite, to_pcm16
from bgknown.audio.loudness import measure_lufs
from bgknown.errors import NotFiniteError
from bgknown.render.passes import convert_to_pcm32, find_peak, scale_to_pcm16
from bgknown.render.weighted import measure_samples_lufs
from bgknown.render.weighted_pair import measure_both_lufs
from tests.conftest import noise

EDGES = np.array([0.0, -0.0, 1.0, -1.0, 1.5, -3.0, 5e-324, 2.0**-31, -(2.0**-32), 0.3 * 2.0**-15, -0.5 * 2.0**-15])
SIGNALS = {
    "edges": EDGES,
    "noise": noise(0.2, 0, peak=1.3),
    "quiet": noise(0.1, 1, peak=2.0**-15),
    "beyond": np.array([-1.0, 1.0 + 2.0**-52]),
    "silence": np.zeros(5),
    "a slice": noise(0.2, 2)[17:4_000],
}


@pytest.mark.parametrize("name", SIGNALS)
def test_conversion_and_rounding_are_those_of_numpy(name):
    signal = SIGNALS[name]
    found = convert_to_pcm32(signal)
    assert np.array_equal(found.audio, as_pcm32(signal))
    assert found.amplitude == measure_amplitude(signal)
    assert find_peak(signal) == np.abs(signal).max()
    for scale in (1.0, 0.7071, 1e-3):
        assert np.array_equal(scale_to_pcm16(signal, scale), to_pcm16(signal * scale))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_reported_as_by_numpy(value):
    signal = noise(0.1, 0)
    signal[[7, 99]] = value
    with pytest.raises(NotFiniteError) as expected:
        check_finite(signal)
    with pytest.raises(NotFiniteError) as found:
        convert_to_pcm32(signal)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("sizes", [(70_000, 70_000), (60_000, 23_333), (50, 40_000), (64, 65)])
def test_two_signals_at_once_have_the_loudness_of_each_alone(sizes):
    first, second = noise(2.0, 1, peak=0.1)[: sizes[0]], noise(2.0, 2)[: sizes[1]]
    found = measure_both_lufs(first, second)
    assert found == (measure_samples_lufs(first), measure_samples_lufs(second))
    expected = measure_lufs(first, RATE_HZ), measure_lufs(second, RATE_HZ)
    assert found == pytest.approx(expected, abs=1e-11)
