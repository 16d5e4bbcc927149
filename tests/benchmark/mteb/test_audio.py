"""Columns of audio that libsndfile decodes, in datasets as mteb changes them."""

import datasets
import numpy as np
import pytest
import soundfile

from benchmark.mteb import LocalAudio
from benchmark.mteb.audio import make_dataset
from bgknown.errors import InvalidInputError, NotFoundError
from tests.conftest import noise


@pytest.fixture
def files(tmp_path):
    """Three files of different rates, one of them in stereo."""
    samples = [noise(0.1, 0), np.stack([noise(0.1, 1), noise(0.1, 2)], axis=1), noise(0.2, 3)]
    for number, (audio, rate_hz) in enumerate(zip(samples, (44_100, 22_050, 16_000), strict=True)):
        soundfile.write(str(tmp_path / f"{number}.wav"), audio, rate_hz, subtype="FLOAT")
    return tmp_path, [np.asarray(audio, np.float32) for audio in samples]


def test_rows_are_the_files_samples_at_their_own_rate(files):
    root, samples = files
    rows = make_dataset({"id": ["a", "b", "c"], "audio": [str(root / f"{n}.wav") for n in range(3)]}, LocalAudio())
    assert [row["audio"]["sampling_rate"] for row in rows] == [44_100, 22_050, 16_000]
    assert all(row["audio"]["array"].dtype == np.float32 for row in rows)
    assert np.array_equal(rows[0]["audio"]["array"], samples[0])
    assert np.allclose(rows[1]["audio"]["array"], samples[1].mean(axis=1), atol=1e-7)


def test_bytes_are_decoded_as_files_are_and_other_columns_are_cast(files):
    root, _ = files
    stored = [{"bytes": (root / f"{n}.wav").read_bytes(), "path": None} for n in range(3)]
    plain = datasets.Dataset.from_dict({"audio": stored}).cast_column("audio", datasets.Audio(decode=False))
    rows = plain.cast_column("audio", LocalAudio())
    paths = make_dataset({"audio": [str(root / f"{n}.wav") for n in range(3)]}, LocalAudio())
    for one, other in zip(rows, paths, strict=True):
        assert np.array_equal(one["audio"]["array"], other["audio"]["array"])
        assert one["audio"]["sampling_rate"] == other["audio"]["sampling_rate"]


def test_audio_stays_readable_through_what_mteb_does(files):
    root, samples = files
    rows = make_dataset({"audio": [str(root / "0.wav")] * 4, "text": list("abcd"), "id": list("efgh")}, LocalAudio())
    changed = (
        rows.select([3, 1]).add_column("query", ["x", "y"]).remove_columns(["text"]).select_columns(["audio", "id"])
    )
    assert np.array_equal(changed[1]["audio"]["array"], samples[0])
    assert changed["id"][:] == ["h", "f"]
    assert "audio" in changed.features


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF0000WAVE")
    rows = make_dataset({"audio": [str(tmp_path / "absent.wav"), str(tmp_path / "broken.wav")]}, LocalAudio())
    with pytest.raises(NotFoundError, match=r"absent\.wav"):
        rows[0]
    with pytest.raises(InvalidInputError, match=r"broken\.wav: "):
        rows[1]
    loose = datasets.Dataset.from_dict({"audio": [{"bytes": b"no audio", "path": "x.wav"}]})
    with pytest.raises(InvalidInputError, match=r"x\.wav: cannot be decoded"):
        loose.cast_column("audio", LocalAudio())[0]
