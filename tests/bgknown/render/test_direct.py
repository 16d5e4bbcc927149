"""The direct renderer against Scaper itself, sample for sample."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgknown.audio.files import RATE_HZ, encode, to_pcm16
from bgknown.audio.loudness import SILENCE_LUFS, measure_lufs
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jams.reading import parse_jams
from bgknown.jams.writing import compose_jams
from bgknown.render import direct, passes, scaper
from bgknown.render.recordings import RecordingStore
from bgknown.render.weighted import HEAD, measure_slice_lufs, weigh
from bgknown.soundscape import Layer, Soundscape
from tests.conftest import noise

BACKGROUNDS = ("long", "loud_middle", "bits24", "short")
EVENTS = ("knock", "steady", "gaps", "flac", "tiny", "silence")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A source tree with recordings of every kind: 16 and 24 bits, WAV and FLAC, short, quiet, silent."""
    root = tmp_path_factory.mktemp("tree")
    level = np.ones(22 * RATE_HZ) * 1e-3
    level[9 * RATE_HZ : 12 * RATE_HZ] = 1.0
    gaps = np.repeat(np.array([1.0, 0.0, 0.3, 0.0, 0.01]), RATE_HZ)
    sounds = {
        "background/rain/long.wav": (noise(21.37, 1), "PCM_16"),
        "background/rain/loud_middle.wav": (noise(22.0, 2) * level, "PCM_16"),
        "background/rain/bits24.wav": (noise(20.5, 3), "PCM_24"),
        "background/rain/short.wav": (noise(4.21, 4), "PCM_16"),
        "foreground/dog/knock.wav": (noise(0.16, 5), "PCM_16"),
        "foreground/dog/steady.wav": (noise(5.0, 6), "PCM_16"),
        "foreground/dog/gaps.wav": (noise(5.0, 7) * gaps, "PCM_16"),
        "foreground/dog/flac.flac": (noise(3.3, 8), "PCM_16"),
        "foreground/dog/tiny.wav": (noise(2.0, 9, peak=2e-4), "PCM_16"),
        "foreground/dog/silence.wav": (np.zeros(3 * RATE_HZ), "PCM_16"),
    }
    for name, (audio, subtype) in sounds.items():
        path = root / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio, RATE_HZ, subtype=subtype)
    return root


def layer(name: str, role: str, **times: float) -> Layer:
    label = {"background": "rain", "foreground": "dog"}[role]
    suffix = "flac" if name == "flac" else "wav"
    return Layer(label=label, file=f"dev/{role}/{label}/{name}.{suffix}", **times)


def both(soundscape: Soundscape, tree: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """A soundscape rendered directly and by ``scaper.generate_from_jams``, through a JAMS file."""
    path = folder / "x.jams"
    path.write_text(json.dumps(compose_jams(soundscape)))
    expected = scaper.render_jams(path, tree / "dev" / "foreground", tree / "dev" / "background")
    return directly(soundscape, tree), expected


def directly(soundscape: Soundscape, tree: Path) -> np.ndarray:
    store = RecordingStore(tree)
    read = parse_jams(json.dumps(compose_jams(soundscape)).encode(), "x")
    return direct.render_mixture(read, lambda part: store.open(part.file))


STEADY = layer("steady", "foreground", source_time_s=0.0, duration_s=4.0)
LONG = layer("long", "background", source_time_s=0.0, duration_s=10.0)
SCENE = Soundscape(name="x", duration_s=10.0, ref_db=-30.0, backgrounds=(LONG,), events=())


backgrounds = st.builds(
    lambda name, start: layer(name, "background", source_time_s=start if name != "short" else 0.0, duration_s=10.0),
    st.sampled_from(BACKGROUNDS),
    st.floats(0, 10),
)
events = st.builds(
    lambda name, length, onset, snr: layer(
        name,
        "foreground",
        source_time_s=0.0,
        duration_s=min(length, {"knock": 0.16, "tiny": 2.0, "flac": 3.3, "silence": 3.0}.get(name, 5.0)),
        event_time_s=onset,
        snr_db=snr,
    ),
    st.sampled_from(EVENTS),
    st.floats(0.05, 5),
    st.floats(0, 9.99),
    st.floats(-20, 25),
)
soundscapes = st.builds(
    Soundscape,
    name=st.just("x"),
    duration_s=st.just(10.0),
    ref_db=st.floats(-50, -20),
    backgrounds=st.lists(backgrounds, min_size=1, max_size=3).map(tuple),
    events=st.lists(events, max_size=3).map(tuple),
    fade_in_s=st.sampled_from([0.0, 0.01, 0.04]),
    fade_out_s=st.sampled_from([0.0, 0.01, 0.03]),
    fix_clipping=st.booleans(),
    peak_normalization=st.booleans(),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(soundscape=soundscapes)
def test_renders_what_scaper_renders(soundscape, tree, tmp_path):
    try:
        found, expected = both(soundscape, tree, tmp_path)
    except ValueError as error:  # a start like 1.2 s, which gives Scaper one sample less
        if "broadcast" not in str(error):
            raise
        with pytest.raises(InvalidInputError, match="Scaper cannot add them either"):
            directly(soundscape, tree)
        return
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * max(1.0, np.abs(expected).max()))
    steps = np.abs(passes.round_to_32_bits(found).astype(np.int64) - passes.round_to_32_bits(expected))
    assert steps.max() <= 1
    assert (
        passes.round_to_16_bits(found) != to_pcm16(expected)
    ).sum() <= 1  # a step at a rounding boundary, once in many files
    assert np.abs(passes.round_to_16_bits(found).astype(int) - to_pcm16(expected)).max() <= 1


def test_a_start_that_costs_scaper_a_sample(tree, tmp_path):
    odd = layer("long", "background", source_time_s=1.2, duration_s=10.0)
    found, expected = both(replace(SCENE, backgrounds=(odd,)), tree, tmp_path)
    assert found.shape == expected.shape == (440_999,)
    for other in (replace(SCENE, backgrounds=(odd, LONG)), replace(SCENE, backgrounds=(odd,), events=(STEADY,))):
        with pytest.raises(ValueError, match="broadcast"):
            both(other, tree, tmp_path)
        with pytest.raises(InvalidInputError, match="long.wav: has 440,999 samples from 1.2 s on"):
            directly(other, tree)


def test_files_are_those_that_scaper_writes(tree, tmp_path):
    soundscape = Soundscape(
        name="x",
        duration_s=10.0,
        ref_db=-36.0,
        backgrounds=(
            layer("long", "background", source_time_s=1.234567, duration_s=10.0),
            layer("bits24", "background", source_time_s=9.87654321, duration_s=10.0),
        ),
        events=(layer("steady", "foreground", source_time_s=0.0, duration_s=4.2, event_time_s=7.1, snr_db=8.0),),
    )
    found, expected = both(soundscape, tree, tmp_path)
    soundfile.write(tmp_path / "scaper.wav", expected, RATE_HZ, subtype="PCM_32")  # as generate_from_jams does
    written = soundfile.read(tmp_path / "scaper.wav", dtype="int32")[0]
    np.testing.assert_array_equal(passes.round_to_32_bits(found), written)
    assert encode(passes.round_to_32_bits(found), "wav") == (tmp_path / "scaper.wav").read_bytes()


def test_pcm16_is_to_pcm16():
    audio = np.concatenate([np.random.default_rng(0).uniform(-1.2, 1.2, 10_000), [1.0, -1.0, 0.0, 2.0, -2.0]])
    edges = (np.arange(-100, 100) + 0.5) / 32_768.0
    audio = np.concatenate([audio, edges, edges + 2.0**-33, edges - 2.0**-33])
    np.testing.assert_array_equal(passes.round_to_16_bits(audio), to_pcm16(audio))


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_wav_bytes_are_those_of_libsndfile(dtype, tmp_path):
    pcm = np.random.default_rng(0).integers(np.iinfo(dtype).min, np.iinfo(dtype).max, 1_001).astype(dtype)
    soundfile.write(tmp_path / "x.wav", pcm, RATE_HZ, subtype=f"PCM_{8 * pcm.itemsize}")
    assert encode(pcm, "wav") == (tmp_path / "x.wav").read_bytes()


@settings(max_examples=80, deadline=None)
@given(
    start=st.integers(0, 9 * RATE_HZ),
    frames=st.integers(1, 3 * RATE_HZ),
    seed=st.integers(0, 3),
    quiet=st.floats(1e-6, 1.0),
)
def test_loudness_of_slices(start, frames, seed, quiet):
    audio = noise(12.0, seed, peak=0.9) + 0.05  # a constant part: the longest memory the filters can have
    audio[5 * RATE_HZ :] *= quiet
    recording = weigh(audio)
    expected = measure_lufs(audio[start : start + frames], RATE_HZ)
    assert measure_slice_lufs(recording, start, frames, frames) == pytest.approx(expected, abs=1e-10)


def test_loudness_at_the_head_and_at_chunk_bounds():
    audio = (noise(3.0, 1) * 32_767).astype(np.int16)
    recording = weigh(audio)
    for start in (0, 1, 63, 64, 65):
        for frames in (22_050, HEAD, HEAD + 1, 64 * 700, audio.size - start):
            expected = measure_lufs(audio[start : start + frames] / 32_768.0, RATE_HZ)
            assert measure_slice_lufs(recording, start, frames, frames) == pytest.approx(expected, abs=1e-11)


def test_loudness_of_silence_and_of_what_is_repeated():
    assert measure_slice_lufs(weigh(np.zeros(RATE_HZ)), 0, RATE_HZ, RATE_HZ) == SILENCE_LUFS
    audio = noise(0.9, 3)
    expected = measure_lufs(np.tile(audio, 3)[:100_000], RATE_HZ)
    assert measure_slice_lufs(weigh(audio), 0, audio.size, 100_000) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (
            replace(SCENE, events=(replace(STEADY, source_time_s=2.0),)),
            "samples 88,200 to 264,600 are required, the source",
        ),
        (replace(SCENE, events=(replace(STEADY, duration_s=0.005),)), "the event has 220 samples, its fades have 441"),
        (
            replace(SCENE, backgrounds=(replace(LONG, source_time_s=15.0),)),
            "samples 661,500 to 1,102,500 are required, the source has 942,417",
        ),
    ],
)
def test_slices_beyond_their_source_are_refused(scene, message, tree):
    store = RecordingStore(tree)
    with pytest.raises(InvalidInputError, match=message):
        direct.render_mixture(scene, lambda part: store.open(part.file))


def test_store_refuses_what_is_no_source(tree, tmp_path):
    soundfile.write(tmp_path / "rate.wav", noise(1.0, 0), 16_000)
    soundfile.write(tmp_path / "stereo.wav", np.stack([noise(1.0, 0)] * 2, axis=1), RATE_HZ)
    soundfile.write(tmp_path / "nan.wav", np.full(1_000, np.nan), RATE_HZ, subtype="FLOAT")
    store = RecordingStore(tmp_path)
    for name, message in (("rate", "16000 Hz with 1"), ("stereo", "44100 Hz with 2"), ("nan", "NaN")):
        with pytest.raises(InvalidInputError, match=message):
            store.open(f"{name}.wav")
    with pytest.raises(NotFoundError):
        store.open("none.wav")


def test_store_forgets_what_has_no_room(tree):
    store = RecordingStore(tree, keep_bytes=1)
    first = store.open("dev/foreground/dog/steady.wav")
    assert store.open("dev/foreground/dog/steady.wav") is first
    store.open("dev/foreground/dog/gaps.wav")
    assert store.open("dev/foreground/dog/steady.wav") is not first
