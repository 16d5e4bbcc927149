"""Parts of sources as renderers take them, against what ``Source.read`` gives of a source that nobody has prepared."""

import numpy as np
import pytest
import soundfile

from bgknown.audio.files import RATE_HZ, to_pcm16
from bgknown.audio.sources import SourceStore
from bgknown.errors import InvalidInputError, NotFiniteError
from bgknown.mixtures.crop_levels import measure_slices, read_crop
from bgknown.render.parts import PendingSignal, read_part
from bgknown.render.weighted import measure_samples_lufs
from tests.conftest import noise

AUDIO = noise(1.0, 1, peak=0.4)
JUST_ABOVE_SILENCE = np.zeros(RATE_HZ)
JUST_ABOVE_SILENCE[[5, 30_000]] = 2.0**-15 + 2.0**-33, -(2.0**-16)
FULL_SCALE = np.where(np.arange(RATE_HZ) % 9 == 0, 1.0, AUDIO)
KINDS = {
    "16-bit WAV": ("x.wav", AUDIO, RATE_HZ, "PCM_16"),
    "silent 16-bit WAV": ("x.wav", np.full(RATE_HZ, 2.0**-15), RATE_HZ, "PCM_16"),
    "24-bit WAV": ("x.wav", AUDIO, RATE_HZ, "PCM_24"),
    "FLAC": ("x.flac", AUDIO, RATE_HZ, "PCM_16"),
    "float WAV beyond full scale": ("x.wav", 4 * AUDIO, RATE_HZ, "FLOAT"),
    "stereo": ("x.wav", np.stack([AUDIO, AUDIO[::-1]], axis=1), RATE_HZ, "PCM_16"),
    "another rate": ("x.wav", AUDIO, 32_000, "PCM_16"),
    "Ogg": ("x.ogg", AUDIO, RATE_HZ, "VORBIS"),
    "stereo beyond full scale": ("x.wav", np.stack([4 * AUDIO, 3 * AUDIO], axis=1), RATE_HZ, "DOUBLE"),
    "stereo at full scale": ("x.wav", np.stack([FULL_SCALE, FULL_SCALE], axis=1), RATE_HZ, "DOUBLE"),
    "stereo just above silence": ("x.wav", np.stack([JUST_ABOVE_SILENCE] * 2, axis=1), RATE_HZ, "DOUBLE"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_is_what_scaper_mixes(kind, tmp_path):
    name, audio, rate_hz, subtype = KINDS[kind]
    soundfile.write(tmp_path / name, audio, rate_hz, subtype=subtype)
    source, fresh = SourceStore().open(tmp_path / name), SourceStore().open(tmp_path / name)
    for start, stop in ((0, source.frames), (0, 7), (100, 20_000), (source.frames - 1, source.frames)):
        part = read_part(source, start, stop)
        expected, amplitude = fresh.read(start, stop)
        assert np.array_equal(part.audio, expected)
        assert part.amplitude == amplitude
        assert part.peak == np.abs(expected).max()
        assert measure_samples_lufs(part.samples) == measure_samples_lufs(expected)
        for gain, scale in ((0.3, 1.0), (1.7, 0.61)):
            signal = PendingSignal.amplify(part, gain)
            assert signal.peak == np.abs(expected * gain).max()
            assert np.array_equal(signal.to_pcm16(scale), to_pcm16(expected * gain * scale))
    assert (part.samples.dtype == np.int16) == ("16-bit WAV" in kind)
    assert bool(source.settled) == (kind in {"stereo", "another rate", "Ogg", "stereo at full scale"})


def test_slices_outside_a_recording_and_cut_files_are_refused(tmp_path):
    path = tmp_path / "x.wav"
    pcm = to_pcm16(AUDIO)
    soundfile.write(path, pcm, RATE_HZ)
    source = SourceStore().open(path)
    with pytest.raises(InvalidInputError, match="samples 10 to 44,101 are required, but the file has 44,100"):
        read_part(source, 10, RATE_HZ + 1)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 500])
    with pytest.raises(InvalidInputError, match="ends at sample 500 of 600: the file is truncated"):
        read_part(source, 300, 600)
    assert np.array_equal(read_part(source, 300, 500).samples, pcm[300:500])


def test_only_parts_with_nan_are_refused(tmp_path):
    audio = np.stack([AUDIO, AUDIO], axis=1)
    audio[9] = np.nan
    soundfile.write(tmp_path / "x.wav", audio, RATE_HZ, subtype="DOUBLE")
    source = SourceStore().open(tmp_path / "x.wav")
    assert read_part(source, 10, 900).peak > 0
    with pytest.raises(NotFiniteError, match="NaN or infinite samples: 1, the first at sample 4"):
        read_part(source, 5, 900)


def test_slices_measured_together_have_the_loudness_of_each_alone(tmp_path):
    store = SourceStore()
    for name, subtype in (("x.wav", "PCM_16"), ("x.ogg", "VORBIS")):
        soundfile.write(tmp_path / name, AUDIO, RATE_HZ, subtype=subtype)
    plain, coded = store.open(tmp_path / "x.wav"), store.open(tmp_path / "x.ogg")
    beyond = (plain, 40_000, RATE_HZ)
    wanted = [
        (plain, 0, 30_000),
        (coded, 0, 30_000),
        beyond,
        (plain, 5, 20_000),
        (coded, 9, 35_000),
        (plain, 7, 22_050),
    ]
    measure_slices(wanted)
    assert len(plain.levels) == 3
    assert len(coded.levels) == 2
    for source, start, frames in wanted:
        if (source, start, frames) != beyond:
            found = source.levels[start, start + frames]
            assert found == read_crop(SourceStore().open(source.path), start, frames)[1]


def test_large_recordings_do_not_fill_the_memory(tmp_path):
    paths = [tmp_path / f"{number}.ogg" for number in range(6)]
    for path in paths:
        soundfile.write(path, AUDIO, RATE_HZ, subtype="VORBIS")
    for keep_bytes, kept in ((10_000_000, 6), (1_000_000, 4)):
        store = SourceStore(keep=6, keep_bytes=keep_bytes)
        first = [store.open(path) for path in paths]
        assert (
            sum(store.open(path) is source for path, source in reversed(list(zip(paths, first, strict=True)))) == kept
        )
