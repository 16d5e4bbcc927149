"""What changes from the first soundscape of a pair to the second, according to their layers.

Classes are compared, not files: another clip, onset or start of a background is not a change; a class that
appears, disappears, or becomes louder or quieter by several decibels is one. An event of a background's class is
that background made louder.

Source: D. Takeuchi et al., Introducing Auxiliary Text Query-modifier to Content-based Audio Retrieval, Interspeech
2022; the kinds as found in the published pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bgknown.errors import InvalidInputError
from bgknown.soundscape import Soundscape

KINDS = (
    "event_added",
    "event_removed",
    "event_louder",
    "event_quieter",
    "background_louder",
    "background_quieter",
)
LOUDER_DB = 3.0
"""Least change of a class's mean SNR that counts."""

_ROUNDING_DB = 1e-9  # a change of exactly LOUDER_DB counts, however its two SNRs were rounded


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Change:
    """One thing to change."""

    kind: str
    """One of ``KINDS``."""
    label: str
    """The class it concerns."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInputError(f"change: the kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        if not self.label or any(character in self.label for character in ";:"):
            raise InvalidInputError(f"change: the label is {self.label!r}; it must be a word without ';' and ':'")

    @property
    def code(self) -> str:
        """Kind and label as one word."""
        return f"{self.kind}:{self.label}"


def find_changes(first: Soundscape, second: Soundscape) -> tuple[Change, ...]:
    """The changes from one soundscape to another, sorted, each once.

    Raises:
        InvalidInputError: a label holds ";" or ":".
    """
    backgrounds = {layer.label for scape in (first, second) for layer in scape.backgrounds}
    before, after = _list_levels(first), _list_levels(second)
    found = []
    for label in sorted({*before, *after}):
        kind = _find_kind(before.get(label, []), after.get(label, []), is_background=label in backgrounds)
        if kind is not None:
            found.append(Change(kind=kind, label=label))
    return tuple(sorted(found))


def _list_levels(soundscape: Soundscape) -> dict[str, list[float]]:
    """The SNR of every event, by class."""
    levels: dict[str, list[float]] = {}
    for event in soundscape.events:
        levels.setdefault(event.label, []).append(event.snr_db)
    return levels


def _find_kind(before: Sequence[float], after: Sequence[float], *, is_background: bool) -> str | None:
    if len(before) != len(after):
        more = len(after) > len(before)
        if is_background:
            return "background_louder" if more else "background_quieter"
        return "event_added" if more else "event_removed"
    change_db = sum(after) / len(after) - sum(before) / len(before)
    if abs(change_db) < LOUDER_DB - _ROUNDING_DB:
        return None
    return f"{'background' if is_background else 'event'}_{'louder' if change_db > 0 else 'quieter'}"


def list_classes(soundscape: Soundscape) -> tuple[str, ...]:
    """The classes of a soundscape's events, sorted, without those of its backgrounds."""
    backgrounds = {layer.label for layer in soundscape.backgrounds}
    return tuple(sorted({event.label for event in soundscape.events} - backgrounds))


def format_codes(found: Iterable[Change]) -> str:
    """Changes as a column of a table: codes joined by ";"."""
    return ";".join(change.code for change in found)


def parse_codes(text: str, where: str) -> tuple[Change, ...]:
    """Changes from such a column.

    Args:
        text: codes joined by ";"; empty for no change.
        where: the beginning of error messages.

    Raises:
        InvalidInputError: a code is not valid.
    """
    found = []
    for code in text.split(";") if text else []:
        kind, colon, label = code.partition(":")
        try:
            if not colon:
                raise InvalidInputError(f"{code!r} is not a change; it must be KIND:LABEL")
            found.append(Change(kind=kind, label=label))
        except InvalidInputError as error:
            raise InvalidInputError(f"{where}: {error}") from error
    return tuple(found)
