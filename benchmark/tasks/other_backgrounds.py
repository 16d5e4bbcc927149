"""Another background for every mixture: what the control ``shuffled`` of BgKnown subtracts."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bgknown.corpora.columns import find_corpus_prefixes
from bgknown.mixtures.naming import list_clip_names, name_row
from bgknown.seeding import draw_ranks


def pair_other_backgrounds(table: pd.DataFrame) -> NDArray[np.int64] | None:
    """For every row another row of the same split, with a recording that the clip has in none of its draws.

    The draws of a split are put into a random order in which those of one recording are adjacent. Each gets the one
    that follows at a distance of the size of the largest such group; where that is a recording of another draw of the
    same clip, it exchanges with another. So each is used once. Mixtures of one draw at several SNRs get the same other
    draw, at the same SNR.

    Args:
        table: a manifest; only split, the background's file and clip_id are needed where every row is a clip.

    Returns:
        [n] rows, or None if one recording is used by more than half of a split, or a clip has nearly all recordings.
    """
    clips = list_clip_names(table)
    draws = table["draw"].tolist() if "draw" in table else [None] * len(table)
    rows = pd.DataFrame(
        {
            "split": table["split"].to_numpy(),
            "recording": table[find_corpus_prefixes(table.columns).background_file].to_numpy(),
            "clip": clips,
            "unit": [name_row(clip, draw) for clip, draw in zip(clips, draws, strict=True)],
            "snr_db": table["snr_db"].to_numpy() if "snr_db" in table else 0.0,
        }
    )
    units = rows.drop_duplicates("unit").set_index("unit")
    had = {str(clip): frozenset(part) for clip, part in rows.groupby("clip")["recording"]}
    partner: dict[str, str] = {}
    for _, part in units.groupby("split"):
        found = _pair_units(part, had)
        if found is None:
            return None
        partner |= found
    return _find_rows(rows, partner)


def _pair_units(units: pd.DataFrame, had: Mapping[str, Set[str]]) -> dict[str, str] | None:
    """For every draw of a split another one with a recording that the clip does not have."""
    key = pd.DataFrame(
        {
            "recording": draw_ranks(0, "shuffled recording", units["recording"].tolist()),
            "rank": draw_ranks(0, "shuffled clip", units.index.tolist()),
        },
        index=units.index,
    )
    order = key.sort_values(["recording", "rank"]).index.tolist()
    shift = int(units["recording"].value_counts().max())
    if 2 * shift > len(order):
        return None
    recordings = units["recording"].to_dict()
    own = {unit: had[clip] for unit, clip in units["clip"].items()}
    partner = dict(zip(order, [*order[shift:], *order[:shift]], strict=True))
    for unit in order:
        if recordings[partner[unit]] not in own[unit]:
            continue
        other = next(
            (
                other
                for other in order
                if recordings[partner[other]] not in own[unit] and recordings[partner[unit]] not in own[other]
            ),
            None,
        )
        if other is None:
            return None
        partner[unit], partner[other] = partner[other], partner[unit]
    return partner


def _find_rows(rows: pd.DataFrame, partner: Mapping[str, str]) -> NDArray[np.int64]:
    """[n] for every row that of the other draw at the same SNR; its first row where that SNR is missing."""
    first: dict[str, int] = {}
    exact: dict[tuple[str, float], int] = {}
    for place, (unit, snr_db) in enumerate(zip(rows["unit"], rows["snr_db"], strict=True)):
        first.setdefault(unit, place)
        exact[unit, snr_db] = place
    pairs = zip(rows["unit"], rows["snr_db"], strict=True)
    return np.array([exact.get((partner[unit], snr_db), first[partner[unit]]) for unit, snr_db in pairs])
