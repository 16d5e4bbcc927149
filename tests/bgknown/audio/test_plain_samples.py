"""Plain WAV files decoded from their bytes."""

import numpy as np
import pytest

from bgknown.audio.files import read_file
from bgknown.audio.plain_samples import decode_plain_wav
from tests.conftest import noise, write_wav


def make_channels(count, rate_hz=22_050):
    return np.stack([noise(0.2, number, rate_hz=rate_hz) for number in range(count)], axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate_hz", [22_050, 16_000])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_samples_are_those_of_the_file(tmp_path, channels, rate_hz, dtype):
    write_wav(tmp_path / "x.wav", make_channels(channels), 22_050)
    found = decode_plain_wav((tmp_path / "x.wav").read_bytes(), rate_hz, dtype)
    assert found.dtype == dtype
    assert np.array_equal(found, read_file(tmp_path / "x.wav", rate_hz, dtype)[1])


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT"])
def test_other_samples_are_left_to_libsndfile(tmp_path, subtype):
    write_wav(tmp_path / "x.wav", make_channels(1), 22_050, subtype)
    assert decode_plain_wav((tmp_path / "x.wav").read_bytes(), 22_050, np.float32) is None


def test_a_file_that_was_cut_is_left_to_the_checks_of_read_file(tmp_path):
    write_wav(tmp_path / "x.wav", make_channels(1), 22_050)
    data = (tmp_path / "x.wav").read_bytes()
    assert all(decode_plain_wav(data[:size], 22_050, np.float32) is None for size in (0, 20, 44, len(data) - 1))
