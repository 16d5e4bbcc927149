"""Compiled passes against the functions that they stand for, bit for bit."""

import numpy as np
import pytest

from bgknown.audio.amplitude import measure_amplitude
from bgknown.audio.files import RATE_HZ, as_pcm32, check_finite, to_pcm16
from bgknown.audio.loudness import measure_lufs
from bgknown.errors import NotFiniteError
from bgknown.render.passes import convert_to_pcm32, find_peak, scale_to_pcm16
from bgknown.render.weighted import measure_samples_lufs
from bgknown.render.weighted_lanes import measure_each_lufs
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


SIZES = [(70_000, 70_000), (60_000, 23_333), (50, 40_000), (64, 65), (70_000,), (300, 70_000, 200, 69_999, 1_000)]


@pytest.mark.parametrize("sizes", SIZES)
def test_signals_measured_together_have_the_loudness_of_each_alone(sizes):
    signals = [noise(2.0, seed, peak=0.1 * (1 + seed))[:size] for seed, size in enumerate(sizes)]
    found = measure_each_lufs(signals)
    assert found == [measure_samples_lufs(signal) for signal in signals]
    assert found == pytest.approx([measure_lufs(signal, RATE_HZ) for signal in signals], abs=1e-11)


def test_16_bit_samples_have_the_loudness_of_the_same_numbers():
    pcm = [to_pcm16(noise(2.0, seed, peak=0.3)) for seed in range(3)]
    signals = [one * 2.0**-15 for one in pcm]
    expected = [measure_samples_lufs(signal) for signal in signals]
    assert measure_each_lufs(pcm) == expected
    assert measure_each_lufs([pcm[0], signals[1], pcm[2]]) == expected
