"""The quick reader of headers says what libsndfile and its checks say, or nothing."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown.audio import files
from bgknown.audio.files import read_header
from bgknown.audio.plain_wav import HEAD_BYTES, parse_plain_wav, read_plain_wav
from bgknown.errors import BgknownError


def make_wav(*, channels=1, bits=16, rate_hz=16_000, frames=50, before=b"", after=b""):
    wide = channels * bits // 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate_hz, rate_hz * wide, wide, bits)
    data = bytes(range(256)) * 40
    data = data[: frames * wide]
    body = b"WAVE" + form + before + struct.pack("<4sI", b"data", len(data)) + data + b"\0" * (len(data) % 2) + after
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def chunk(name, content):
    return struct.pack("<4sI", name, len(content)) + content


PLAIN = {
    "16 bits": make_wav(),
    "24 bits, odd": make_wav(bits=24, frames=51),
    "32 bits, stereo": make_wav(bits=32, channels=2, rate_hz=48_000),
    "with a list": make_wav(before=chunk(b"LIST", b"INFOISFT\4\0\0\0abc\0")),
}
OTHER = {
    "8 bits": make_wav(bits=8),
    "a chunk at the end": make_wav(after=chunk(b"LIST", b"INFO")),
    "a chunk that is not known": make_wav(before=chunk(b"abcd", b"1234")),
    "a long chunk first": make_wav(before=chunk(b"LIST", bytes(HEAD_BYTES))),
    "cut": make_wav()[:-2],
    "longer than it says": make_wav() + b"12",
    "no samples": make_wav(frames=0),
    "half a frame": make_wav(channels=2, frames=3)[:-2],
    "length not filled in": make_wav().replace(chunk(b"data", b"")[:4] + b"\x64\0\0\0", b"data\xff\xff\xff\xff"),
    "a rate that is too low": make_wav(rate_hz=100),
    "empty": b"",
}


def read_twice(path, monkeypatch):
    """What the quick way and the thorough way say of a file."""
    found = []
    for reader in (read_plain_wav, lambda _path: None):
        with monkeypatch.context() as patch:
            patch.setattr(files, "read_plain_wav", reader)
            try:
                found.append(read_header(path))
            except BgknownError as error:
                found.append(f"{type(error).__name__}: {error}")
    return found


@pytest.mark.parametrize("name", [*PLAIN, *OTHER])
def test_headers_are_those_of_libsndfile(name, tmp_path, monkeypatch):
    content = (PLAIN | OTHER)[name]
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    quick, thorough = read_twice(path, monkeypatch)
    assert quick == thorough
    assert (parse_plain_wav(content[:HEAD_BYTES], len(content)) is not None) == (name in PLAIN)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32"])
def test_files_of_libsndfile_are_read_quickly(subtype, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((1000, 2)), 22_050, subtype=subtype)
    found = read_plain_wav(tmp_path / "a.wav")
    assert found is not None
    assert (found.frames, found.rate_hz, found.channels) == (1000, 22_050, 2)


@settings(max_examples=300)
@given(changes=st.lists(st.tuples(st.integers(0, 75), st.integers(0, 255)), min_size=1, max_size=3), data=st.data())
def test_a_damaged_header_is_never_read_in_another_way(changes, data, tmp_path_factory):
    content = bytearray(PLAIN[data.draw(st.sampled_from(sorted(PLAIN)))])
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.mktemp("damaged", numbered=True) / "a.wav"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        quick, thorough = read_twice(path, patch)
    assert quick == thorough


def test_a_missing_file_and_a_folder_are_left_to_the_thorough_reader(tmp_path):
    assert read_plain_wav(tmp_path) is None
    assert read_plain_wav(tmp_path / "none.wav") is None
    assert read_plain_wav(tmp_path / "null\0.wav") is None
