"""Crops of a recording that many clips have drawn: measured in one pass over it, with the same verdict."""

import math

import numpy as np
import pytest
import soundfile

from bgknown.mixtures import crop_levels
from bgknown.mixtures.hearing import CropCheck
from tests.conftest import RATE_HZ, noise

CLIP_FRAMES = 22_050
FRAMES = 3 * RATE_HZ


@pytest.fixture
def check():
    """Crops of forty clips, whose second and third starts are only used if the first is too quiet."""
    draw = np.random.default_rng(5)
    starts = {f"c{number}": draw.integers(0, FRAMES - CLIP_FRAMES, size=3).tolist() for number in range(40)}
    return CropCheck(recording={"recording_id": "r", "file": "r.wav"}, starts=starts, clip_frames=CLIP_FRAMES)


def measure(check, root, monkeypatch, *, whole):
    """The verdict, and how often all of the recording was weighted at once."""
    passes = []

    def count(samples, weigh=crop_levels.weigh):
        passes.append(len(samples))
        return weigh(samples)

    monkeypatch.setattr(crop_levels, "_WHOLE", 4 if whole else math.inf)
    monkeypatch.setattr(crop_levels, "weigh", count)
    return crop_levels.measure_crops(check, root=root, name="made", min_level_lufs=-40.0), passes


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_one_pass_gives_the_same_verdict(check, tmp_path, monkeypatch, subtype):
    audio = noise(3.0, 1) * np.repeat([0.5, 1e-4, 2e-2], RATE_HZ)  # about -30, -100 and -55 LUFS
    soundfile.write(tmp_path / "r.wav", audio, RATE_HZ, subtype=subtype)
    one_by_one, passes = measure(check, tmp_path, monkeypatch, whole=False)
    assert passes == []
    together, passes = measure(check, tmp_path, monkeypatch, whole=True)
    assert passes == [FRAMES]
    assert together == one_by_one
    first = {clip: start for clip, start in together.chosen.items() if start == check.starts[clip][0]}
    assert 0 < len(first) < len(together.chosen)
    assert None in together.chosen.values()


def test_what_is_broken_outside_the_crops_does_not_matter(check, tmp_path, monkeypatch):
    audio = np.append(noise(3.0, 1), np.nan)
    soundfile.write(tmp_path / "r.wav", audio, RATE_HZ, subtype="FLOAT")
    found, passes = measure(check, tmp_path, monkeypatch, whole=True)
    assert passes == []
    assert found == measure(check, tmp_path, monkeypatch, whole=False)[0]
    assert found.problem is None
    audio[min(starts[0] for starts in check.starts.values())] = np.inf
    soundfile.write(tmp_path / "r.wav", audio, RATE_HZ, subtype="FLOAT")
    assert measure(check, tmp_path, monkeypatch, whole=True)[0].problem is not None


def test_levels_that_mixtures_are_made_with_are_those_of_single_crops(check, tmp_path, monkeypatch):
    """A build, which keeps what it heard, must not depend on how many clips have the recording."""
    soundfile.write(tmp_path / "r.wav", noise(3.0, 1), RATE_HZ, subtype="PCM_16")
    monkeypatch.setattr(crop_levels, "weigh", None)
    store = crop_levels.SourceStore()
    crop_levels.measure_crops(check, root=tmp_path, name="made", min_level_lufs=-40.0, store=store)
    levels = store.open(tmp_path / "r.wav").levels
    assert {start for start, _ in levels} == {starts[0] for starts in check.starts.values()}
