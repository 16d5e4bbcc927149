"""Silent and clipped sources, and sources whose headers do not tell their length, in a build."""

import json
import logging
import os

import numpy as np
import pytest
import soundfile

from bgknown.audio.sources import SourceStore
from bgknown.errors import BrokenInputError
from bgknown.mixtures.dataset import open_dataset
from tests.bgknown.audio.test_decoding import flac_of_total, untagged_mp3
from tests.conftest import RATE_HZ, contents, noise, write_wav


def loud(tiny, clip_id, peak=3.0):
    time_s = np.arange(5 * RATE_HZ) / RATE_HZ
    write_wav(tiny.clip(clip_id), peak * np.sin(2 * np.pi * 1000 * time_s), subtype="FLOAT")


def test_sources_beyond_full_scale_are_counted_and_the_first_is_named(tiny, tmp_path, caplog):
    loud(tiny, "1-100-A-0")
    loud(tiny, "3-301-A-1")
    with caplog.at_level(logging.WARNING):
        tiny.build(tmp_path / "out")
    description = open_dataset(tmp_path / "out").description
    note = "sources, or crops of them, that are beyond full scale and cut off there: 2"
    note += " (the first: ESC-50 audio/1-100-A-0.wav)"
    assert description["counts"]["clipped"] == 2
    assert "silent" not in description["counts"]
    assert description["notes"] == [note]
    assert note in caplog.messages
    caplog.clear()
    assert tiny.build(tmp_path / "out").was_finished
    assert note in caplog.messages


def test_the_count_survives_a_build_that_was_stopped(tiny, tmp_path):
    loud(tiny, "1-100-A-0")
    whole = tiny.clip("5-501-A-1").read_bytes()
    tiny.build(tmp_path / "whole")
    tiny.clip("5-501-A-1").write_bytes(b"")
    with pytest.raises(BrokenInputError, match="1 input is broken"):
        tiny.build(tmp_path / "out")
    tiny.clip("5-501-A-1").write_bytes(whole)
    assert tiny.build(tmp_path / "out").kept == 9
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_full_scale_itself_is_not_clipping(tiny, tmp_path):
    loud(tiny, "1-100-A-0", peak=1.0)
    tiny.build(tmp_path / "out")
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert "notes" not in description
    assert set(description["counts"]) == {"rows", "train", "test", "skipped"}


def test_a_recording_of_unknown_length_gives_the_same_dataset(tiny, tmp_path):
    """Its header says 2^63 - 1 samples, from which the draw once made a recording that is too short."""
    for number in range(7000, 7005):
        path = tiny.recording("dev", number)
        audio, _ = soundfile.read(path)
        path.with_suffix(".flac").write_bytes(flac_of_total(audio.size, audio=audio))
        path.unlink()
    known = tiny.build(tmp_path / "known").table
    for path in (tiny.fsd50k / "FSD50K.dev_audio").iterdir():
        data = path.read_bytes()
        path.write_bytes(data[:21] + bytes([data[21] & 0xF0, 0, 0, 0, 0]) + data[26:])
    unknown = tiny.build(tmp_path / "unknown").table
    assert known.equals(unknown)


def test_an_mp3_without_a_length_tag_can_be_drawn_from(tiny, tmp_path):
    for number in range(8000, 8005):
        audio = np.concatenate([np.zeros(4 * RATE_HZ), noise(10.0, number)])
        tiny.recording("eval", number).write_bytes(untagged_mp3(audio=audio)[0])
    assert len(tiny.build(tmp_path / "out").table) == 10


def test_a_file_that_was_replaced_is_not_taken_from_memory(tmp_path):
    store, path = SourceStore(), tmp_path / "x.wav"
    write_wav(path, noise(0.5, 0), 22_050)
    first = store.open(path)
    assert store.open(path) is first
    write_wav(tmp_path / "y.wav", noise(0.5, 1), 22_050)
    state = path.stat()
    os.utime(tmp_path / "y.wav", ns=(state.st_atime_ns, state.st_mtime_ns))
    (tmp_path / "y.wav").replace(path)
    assert not np.array_equal(store.open(path).converted, first.converted)
