"""Files whose headers are wrong, unknown or broken: each is read whole, or refused in one line."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile

from bgknown.audio.amplitude import Amplitude, measure_amplitude, measure_amplitudes
from bgknown.audio.decoding import AudioFile, explain_file_faults
from bgknown.audio.files import RATE_HZ, read_file, read_header, read_pcm16, read_sliceable
from bgknown.audio.mpeg import find_stream
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from tests.conftest import noise, write_wav

SOUND = noise(1.0, 0)
STREAM_LENGTHS = [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 44, 0x7FFFFFFF - 36, 0x7FFF0000]


def made(container, subtype=None, *, audio=SOUND, rate_hz=RATE_HZ):
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate_hz, format=container, subtype=subtype)
    return buffer.getvalue()


def wav_of_length(length, *, riff=None, data=None):
    whole = bytearray(data or made("WAV", "PCM_16"))
    whole[40:44] = struct.pack("<I", length)
    if riff is not None:
        whole[4:8] = struct.pack("<I", riff)
    return bytes(whole)


def flac_of_total(total, *, audio=SOUND, rate_hz=None):
    data = made("FLAC", "PCM_16", audio=audio)
    bits = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
    if rate_hz is not None:
        bits = bits & (1 << 44) - 1 | rate_hz << 44
    return data[:18] + bits.to_bytes(8, "big") + data[26:]


def untagged_mp3(*, audio=SOUND, rate_hz=RATE_HZ):
    data = made("MP3", audio=audio, rate_hz=rate_hz)
    stream = find_stream(data, 0, len(data))
    return data[stream.start :], stream.frames * (1152 if rate_hz >= 32_000 else 576)


def mp3_in_riff(data, *, length=None):
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE_HZ, 8000, 1152, 0, 12, 1, 2, 1152, 1, 1393)
    length = len(data) if length is None else length
    body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(form)) + form + struct.pack("<4sI", b"data", length) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def read(path, data):
    path.write_bytes(data)
    header, audio = read_file(path, read_header(path).rate_hz, np.float64)
    assert header == read_header(path)
    assert audio.shape == (header.frames,)
    return audio


@pytest.mark.parametrize("riff", [None, 36, 0, 0xFFFFFFFF])
@pytest.mark.parametrize("length", STREAM_LENGTHS)
def test_a_wav_without_its_length_is_read_whole(tmp_path, length, riff):
    audio = read(tmp_path / "x.wav", wav_of_length(length, riff=riff))
    assert np.array_equal(audio, read(tmp_path / "y.wav", made("WAV", "PCM_16")))


@pytest.mark.parametrize("length", [2 * RATE_HZ + 2, 1 << 20, 1 << 30, 3 << 30])
def test_a_plausible_length_beyond_the_end_is_a_truncated_file(tmp_path, length):
    (tmp_path / "x.wav").write_bytes(wav_of_length(length))
    with pytest.raises(InvalidInputError, match="truncated: its header declares more data than the file contains"):
        read_header(tmp_path / "x.wav")


def test_an_empty_recording_is_not_made_of_the_chunks_that_follow(tmp_path):
    data = wav_of_length(0)[:44] + b"LIST\x04\x00\x00\x00INFO"
    (tmp_path / "x.wav").write_bytes(data)
    with pytest.raises(InvalidInputError, match="holds no samples"):
        read_header(tmp_path / "x.wav")


@pytest.mark.parametrize(
    ("container", "mark", "place", "form", "values"),
    [
        ("RF64", b"ds64", 16, "<Q", [0, 2**64 - 1, 2**63 - 1]),
        ("W64", b"data", 16, "<Q", [0, 24, 2**64 - 1]),
        ("AU", b".snd", 8, ">I", [0, 0xFFFFFFFF]),
        ("CAF", b"data", 4, ">q", [-1]),
        ("AIFF", b"SSND", 4, ">I", [0, 0xFFFFFFFF]),
    ],
)
def test_lengths_of_other_containers_that_were_never_filled_in(tmp_path, container, mark, place, form, values):
    data = made(container, "PCM_16")
    expected = read(tmp_path / "whole", data)
    start = data.index(mark) + place
    for value in values:
        field = struct.pack(form, value)
        audio = read(tmp_path / "x", data[:start] + field + data[start + len(field) :])
        assert np.array_equal(audio, expected)


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "W64", "AU", "CAF", "AIFF", "OGG", "FLAC", "MP3"])
def test_half_a_file_is_refused_whatever_its_kind(tmp_path, container):
    data = made(container)
    (tmp_path / "x").write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidInputError, match=r"truncated|cannot be decoded|not readable as audio"):
        read_file(tmp_path / "x", RATE_HZ, np.float32)


def test_flac_from_a_pipe_is_read_whole(tmp_path):
    audio = read(tmp_path / "x.flac", flac_of_total(0))
    assert np.array_equal(audio, read(tmp_path / "y.flac", made("FLAC", "PCM_16")))
    assert read_sliceable(tmp_path / "x.flac") is None
    assert read_sliceable(tmp_path / "y.flac") == read_header(tmp_path / "y.flac")
    assert np.array_equal(read_pcm16(tmp_path / "x.flac"), read_pcm16(tmp_path / "y.flac"))


@pytest.mark.parametrize("total", [RATE_HZ + 1, 10**8, 2**36 - 1])
def test_flac_that_claims_more_than_it_holds_is_truncated(tmp_path, total):
    (tmp_path / "x.flac").write_bytes(flac_of_total(total))
    with pytest.raises(InvalidInputError, match=f"ends at sample 44,100 of {total:,}: the file is truncated"):
        read_header(tmp_path / "x.flac")


def test_flac_that_claims_less_than_it_holds_is_read_whole(tmp_path):
    assert read(tmp_path / "x.flac", flac_of_total(22_050)).size == RATE_HZ


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 22_050, 8_000])
def test_mp3_without_a_length_tag_is_decoded_to_its_end(tmp_path, rate_hz):
    quiet_first = np.concatenate([np.zeros(rate_hz), noise(1.0, 1, rate_hz=rate_hz)])  # few bits, then many
    data, frames = untagged_mp3(audio=quiet_first, rate_hz=rate_hz)
    audio = read(tmp_path / "x.mp3", data)
    assert audio.size == frames >= 2 * rate_hz
    tagged = read(tmp_path / "y.mp3", made("MP3", audio=quiet_first, rate_hz=rate_hz))
    late = audio.size - tagged.size  # a decoder leaves out its own delay and the encoder's where a tag says so
    assert any(np.allclose(audio[shift : shift + tagged.size], tagged, atol=1e-5) for shift in range(late + 1))


def test_mp3_in_riff_is_decoded_to_its_end(tmp_path):
    data, frames = untagged_mp3()
    assert read(tmp_path / "x.wav", mp3_in_riff(data)).size == frames
    assert read(tmp_path / "y.wav", mp3_in_riff(data, length=0xFFFFFFFF)).size == frames
    (tmp_path / "z.wav").write_bytes(mp3_in_riff(data, length=len(data) + 5000))
    with pytest.raises(InvalidInputError, match="truncated"):
        read_header(tmp_path / "z.wav")


def test_mp3_whose_tag_counts_too_few_frames_is_decoded_to_its_end(tmp_path):
    data = made("MP3")
    stream = find_stream(data, 0, len(data))
    place = data.index(b"Xing") if b"Xing" in data else data.index(b"Info")
    audio = read(tmp_path / "x.mp3", data[: place + 8] + struct.pack(">I", 5) + data[place + 12 :])
    assert audio.size == 1152 * stream.frames


@pytest.mark.parametrize("coding", ["GSM610", "IMA_ADPCM", "MS_ADPCM", "G721_32", "NMS_ADPCM_16", "ALAW", "ULAW"])
def test_other_codings_of_wav_are_read_whole(tmp_path, coding):
    audio = read(tmp_path / "x.wav", made("WAV", coding, rate_hz=8_000))
    assert RATE_HZ <= audio.size < RATE_HZ + 1_100  # a block more at most
    assert np.corrcoef(audio[:RATE_HZ], SOUND)[0, 1] > 0.5


def test_both_streams_of_a_chained_ogg_are_read(tmp_path):
    first, second = made("OGG"), made("OGG", audio=noise(0.5, 2))
    audio = read(tmp_path / "x.ogg", first + second)
    parts = [read(tmp_path / "y.ogg", data) for data in (first, second)]
    assert np.array_equal(audio, np.concatenate(parts))
    assert read(tmp_path / "z.ogg", first + first).size == 2 * RATE_HZ  # the same serial number twice


def test_chained_streams_of_different_rates_are_refused(tmp_path):
    (tmp_path / "x.ogg").write_bytes(made("OGG") + made("OGG", rate_hz=48_000))
    with pytest.raises(InvalidInputError, match="holds 2 streams one after another, of 44100 Hz .* and 48000 Hz"):
        read_header(tmp_path / "x.ogg")
    (tmp_path / "x.ogg").write_bytes(made("OGG")[:-300] + made("OGG"))
    with pytest.raises(InvalidInputError, match="truncated"):
        read_header(tmp_path / "x.ogg")


@pytest.mark.parametrize("rate_hz", [1, 999, 768_001, 2**31 - 1])
def test_rates_that_no_audio_has_are_refused(tmp_path, rate_hz):
    write_wav(tmp_path / "x.wav", SOUND)
    data = bytearray((tmp_path / "x.wav").read_bytes())
    data[24:28] = struct.pack("<I", rate_hz)
    (tmp_path / "x.wav").write_bytes(data)
    for reader in (read_header, read_sliceable, lambda path: read_file(path, 16_000, np.float32)):
        with pytest.raises(InvalidInputError, match=rf"rate of {rate_hz:,} Hz; it must be 1,000 to 768,000 Hz"):
            reader(tmp_path / "x.wav")
    if rate_hz < 2**20:
        (tmp_path / "x.flac").write_bytes(flac_of_total(RATE_HZ, rate_hz=rate_hz))
        with pytest.raises(InvalidInputError, match=rf"rate of {rate_hz:,} Hz; it must be 1,000 to 768,000 Hz"):
            read_header(tmp_path / "x.flac")


@pytest.mark.parametrize("channels", [0, 2000, 65_535])
def test_impossible_numbers_of_channels_are_refused(tmp_path, channels):
    data = bytearray(made("WAV", "PCM_16"))
    data[22:24] = struct.pack("<H", channels)
    (tmp_path / "x.wav").write_bytes(data)
    with pytest.raises(InvalidInputError, match="not readable as audio"):
        read_header(tmp_path / "x.wav")


def test_many_channels_are_averaged_in_bounded_memory(tmp_path):
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 300))
    write_wav(tmp_path / "x.wav", audio, subtype="FLOAT")
    assert np.allclose(read_file(tmp_path / "x.wav", RATE_HZ, np.float64)[1], audio.mean(axis=1), atol=1e-6)
    with AudioFile(tmp_path / "x.wav") as file:
        assert next(file.blocks(np.float32)).nbytes <= 4 << 18


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "Git LFS pointer.*git lfs pull"),
        (b"/annex/objects/SHA256E-s9--12.wav\n", "git-annex pointer.*git annex get"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ", "AppleDouble"),
    ],
)
def test_files_that_replace_audio_are_named(tmp_path, data, message):
    (tmp_path / "x.wav").write_bytes(data)
    with pytest.raises(InvalidInputError, match=message):
        read_header(tmp_path / "x.wav")


def test_folders_and_pipes_are_not_files(tmp_path):
    (tmp_path / "x.wav").mkdir()
    os.mkfifo(tmp_path / "y.wav")
    for name in ("x.wav", "y.wav"):
        with pytest.raises(InvalidInputError, match="is not a regular file"):
            read_header(tmp_path / name)


@pytest.mark.parametrize(
    "error", [ValueError("array is too big"), MemoryError(), OverflowError("x"), RuntimeError("y"), struct.error("z")]
)
def test_whatever_a_file_raises_is_a_problem_of_that_file(error):
    with pytest.raises(InvalidInputError, match=r"^cannot be read \("), explain_file_faults("cannot be read"):
        raise error
    with pytest.raises(NotFoundError), explain_file_faults("cannot be read"):
        raise FileNotFoundError
    with pytest.raises(StorageError), explain_file_faults("cannot be read"):
        raise StorageError("ours")


def test_silence_and_clipping_are_noticed():
    assert measure_amplitude(np.array([0.0, -(2.0**-15)])) == Amplitude(silent=True)
    assert measure_amplitude(np.array([0.0, 2.0**-14])) == Amplitude()
    assert measure_amplitude(np.array([1.0, -1.0])) == Amplitude()
    assert measure_amplitude(np.array([0.0, -1.01])) == Amplitude(clipped=True)
    assert measure_amplitude(np.zeros(0)) == Amplitude(silent=True)


def test_amplitudes_of_a_batch_are_those_of_its_signals():
    batch = np.array([[0.0, -(2.0**-15)], [0.0, 2.0**-14], [1.0, -1.0], [0.0, -1.01], [1.01, 0.0]], np.float32)
    assert measure_amplitudes(batch) == [measure_amplitude(signal) for signal in batch]


@pytest.mark.parametrize("last", [1, 2, 16, 4_095, 4_096])
@pytest.mark.parametrize(("subtype", "value"), [("PCM_16", 0.0), ("PCM_16", 0.25), ("PCM_S8", 0.0), ("PCM_24", 0.0)])
def test_a_flac_that_ends_in_silence_is_whole(last, subtype, value, tmp_path):
    # silence and other constants are frames of a dozen bytes, shorter than the longest header
    path, length = tmp_path / "quiet.flac", 4 * 4_096 + last
    audio = np.concatenate([np.random.default_rng(0).uniform(-0.5, 0.5, 4_096), np.full(length - 4_096, value)])
    soundfile.write(str(path), audio, 44_100, subtype=subtype)
    assert read_header(path).frames == length
    assert read_file(path, 44_100, np.float64)[1].shape == (length,)
