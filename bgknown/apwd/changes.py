"""What changes from the first soundscape of a pair to the second: the record of one change, and its code.

``bgknown.apwd.comparison`` finds the changes; this module says how they are written down. The published pairs have
six kinds of change, and their codes are ``KIND:LABEL``. What these cannot express has a code too, in a column of its
own: a kind of ``OTHER_KINDS``, or ``KIND:LABEL:COUNT/OF`` for a part of a class, such as ``event_removed:dog:1/2`` for
one of two dogs.

Source: D. Takeuchi et al., Introducing Auxiliary Text Query-modifier to Content-based Audio Retrieval, Interspeech
2022; the kinds as found in the published pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bgknown.errors import InvalidInputError

if TYPE_CHECKING:
    from bgknown.soundscape import Soundscape  # needs the audio libraries, which codes do without

KINDS = (
    "event_added",
    "event_removed",
    "event_louder",
    "event_quieter",
    "background_louder",
    "background_quieter",
)
"""The kinds of the published pairs."""
OTHER_KINDS = (
    "event_slightly_louder",
    "event_slightly_quieter",
    "event_replaced",
    "event_earlier",
    "event_later",
    "background_slightly_louder",
    "background_slightly_quieter",
    "background_replaced",
    "background_added",
    "background_removed",
)
"""Kinds that the published codes cannot express."""
LOUDER_DB = 3.0
"""Least change of level that makes an event or a background louder or quieter."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Change:
    """One thing to change."""

    kind: str
    """One of ``KINDS`` or ``OTHER_KINDS``."""
    label: str
    """The class it concerns."""
    part: tuple[int, ...] = ()
    """How many events of the class it concerns, and how many s1 has; empty where that is the only one, or the class
    is new and gets one."""

    def __post_init__(self) -> None:
        if self.kind not in (*KINDS, *OTHER_KINDS):
            raise InvalidInputError(f"change: the kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        if not self.label or any(character in self.label for character in ";:"):
            raise InvalidInputError(f"change: the label is {self.label!r}; it must be a word without ';' and ':'")
        if self.part and not self._is_part():
            raise InvalidInputError(f"change: the part is {self.part}; it must be COUNT/OF, and fit the kind")

    def _is_part(self) -> bool:
        """Whether the part is a number of events of a class."""
        if len(self.part) != 2 or not self.kind.startswith("event"):
            return False
        count, of = self.part
        return count >= 1 and of >= 0 and (self.kind == "event_added" or count <= of)

    @property
    def is_published(self) -> bool:
        """Whether the codes of the published pairs express it: one of the six kinds, of a class as a whole."""
        whole = not self.part or (self.kind != "event_added" and self.part[0] == self.part[1])
        return self.kind in KINDS and whole

    @property
    def code(self) -> str:
        """Kind and label as one word, with the part where the published codes have none."""
        plain = f"{self.kind}:{self.label}"
        return plain if self.is_published or not self.part else f"{plain}:{self.part[0]}/{self.part[1]}"


def list_published(found: Iterable[Change]) -> tuple[Change, ...]:
    """The changes that the published codes express."""
    return tuple(change for change in found if change.is_published)


def list_others(found: Iterable[Change]) -> tuple[Change, ...]:
    """The changes that the published codes cannot express."""
    return tuple(change for change in found if not change.is_published)


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
        kind, colon, rest = code.partition(":")
        label, part = _split_part(rest)
        try:
            if not colon:
                raise InvalidInputError(f"{code!r} is not a change; it must be KIND:LABEL")
            found.append(Change(kind=kind, label=label, part=part))
        except InvalidInputError as error:
            raise InvalidInputError(f"{where}: {error}") from error
    return tuple(found)


def _split_part(text: str) -> tuple[str, tuple[int, ...]]:
    """Label and part of LABEL:COUNT/OF; anything else is a label, which is checked as such."""
    label, _, part = text.rpartition(":")
    numbers = part.split("/")
    if label and len(numbers) == 2 and all(number.isascii() and number.isdecimal() for number in numbers):
        return label, (int(numbers[0]), int(numbers[1]))
    return text, ()
