"""Where the crops of a recording begin."""

from __future__ import annotations

import numpy as np

from bgknown.mixtures.recipe import CLIP_FRAMES, find_overlap_shift

ATTEMPTS = 64
"""How often crop (a) is drawn from a recording before the recording counts as too quiet."""


def draw_a_starts(
    frames: int, random: np.random.Generator, count: int = ATTEMPTS, clip_frames: int = CLIP_FRAMES
) -> list[int]:
    """Starts of crop (a), uniform over those that leave room for b and c.

    For a recording of N samples and crops of W these are [0, N - 2W] and [W, N - W] together: at N = 2W two points,
    from N = 3W - 1 every start.

    Args:
        frames: N, at least 2W.
        random: generator of the clip.
        count: how many to draw.
        clip_frames: W.
    """
    first_end = frames - 2 * clip_frames
    second_begin = max(clip_frames, first_end + 1)
    size = (first_end + 1) + (frames - clip_frames - second_begin + 1)
    drawn = random.integers(size, size=count)
    starts: list[int] = np.where(drawn <= first_end, drawn, drawn - first_end - 1 + second_begin).tolist()
    return starts


def draw_b_start(frames: int, a_start: int, random: np.random.Generator, clip_frames: int = CLIP_FRAMES) -> int:
    """Start of crop (b): half a crop before or after (a), the side uniform among those inside the recording."""
    shift = find_overlap_shift(clip_frames)
    sides = [start for start in (a_start - shift, a_start + shift) if 0 <= start <= frames - clip_frames]
    return sides[int(random.integers(len(sides)))]


def draw_c_start(frames: int, a_start: int, random: np.random.Generator, clip_frames: int = CLIP_FRAMES) -> int:
    """Start of crop (c): uniform over the starts whose crop is inside the recording and does not touch (a)."""
    before = max(a_start - clip_frames + 1, 0)
    after = max(frames - clip_frames - (a_start + clip_frames) + 1, 0)
    place = int(random.integers(before + after))
    return place if place < before else place - before + a_start + clip_frames
