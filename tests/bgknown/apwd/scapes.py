"""Soundscapes in memory, for the tests of what changes between two of them."""

from __future__ import annotations

from collections.abc import Sequence

from bgknown.soundscape import Layer, Soundscape


def scape(
    *events: tuple,
    background: str = "rain",
    recordings: Sequence[str] = ("1",),
    ref_db: float = -36.0,
    onset: float = 0.0,
    take: str = "0",
) -> Soundscape:
    """A soundscape.

    Args:
        events: label and SNR of each event; a file's name and an onset may follow.
        background: label of the backgrounds.
        recordings: files of the backgrounds.
        ref_db: their level.
        onset: of the events that have none of their own; also where the backgrounds start in their recordings.
        take: the file of the events that have none of their own.
    """
    layers = []
    for number, (label, snr_db, *rest) in enumerate(events):
        file, at = (*rest, *(f"{take}-{number}", onset)[len(rest) :])
        layers.append(
            Layer(
                label=label,
                file=f"dev/foreground/{label}/{file}.wav",
                source_time_s=0.0,
                duration_s=3.0,
                event_time_s=at,
                snr_db=snr_db,
            )
        )
    backgrounds = tuple(
        Layer(label=background, file=f"dev/background/{background}/{name}.wav", source_time_s=onset, duration_s=10.0)
        for name in recordings
    )
    return Soundscape(name="x", duration_s=10.0, ref_db=ref_db, backgrounds=backgrounds, events=tuple(layers))
