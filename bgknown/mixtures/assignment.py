"""Which recording each clip gets in each draw."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pandas as pd

from bgknown import seeding
from bgknown.errors import InvalidInputError


def assign(
    clips: pd.DataFrame,
    pool: pd.DataFrame,
    seed: int,
    earlier: Sequence[Mapping[str, str]] = (),
    *,
    never: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> dict[str, str]:
    """Give each clip a recording: its favourite among those used least so far, never one with its own source.

    Every clip has its own order of preference over all recordings. Clips that must not have some recording choose
    first, the others in an order drawn from the seed; so each recording is used once while there are enough.

    A further draw adds to the uses of the earlier ones, and forbids each clip the recordings that it had most often:
    no clip gets a recording twice before it has had all others.

    Args:
        clips: columns clip_id, source.
        pool: columns recording_id, source.
        seed: the seed.
        earlier: what earlier draws gave, recording_id by clip_id; they are not changed.
        never: further recordings that a clip must not have, by clip_id.

    Returns:
        recording_id by clip_id.

    Raises:
        InvalidInputError: a clip has no recording left.
    """
    names = pool["recording_id"].to_numpy(dtype=object)
    keys = seeding.draw_ranks(0, "recording", list(names))
    place_of = {name: place for place, name in enumerate(names)}
    own = _list_barred(clips, pool, place_of, never)
    forbidden = {clip: _forbid(clip, places, place_of, earlier) for clip, places in own.items()}
    purpose = f"turn of draw {len(earlier)}" if earlier else "turn"
    turn = dict(zip(own, seeding.draw_ranks(seed, purpose, list(own)), strict=True))
    uses = np.zeros(len(names), dtype=np.int64)
    np.add.at(uses, [place_of[name] for draw in earlier for name in draw.values() if name in place_of], 1)
    chosen: dict[str, int] = {}
    givers = _Givers(chosen=chosen, forbidden=forbidden)
    for clip in sorted(own, key=lambda clip: (not own[clip], turn[clip])):
        allowed = np.ones(len(names), dtype=bool)
        allowed[list(forbidden[clip])] = False
        if not allowed.any():
            raise InvalidInputError(f"no background is left for clip {clip}")
        candidates = np.flatnonzero(allowed & (uses == uses[allowed].min()))
        place = int(
            candidates[np.argmin(seeding.score_pairs(seeding.derive_key(seed, "preference", clip), keys[candidates]))]
        )
        left_over = int(np.argmin(uses))
        giver = None
        if uses[place] > uses[left_over]:
            # only recordings that the clip must not have are left: another clip takes one and passes its own on
            giver = givers.find(left_over, forbidden[clip])
        if giver is not None:
            place = givers.swap(giver, left_over)
        uses[place if giver is None else left_over] += 1
        givers.add(clip, place)
    return {clip: str(names[place]) for clip, place in chosen.items()}


def _list_barred(
    clips: pd.DataFrame, pool: pd.DataFrame, place_of: Mapping[str, int], never: Mapping[str, frozenset[str]]
) -> dict[str, set[int]]:
    """Places of the recordings that each clip must never have: those of its own source, and those in ``never``."""
    of_source: dict[str, set[int]] = {}
    for place, source in enumerate(pool["source"]):
        if source:
            of_source.setdefault(source, set()).add(place)
    of_names = {names: {place_of[name] for name in names if name in place_of} for names in set(never.values())}
    return {
        clip: of_source.get(source, set()) | of_names.get(never.get(clip, frozenset()), set())
        for clip, source in clips[["clip_id", "source"]].to_numpy()
    }


@dataclass(slots=True, kw_only=True)
class _Givers:
    """Finds the first clip that may have what is left over, and whose recording the clip without one may have.

    Where a class or a source has few recordings, thousands of clips ask the same question, and the answer is that there
    is no such clip. What was looked at for one of them is not looked at again, unless it has been swapped since.
    """

    chosen: dict[str, int]
    """The place of the recording of each clip that has one, in the order in which they chose."""
    forbidden: Mapping[str, Set[int]]
    """Places that each clip must not have."""
    order: list[str] = field(default_factory=list)
    """The clips of ``chosen``."""
    swapped: list[int] = field(default_factory=list)
    """Positions in ``order`` of the clips whose recording was swapped."""
    looked_at: dict[tuple[int, frozenset[int]], tuple[int, int]] = field(default_factory=dict)
    """For each question, the positions before which no clip was the answer, and the number of swaps at that time."""
    position_of: dict[str, int] = field(default_factory=dict)
    """The position of each clip in ``order``."""

    def add(self, clip: str, place: int) -> None:
        """Note the recording of a clip."""
        self.position_of[clip] = len(self.order)
        self.order.append(clip)
        self.chosen[clip] = place

    def swap(self, giver: str, place: int) -> int:
        """Give a clip another recording; returns the place of the one that it had."""
        self.swapped.append(self.position_of[giver])
        given, self.chosen[giver] = self.chosen[giver], place
        return given

    def find(self, left_over: int, not_for_clip: Set[int]) -> str | None:
        """The first clip that may have what is left over, and whose recording is none of some; None without any."""
        question = (left_over, frozenset(not_for_clip))
        seen, swaps = self.looked_at.get(question, (0, 0))
        again = sorted({position for position in self.swapped[swaps:] if position < seen})
        for position in itertools.chain(again, range(seen, len(self.order))):
            clip = self.order[position]
            place = self.chosen[clip]
            if place != left_over and left_over not in self.forbidden[clip] and place not in not_for_clip:
                self.looked_at[question] = (position, len(self.swapped))
                return clip
        self.looked_at[question] = (len(self.order), len(self.swapped))
        return None


def _forbid(clip: str, never: Set[int], place_of: Mapping[str, int], earlier: Sequence[Mapping[str, str]]) -> set[int]:
    """Places of the recordings that a clip must not have: those barred, and what it had more often than others."""
    had = Counter(place_of[draw[clip]] for draw in earlier if draw[clip] in place_of)
    left = len(place_of) - len(never)
    least = 0 if len(had) < left else min(had.values(), default=0)
    return {*never} | {place for place, count in had.items() if count > least}
