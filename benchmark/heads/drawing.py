"""Which mixtures a head is trained on: foreground, background, reference, SNR, level and position of each.

Every mixture has a generator of (seed, number, attempt), so it does not depend on how many there are: more mixtures
extend fewer. Mixtures 7, 15, 23, ... are held out: their foregrounds and their backgrounds come from sources that no
other mixture has. References a (the same part of the background), b (half of it) and c (none of it) take turns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.heads.recordings import TrainingRecording
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import hash_bytes
from bgknown.mixtures.crop_starts import draw_a_starts, draw_b_start, draw_c_start
from bgknown.mixtures.recipe import REF_LIMITS_DB, SNR_LIMITS_DB, count_clip_frames
from bgknown.seeding import draw_ranks, make_generator

HELD_OUT_EVERY = 8
"""One mixture, and one source, of so many is held out."""
REFERENCE_KINDS = "abc"
SHORTEST_FOREGROUND_FRAMES = 8_820
"""Shortest foreground at 44.1 kHz: 0.2 s."""
LEAST_BACKGROUNDS = 4
"""Sources with backgrounds that are needed: two of them are held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureRules:
    """How mixtures are drawn."""

    seed: int = 0
    """Seed of every draw."""
    snr_db: tuple[float, float] = (0.0, 3.0)
    """Range of the signal-to-noise ratio, uniform."""
    level_lufs: tuple[float, float] = (-36.0, -24.0)
    """Range of the loudness of the background in the mixture, uniform."""
    duration_s: float = 5.0
    """Duration of mixtures, references and clean foregrounds."""

    @property
    def clip_frames(self) -> int:
        """Samples in a mixture at 44.1 kHz."""
        return count_clip_frames(self.duration_s)

    def __post_init__(self) -> None:
        for name, (low, high), (least, most) in (
            ("snr", self.snr_db, SNR_LIMITS_DB),
            ("level", self.level_lufs, REF_LIMITS_DB),
        ):
            if not least <= low <= high <= most:
                raise InvalidInputError(
                    f"the range {name} is {low:g} to {high:g} dB; it must rise, within {least:g}..{most:g}"
                )
        count_clip_frames(self.duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixturePlan:
    """One mixture. Positions are samples at 44.1 kHz."""

    foreground: TrainingRecording
    """The recording of the foreground."""
    foreground_start: int
    """Where its part begins in the recording."""
    foreground_frames: int
    """Length of its part."""
    onset: int
    """Where it begins in the mixture."""
    background: TrainingRecording
    """The recording of the background."""
    a_start: int
    """Where the background of the mixture begins in its recording."""
    reference_start: int
    """Where the reference begins; for reference a the same."""
    reference: str
    """a, b or c."""
    snr_db: float
    """Loudness of the foreground above the background."""
    level_lufs: float
    """Loudness of the background."""


class MixtureDraw:
    """Draws mixtures of some recordings."""

    def __init__(self, recordings: Sequence[TrainingRecording], rules: MixtureRules) -> None:
        """Divide the recordings into those to train on and those held out.

        Args:
            recordings: the recordings, each with its source.
            rules: how to draw.

        Raises:
            InvalidInputError: there are too few backgrounds.
        """
        self.recordings, self.rules = list(recordings), rules
        codes = {source: code for code, source in enumerate(dict.fromkeys(each.source for each in recordings))}
        self._sources = np.array([codes[each.source] for each in recordings], dtype=np.int64)
        frames = np.array([each.frames for each in recordings], dtype=np.int64)
        long = frames >= 2 * rules.clip_frames
        self.held_out = _hold_out(
            recordings, {each.source for each, fits in zip(recordings, long, strict=True) if fits}, rules
        )
        held = np.array([each.source in self.held_out for each in recordings], dtype=np.bool_)
        usable = frames >= SHORTEST_FOREGROUND_FRAMES
        self._is_foreground = np.array([each.is_foreground for each in recordings], dtype=np.bool_)
        self._parts = {
            part: (np.flatnonzero(usable & (held == part)), np.flatnonzero(long & (held == part)))
            for part in (False, True)
        }

    def count_parts(self) -> dict[str, int]:
        """Numbers of recordings that may be foregrounds and backgrounds, to train on and held out."""
        counts: dict[str, int] = {}
        for part, name in ((False, ""), (True, "held_out_")):
            foregrounds, backgrounds = self._parts[part]
            counts[f"{name}foregrounds"] = int(self._is_foreground[foregrounds].sum())
            counts[f"{name}backgrounds"] = len(backgrounds)
        return counts

    @property
    def sha256(self) -> str:
        """Fingerprint of everything that the mixtures depend on."""
        lines = [f"{each.sha256} {each.frames} {each.source}" for each in self.recordings]
        return hash_bytes(json.dumps(asdict(self.rules), sort_keys=True).encode(), "\n".join(lines).encode())

    def plan_mixture(self, number: int, attempt: int = 0) -> MixturePlan:
        """Draw a mixture.

        Args:
            number: which, from 0.
            attempt: another one in its place, where the first has a silent foreground or a quiet background.
        """
        rules, width = self.rules, self.rules.clip_frames
        random = make_generator(rules.seed, "head mixture", str(number), str(attempt))
        foregrounds, backgrounds = self._parts[is_held_out(number)]
        background = int(backgrounds[random.integers(len(backgrounds))])
        others = foregrounds[self._sources[foregrounds] != self._sources[background]]
        foreground = self.recordings[int(others[random.integers(len(others))])]
        length = min(foreground.frames, width)
        recording = self.recordings[background]
        a_start = draw_a_starts(recording.frames, random, 1, width)[0]
        starts = {
            "a": a_start,
            "b": draw_b_start(recording.frames, a_start, random, width),
            "c": draw_c_start(recording.frames, a_start, random, width),
        }
        reference = REFERENCE_KINDS[number % len(REFERENCE_KINDS)]
        return MixturePlan(
            foreground=foreground,
            foreground_start=int(random.integers(foreground.frames - length + 1)),
            foreground_frames=length,
            onset=int(random.integers(width - length + 1)),
            background=recording,
            a_start=a_start,
            reference_start=starts[reference],
            reference=reference,
            snr_db=float(random.uniform(*rules.snr_db)),
            level_lufs=float(random.uniform(*rules.level_lufs)),
        )


def is_held_out(number: int) -> bool:
    """Whether a mixture is held out."""
    return number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


def find_training_rows(first: int, count: int) -> NDArray[np.bool_]:
    """[count] which of consecutive mixtures are trained on."""
    return np.array([not is_held_out(number) for number in range(first, first + count)], dtype=np.bool_)


def _hold_out(
    recordings: Sequence[TrainingRecording], with_backgrounds: set[str], rules: MixtureRules
) -> frozenset[str]:
    """The sources that are held out: one of eight, of those with backgrounds and of the others alike."""
    if len(with_backgrounds) < LEAST_BACKGROUNDS:
        raise InvalidInputError(
            f"{len(with_backgrounds)} of {len(recordings)} recordings are from different sources and at least "
            f"{2 * rules.duration_s:g} s long, as backgrounds must be; at least {LEAST_BACKGROUNDS} are required: add "
            f"longer recordings with --audio, or lower --duration"
        )
    held: set[str] = set()
    every = dict.fromkeys(each.source for each in recordings)
    usable = {each.source for each in recordings if each.frames >= SHORTEST_FOREGROUND_FRAMES}
    for names, least in (
        ([name for name in every if name in with_backgrounds], 2),
        ([name for name in every if name in usable - with_backgrounds], 0),
    ):
        count = max(least, round(len(names) / HELD_OUT_EVERY))
        order = np.argsort(draw_ranks(rules.seed, "held out of a head", names), kind="stable")
        held |= {names[place] for place in order[:count]}
    return frozenset(held)
