import numpy as np
import soundfile

from bgknown.audio.digest import hash_decoded
from bgknown.audio.files import read_header
from bgknown.corpora import identical
from bgknown.corpora.identical import find_identical
from tests.conftest import noise


def write(path, audio, rate_hz=44_100):
    steps = np.rint(audio * 32_767).astype(np.int16)  # libsndfile rounds floats in another way for FLAC
    soundfile.write(str(path), steps, rate_hz, subtype="PCM_16")
    return path


def describe(path):
    header = read_header(path)
    return {"file": path.name, "frames": header.frames, "rate_hz": header.rate_hz, "channels": header.channels}


def test_the_hash_is_of_the_audio_and_not_of_the_file(tmp_path):
    audio = noise(0.5, 1)
    same = [write(tmp_path / f"a.{kind}", audio) for kind in ("wav", "flac", "aiff")]
    assert len({hash_decoded(path) for path in same}) == 1
    other = audio.copy()
    other[7] += 2 / 32_768
    different = [
        write(tmp_path / "b.wav", other),
        write(tmp_path / "c.wav", audio, rate_hz=48_000),
        write(tmp_path / "d.wav", np.stack([audio, audio], axis=1)),
        write(tmp_path / "e.wav", audio[:-1]),
    ]
    assert len({hash_decoded(path) for path in [same[0], *different]}) == 5


def test_only_files_of_the_same_shape_are_read_and_each_once(tmp_path, monkeypatch):
    audio = noise(0.2, 2)
    here = [
        write(tmp_path / "1.wav", audio),
        write(tmp_path / "2.wav", noise(0.2, 3)),
        write(tmp_path / "3.wav", noise(0.3, 4)),
    ]
    there = [
        write(tmp_path / "4.flac", audio),
        write(tmp_path / "5.wav", audio),
        write(tmp_path / "6.wav", noise(0.4, 5)),
    ]
    heard = []
    monkeypatch.setattr(identical, "hash_decoded", lambda path: heard.append(path.name) or hash_decoded(path))
    rows = [[describe(path) for path in side] for side in (here, there)]
    for _ in range(2):
        found = find_identical(*rows, root=tmp_path, cache=tmp_path / "cache")
        assert found == {"1.wav": "4.flac"}
    assert sorted(heard) == ["1.wav", "2.wav", "4.flac", "5.wav"]
    write(here[1], audio)
    assert find_identical(*rows, root=tmp_path, cache=tmp_path / "cache") == {"1.wav": "4.flac", "2.wav": "4.flac"}


def test_a_file_that_cannot_be_decoded_is_like_no_other(tmp_path):
    rows = [{"file": f"{name}.wav", "frames": 0, "rate_hz": 0, "channels": 0} for name in "ab"]
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert find_identical(rows[:1], rows[1:], root=tmp_path, cache=tmp_path / "cache") == {}
