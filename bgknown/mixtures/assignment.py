"""Which recording each clip gets in each draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
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
            giver = _find_giver(chosen, left_over, forbidden, forbidden[clip])
        if giver is not None:
            place, chosen[giver] = chosen[giver], left_over
        uses[place if giver is None else left_over] += 1
        chosen[clip] = place
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


def _find_giver(
    chosen: Mapping[str, int], left_over: int, forbidden: Mapping[str, Set[int]], not_for_clip: Set[int]
) -> str | None:
    """A clip that may have what is left over, and whose recording the clip without one may have."""
    return next(
        (
            other
            for other, place in chosen.items()
            if place != left_over and left_over not in forbidden[other] and place not in not_for_clip
        ),
        None,
    )


def _forbid(clip: str, never: Set[int], place_of: Mapping[str, int], earlier: Sequence[Mapping[str, str]]) -> set[int]:
    """Places of the recordings that a clip must not have: those barred, and what it had more often than others."""
    had = Counter(place_of[draw[clip]] for draw in earlier if draw[clip] in place_of)
    left = len(place_of) - len(never)
    least = 0 if len(had) < left else min(had.values(), default=0)
    return {*never} | {place for place, count in had.items() if count > least}
