import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bgknown.apwd.sources.trimming import (
    SHORTEST_EVENT_FRAMES,
    count_loops,
    fade_ends,
    find_active_part,
    loop_recording,
    prepare_background,
    prepare_event,
    round_to_pcm16,
)
from tests.conftest import RATE_HZ, noise

SAMPLES = arrays.arrays(np.float32, st.integers(1, 400), elements=st.floats(-1.5, 1.5, width=32))


def tone(frames, peak):
    return (peak * np.sin(2 * np.pi * 441 * np.arange(frames) / RATE_HZ)).astype(np.float32)


@given(SAMPLES)
def test_rounding_never_wraps_and_is_within_half_a_step(audio):
    pcm = round_to_pcm16(audio).astype(np.int64)
    assert np.abs(pcm - np.clip(audio.astype(np.float64) * 32_768, -32_768, 32_767)).max() <= 0.5


def test_rounding_is_half_to_even_and_full_scale_saturates():
    audio = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 32_768, 40_000, -32_768, -40_000], np.float32) / np.float32(32_768)
    assert round_to_pcm16(audio).tolist() == [0, 2, 2, 0, -2, 32_767, 32_767, -32_768, -32_768]


@pytest.mark.parametrize(("seconds", "times"), [(0.5, 41), (3.0, 7), (10.0, 3), (19.9, 2), (20.0, 2), (20.1, 1)])
def test_a_background_is_looped_as_a_whole_until_it_is_longer_than_20_s(seconds, times):
    audio = noise(seconds, 1).astype(np.float32)
    looped = loop_recording(audio)
    assert count_loops(len(audio)) == times
    assert len(looped) == times * len(audio) > 20 * RATE_HZ
    for start in range(0, len(looped), len(audio)):
        np.testing.assert_array_equal(looped[start : start + len(audio)], audio)


@given(SAMPLES.filter(lambda audio: np.abs(audio).max() > 1e-30))
def test_a_background_of_apwd_has_a_peak_of_095(audio):
    pcm = prepare_background(audio, style="apwd")
    assert np.abs(pcm.astype(int)).max() == round(0.95 * 32_768)


def test_a_background_of_audiodiffcaps_keeps_its_level():
    audio = tone(30_000, 0.25)
    pcm = prepare_background(audio, style="audiodiffcaps")
    np.testing.assert_array_equal(pcm, np.tile(np.rint(audio * 32_768), 30).astype(np.int16))


def test_the_published_fault_repeats_samples_instead_of_the_recording():
    audio = noise(3.0, 2).astype(np.float32)
    pcm = prepare_background(audio, style="audiodiffcaps", repeat_samples=True)
    assert len(pcm) == 7 * len(audio)
    for place in range(7):
        np.testing.assert_array_equal(pcm[place::7], np.rint(audio * 32_768).astype(np.int16))


def direct(audio):
    """The same definition by cumulative sums of nothing: one dot product per sample."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 511)
    padded = np.pad(np.abs(audio.astype(np.float64)), (256, 255))
    smooth = np.array([padded[i : i + 512] @ window[::-1] for i in range(len(audio))])
    active = np.flatnonzero(smooth > 0.1 * smooth.max())
    return int(active[0]), int(active[-1])


@pytest.mark.parametrize("seed", range(4))
def test_the_active_part_is_where_the_smoothed_magnitude_is_above_a_tenth(seed):
    rng = np.random.default_rng(seed)
    audio = np.zeros(6000, np.float32)
    start, stop = 1500 + 300 * seed, 3500 + 400 * seed
    audio[start:stop] = rng.uniform(-1, 1, stop - start)
    found = find_active_part(audio)
    assert found == direct(audio)
    assert start - 256 < found[0] < start
    assert stop < found[1] < stop + 256


def test_a_click_is_active_within_the_window_around_it():
    audio = np.zeros(5000, np.float32)
    audio[2000] = 0.7
    window = np.hanning(512)
    above = np.flatnonzero(window > 0.1 * window.max())
    assert find_active_part(audio) == (2000 + above[0] - 256 + 1, 2000 + above[-1] - 256 + 1) == direct(audio)


@given(st.floats(1e-3, 4.0))
def test_the_active_part_does_not_depend_on_the_level(gain):
    audio = np.zeros(4000, np.float32)
    audio[1000:2500] = 0.25
    assert find_active_part(audio * np.float32(gain)) == find_active_part(audio)


def test_a_fade_is_a_hann_slope_of_10_ms_at_both_ends_and_nothing_between():
    faded = fade_ends(np.ones(2000, np.float32))
    slope = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(441) / 881)
    np.testing.assert_allclose(faded[:441], slope, atol=1e-7)
    np.testing.assert_allclose(faded[-441:], slope[::-1], atol=1e-7)
    assert (faded[441:-441] == 1).all()


def test_a_fade_leaves_its_input_alone_and_holds_the_shortest_event():
    audio = np.ones(SHORTEST_EVENT_FRAMES, np.float32)
    assert fade_ends(audio)[0] == fade_ends(audio)[-1] == 0
    assert (audio == 1).all()


def test_events_are_faded_in_apwd_and_not_in_audiodiffcaps():
    audio = np.full(1000, 0.5, np.float32)
    assert prepare_event(audio, style="audiodiffcaps").tolist() == [16_384] * 1000
    pcm = prepare_event(audio, style="apwd")
    assert (pcm[0], pcm[500], pcm[-1]) == (0, 16_384, 0)


@pytest.mark.data
@pytest.mark.parametrize(
    ("clip", "active"),
    [("1-100032-A-0", (100_114, 107_391)), ("3-103051-C-19", (36_426, 220_037)), ("5-156999-C-19", (10_852, 220_499))],
)
def test_active_parts_are_those_that_are_published(shared_data, clip, active):
    """Source: st and ed of audio_csv/ev/esc50.csv of github.com/nttcslab/audio-diff-caps."""
    audio, _ = soundfile.read(str(shared_data / "esc50_extra" / "audio" / f"{clip}.wav"), dtype="float32")
    assert find_active_part(audio) == active
