"""Mel filters against librosa."""

import subprocess
import sys
import warnings

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown.audio.mel import make_mel_filters
from bgknown.errors import InvalidInputError


def make_librosas(rate_hz, n_fft, n_mels, f_min, f_max):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters detected", category=UserWarning)
        return librosa.filters.mel(sr=rate_hz, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max)


@settings(max_examples=100, deadline=None)
@given(
    rate_hz=st.sampled_from([8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]),
    n_fft=st.sampled_from([200, 256, 400, 512, 640, 1_000, 1_024, 2_048]),
    n_mels=st.integers(1, 128),
    f_min=st.sampled_from([0.0, 20.0, 50.0, 60.0, 1_000.0, 1_200.0]),
    share=st.floats(0.5, 1.0),
)
def test_filters_are_librosas(rate_hz, n_fft, n_mels, f_min, share):
    f_max = share * rate_hz / 2
    theirs = make_librosas(rate_hz, n_fft, n_mels, f_min, f_max)
    asked = {"rate_hz": rate_hz, "n_fft": n_fft, "n_mels": n_mels, "f_min": f_min, "f_max": f_max}
    if (theirs.max(axis=1) == 0).any():
        with pytest.raises(InvalidInputError, match=rf"of {n_mels} contains no bin of a {n_fft}-point transform"):
            make_mel_filters(**asked)
        return
    ours = make_mel_filters(**asked)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 1e-7
    np.testing.assert_allclose(ours, theirs, rtol=2.5e-7, atol=0)
    assert np.array_equal(make_mel_filters(**asked, round_twice=True), theirs)


def test_each_filter_has_area_one_over_frequency():
    filters = make_mel_filters(rate_hz=16_000, n_fft=1 << 16, n_mels=64, f_min=50.0, f_max=8_000.0)
    assert np.allclose(filters.sum(axis=1) * 16_000 / (1 << 16), 1.0, atol=1e-4)


def test_filters_need_numpy_alone():
    heavy = {"librosa", "scipy", "soundfile", "soxr", "torch"}
    code = f"import sys, bgknown.audio.mel; sys.exit(bool({heavy!r} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
