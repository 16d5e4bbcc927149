"""Tiny recordings: noises long enough for backgrounds, and short tones."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.embedding.settings import EmbedSettings
from benchmark.heads.drawing import MixtureRules
from benchmark.heads.recordings import RecordingChoice
from benchmark.heads.training import HeadOptions
from tests.conftest import RATE_HZ, noise, write_wav

RULES = MixtureRules(duration_s=0.5)


def make_recordings(root: Path, *, backgrounds: int = 10, tones: int = 10) -> Path:
    """Noises of 1.2 s under Freesound ids, and tones of 0.3 s."""
    for number in range(backgrounds):
        audio = np.convolve(noise(1.2, number), np.ones(1 + number) / (1 + number), mode="same")
        write_wav(root / "long" / f"{9000 + number}.wav", audio)
    for number in range(tones):
        tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * number) * np.arange(int(0.3 * RATE_HZ)) / RATE_HZ)
        write_wav(root / "short" / f"1-{600 + number}-A-3.wav", tone + noise(0.3, 50 + number, 0.02))
    return root


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    return make_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture
def options(recordings, tmp_path):
    """The options of a head, with changes."""

    def make(**changes) -> HeadOptions:
        given = {
            "encoder": "logmel",
            "choice": RecordingChoice(audio=(recordings,)),
            "out": tmp_path / "head.safetensors",
            "embedding": EmbedSettings(cache=tmp_path / "cache", jobs=1),
            "rules": RULES,
            "mixtures": 32,
            "features": "linear",
        }
        return HeadOptions(**{**given, **changes})

    return make
