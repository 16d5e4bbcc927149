import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown.audio.loudness import SILENCE_LUFS, measure_lufs
from bgknown.render import scaper

RATE_HZ = 44_100


@given(
    frames=st.integers(1, 5 * RATE_HZ),
    level_db=st.floats(-90, 6),
    gap=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_equals_scaper(frames, level_db, gap, seed):
    audio = np.random.default_rng(seed).standard_normal(frames) * 10 ** (level_db / 20)
    audio[: int(gap * frames)] *= 10**-2.5  # a quiet stretch, near the gates
    expected = scaper.load().get_integrated_lufs(audio[:, None].copy(), RATE_HZ)
    assert measure_lufs(audio, RATE_HZ) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("rate_hz", [16_000, 32_000, 44_100, 48_000])
def test_equals_scaper_at_other_rates(rate_hz):
    audio = np.random.default_rng(0).standard_normal(3 * rate_hz + 17) * 0.1
    expected = scaper.load().get_integrated_lufs(audio[:, None].copy(), rate_hz)
    assert measure_lufs(audio, rate_hz) == pytest.approx(expected, abs=1e-8)


def test_a_full_scale_sine_near_1_khz_reads_minus_3():
    time_s = np.arange(10 * RATE_HZ) / RATE_HZ
    # -3.01 in BS.1770; pyloudnorm's own filters add 0.04 dB at this frequency
    assert measure_lufs(np.sin(2 * np.pi * 997 * time_s), RATE_HZ) == pytest.approx(-3.01, abs=0.05)


def test_silence_and_near_silence_read_minus_70():
    assert measure_lufs(np.zeros(RATE_HZ), RATE_HZ) == SILENCE_LUFS
    assert measure_lufs(np.full(RATE_HZ, 1e-7), RATE_HZ) == SILENCE_LUFS


def test_a_gain_moves_the_loudness_of_loud_audio_by_itself():
    audio = np.random.default_rng(1).standard_normal(2 * RATE_HZ) * 0.05
    difference_db = measure_lufs(audio * 10**0.3, RATE_HZ) - measure_lufs(audio, RATE_HZ)
    assert difference_db == pytest.approx(6.0, abs=1e-9)
