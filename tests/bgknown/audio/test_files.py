import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from bgknown.audio.files import (
    RATE_HZ,
    as_pcm32,
    check_finite,
    encode,
    read_frames,
    read_header,
    read_pcm16,
    read_whole_44k,
    to_pcm16,
)
from bgknown.errors import InvalidInputError, NotFiniteError, NotFoundError, StorageError
from tests.conftest import noise, write_wav


def test_full_scale_saturates_and_never_wraps():
    pcm = to_pcm16(np.array([1.0, 1.5, 0.99999999, -1.0, -1.5, 0.0]))
    assert pcm.tolist() == [32767, 32767, 32767, -32768, -32768, 0]


@given(st.lists(st.floats(-1.2, 1.2), min_size=1, max_size=50))
def test_16_bits_are_those_of_scapers_32_bit_file_rounded(values):
    audio = np.array(values)
    pcm32 = np.clip(np.rint(audio * 2.0**31), -(2.0**31), 2.0**31 - 1).astype(np.int64)
    expected = np.clip((pcm32 + 32_768) >> 16, -32_768, 32_767)
    assert to_pcm16(audio).tolist() == expected.tolist()


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=50))
def test_16_bit_audio_passes_unchanged(values):
    audio = np.array(values) / 32_768
    assert np.array_equal(as_pcm32(audio), audio)
    assert to_pcm16(audio).tolist() == values


def test_sox_clips_what_exceeds_full_scale():
    assert as_pcm32(np.array([1.2, -1.2])).tolist() == [1.0 - 2.0**-31, -1.0]


@pytest.mark.parametrize("container", ["wav", "flac"])
def test_encoded_audio_reads_back(tmp_path, container):
    pcm = to_pcm16(noise(1.0, 0))
    path = tmp_path / f"x.{container}"
    path.write_bytes(encode(pcm, container))
    assert np.array_equal(read_pcm16(path), pcm)


def test_reading_refuses_another_format(tmp_path):
    write_wav(tmp_path / "x.wav", noise(1.0, 0, rate_hz=16_000), 16_000)
    with pytest.raises(InvalidInputError, match="16000 Hz.*44100 Hz mono PCM_16 is required"):
        read_pcm16(tmp_path / "x.wav")
    with pytest.raises(StorageError, match="cannot be read"):
        read_pcm16(tmp_path / "missing.wav")


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 1), (22_050, 2), (44_100, 2), (16_000, 1), (96_000, 2)])
def test_any_rate_and_channels_become_44_khz_mono(tmp_path, rate_hz, channels):
    time_s = np.arange(2 * rate_hz + 7) / rate_hz
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time_s)
    write_wav(tmp_path / "x.wav", np.stack([tone] * channels, axis=1), rate_hz)
    header = read_header(tmp_path / "x.wav")
    audio = read_whole_44k(tmp_path / "x.wav", header)
    assert not header.native
    assert audio.size == header.frames_44k == (2 * rate_hz + 7) * RATE_HZ // rate_hz
    middle = slice(RATE_HZ // 2, RATE_HZ)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(audio.size) / RATE_HZ)
    assert np.abs(audio - expected)[middle].max() < 1e-3


def test_stereo_is_averaged(tmp_path):
    write_wav(tmp_path / "x.wav", np.stack([np.full(1000, 0.5), np.full(1000, -0.25)], axis=1))
    audio = read_whole_44k(tmp_path / "x.wav", read_header(tmp_path / "x.wav"))
    assert np.allclose(audio, 0.125)


def test_ogg_is_never_sliced_on_disk(tmp_path):
    soundfile.write(str(tmp_path / "x.ogg"), noise(1.0, 0), RATE_HZ)
    assert not read_header(tmp_path / "x.ogg").native


@pytest.mark.parametrize("suffix", ["wav", "ogg"])
def test_truncation_is_noticed(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    soundfile.write(str(path), noise(3.0, 0), RATE_HZ)
    read_header(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InvalidInputError, match="truncated"):
        read_header(path)


def test_a_truncated_flac_is_noticed_where_it_is_read(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(str(path), noise(3.0, 0), RATE_HZ)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InvalidInputError, match=r"truncated|cannot be decoded"):
        read_frames(path, 2 * RATE_HZ, 3 * RATE_HZ)


def test_bad_files_are_distinguished(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        read_header(tmp_path / "x.wav")
    (tmp_path / "x.wav").touch()
    with pytest.raises(InvalidInputError, match="0 bytes"):
        read_header(tmp_path / "x.wav")
    (tmp_path / "x.wav").write_bytes(b"no audio at all" * 100)
    with pytest.raises(InvalidInputError, match="not readable as audio"):
        read_header(tmp_path / "x.wav")


def test_nan_does_not_get_into_the_resampler(tmp_path):
    audio = noise(1.0, 0, rate_hz=16_000)
    audio[100] = np.nan
    write_wav(tmp_path / "x.wav", audio, 16_000, subtype="FLOAT")
    with pytest.raises(NotFiniteError, match="1, the first at sample 100"):
        read_whole_44k(tmp_path / "x.wav", read_header(tmp_path / "x.wav"))


def test_nan_and_inf_are_counted():
    audio = np.array([0.0, np.nan, 1.0, np.inf])
    with pytest.raises(NotFiniteError, match="NaN or infinite samples: 2, the first at sample 1"):
        check_finite(audio)
