from dataclasses import replace

import numpy as np
import pytest
import soundfile

from benchmark.embedding.clips import Clip, Rendering, count_samples, hash_file, read_clip, read_file_states
from bgknown.apwd.sources.tree import open_tree
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes
from tests.bgknown.apwd.conftest import make_pairs
from tests.conftest import noise, write_wav


def tone(duration_s, rate_hz, frequency_hz=440.0):
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate_hz)) / rate_hz)


@pytest.mark.parametrize(("duration_s", "wanted"), [(None, 16_000), (0.5, 8_000), (1.5, 24_000)])
def test_a_clip_is_resampled_then_cut_or_padded(tmp_path, duration_s, wanted):
    write_wav(tmp_path / "x.wav", tone(1.0, 44_100), 44_100, "FLOAT")
    clip = Clip(path=tmp_path / "x.wav", duration_s=duration_s)
    audio, digest = read_clip(clip, 16_000)
    assert audio.dtype == np.float32
    assert audio.shape == (wanted,)
    assert count_samples(clip, 16_000) == wanted
    assert digest == hash_file(tmp_path / "x.wav") == hash_bytes((tmp_path / "x.wav").read_bytes())
    inside = slice(400, min(wanted, 16_000) - 400)
    assert np.abs(audio[inside] - tone(1.0, 16_000)[inside]).max() < 1e-3
    assert np.all(audio[16_000:] == 0)


def test_at_its_own_rate_a_clip_is_read_as_it_is(tmp_path):
    sound = noise(0.3, 1, rate_hz=16_000)
    write_wav(tmp_path / "x.wav", np.stack([sound, -0.5 * sound], axis=1), 16_000, "FLOAT")
    audio, _ = read_clip(Clip(path=tmp_path / "x.wav"), 16_000)
    assert np.allclose(audio, 0.25 * sound, atol=1e-7)


def test_what_a_dataset_lists_is_checked(tmp_path):
    write_wav(tmp_path / "x.wav", noise(0.1, 1))
    clip = Clip(path=tmp_path / "x.wav", sha256="ab" * 32)
    with pytest.raises(InvalidInputError, match=r"x\.wav: sha256 is .*, the dataset's manifest says abababab"):
        read_clip(clip, 16_000)


def cut_wav(path):
    write_wav(path, noise(0.5, 1))
    path.write_bytes(path.read_bytes()[:20_000])


def cut_flac(path):
    soundfile.write(str(path.with_suffix(".flac")), noise(1.0, 1), 44_100)
    path.write_bytes(path.with_suffix(".flac").read_bytes()[:20_000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"no audio" * 99), "not readable as audio"),
        (cut_wav, "truncated"),
        (cut_flac, "cannot be decoded|truncated"),
        (lambda path: write_wav(path, np.array([0.1, np.nan, 0.1]), subtype="FLOAT"), "NaN or infinite samples: 1"),
        (lambda path: write_wav(path, np.array([0.1, np.inf]), 16_000, "FLOAT"), "NaN or infinite samples: 1"),
    ],
)
def test_a_broken_file_is_one_line_with_its_name(tmp_path, make, message):
    make(tmp_path / "x.wav")
    with pytest.raises(InvalidInputError, match=message) as error:
        read_clip(Clip(path=tmp_path / "x.wav"), 16_000)
    assert str(error.value).startswith(f"{tmp_path / 'x.wav'}: ")
    assert "\n" not in str(error.value)


def test_missing_files_are_counted(tmp_path):
    write_wav(tmp_path / "x.wav", noise(0.1, 1))
    clips = [Clip(path=tmp_path / name) for name in ("x.wav", "y.wav", "z.wav")]
    assert len(read_file_states(clips[:1])) == 1
    with pytest.raises(NotFoundError, match=r"y\.wav: no such file \(and 1 more files\)"):
        read_file_states(clips)
    with pytest.raises(NotFoundError, match=r"y\.wav: no such file"):
        count_samples(clips[1], 16_000)


@pytest.fixture
def rendered(tmp_path):
    """A JAMS pair without audio, as a clip, and the same from a set that was built."""
    pairs = make_pairs(tmp_path / "made")
    tree = open_tree(pairs.source).sha256(["rain", "dog"])
    return pairs, Clip(path=pairs.jams_of("eval_added"), rendering=Rendering(source=pairs.source, fingerprint=tree))


@pytest.mark.parametrize("rate_hz", [44_100, 16_000])
def test_a_soundscape_is_rendered_when_it_is_wanted(rendered, tmp_path, rate_hz):
    pairs, clip = rendered
    pairs.build(tmp_path / "set")
    built = Clip(path=next((tmp_path / "set").rglob("rain_eval_added_s1.wav")))
    audio, digest = read_clip(clip, rate_hz)
    assert np.array_equal(audio, read_clip(built, rate_hz)[0])
    assert count_samples(clip, rate_hz) == len(audio) == rate_hz
    assert digest == hash_file(clip.path)


def test_what_it_is_rendered_from_is_a_part_of_its_name(rendered):
    _, clip = rendered
    other = replace(clip, rendering=replace(clip.rendering, fingerprint="f" * 64))
    assert clip.crop != other.crop != replace(clip, rendering=None).crop


def test_a_soundscape_that_cannot_be_rendered_is_one_line(rendered):
    pairs, clip = rendered
    for path in pairs.source.rglob("rain*.wav"):
        path.unlink()
    with pytest.raises(InvalidInputError, match=rf"{clip.path}: .*rain\d.wav"):
        read_clip(clip, 16_000)
    clip.path.write_text("{}")
    with pytest.raises(InvalidInputError, match=str(clip.path)):
        read_clip(clip, 16_000)
    with pytest.raises(InvalidInputError, match=str(clip.path)):
        count_samples(clip, 16_000)
    clip.path.unlink()
    with pytest.raises(NotFoundError, match=str(clip.path)):
        count_samples(clip, 16_000)
