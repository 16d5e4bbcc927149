"""The texts of style 1, those of version 0.1.0: kept so that sets that were built with them can be built again.

They describe the changes of ``find_changes_in_style_1`` and are not to be changed; ``bgknown.apwd.text`` has the
current style.
"""

from __future__ import annotations

from collections.abc import Sequence

from bgknown import seeding
from bgknown.apwd.changes import Change
from bgknown.apwd.scenes import Scenes

_UNCHANGED = "keep everything as it is"

_LOUDER = (
    "make the {} louder",
    "turn up the {}",
    "increase the volume of the {}",
    "raise the level of the {}",
    "amplify the sound of the {}",
)
_QUIETER = (
    "make the {} quieter",
    "turn down the {}",
    "reduce the volume of the {}",
    "lower the level of the {}",
    "soften the sound of the {}",
)
_PHRASES: dict[str, tuple[str, ...]] = {
    "event_added": (
        "add the {}",
        "add the sound of the {}",
        "mix in the {}",
        "put in the sound of the {}",
        "let the {} be heard too",
    ),
    "event_removed": (
        "remove the {}",
        "remove the sound of the {}",
        "take out the {}",
        "delete the sound of the {}",
        "leave out the {}",
    ),
    "event_louder": _LOUDER,
    "event_quieter": _QUIETER,
    "background_louder": _LOUDER,
    "background_quieter": _QUIETER,
}
_JOINTS = (", and ", " and ", ", then ")
_BETWEEN = ", "  # with three or more changes: commas, and a joint before the last


def describe_in_style_1(found: Sequence[Change], pair: str, scenes: Scenes) -> str:
    """The text of a pair in style 1.

    Args:
        found: the pair's changes, in any order.
        pair: the pair's name, which chooses the words and the order.
        scenes: the nouns for classes.

    Returns:
        An imperative without a full stop, such as "add the barking dog, and turn down the rain".
    """
    if not found:
        return _UNCHANGED
    ordered = sorted(set(found), key=lambda change: seeding.derive_key(0, "text", pair, "order", change.code))
    clauses = [_write_clause(change, pair, scenes) for change in ordered]
    if len(clauses) == 1:
        return clauses[0]
    joint = _JOINTS[seeding.derive_key(0, "text", pair, "joint") % len(_JOINTS)]
    return f"{_BETWEEN.join(clauses[:-1])}{joint}{clauses[-1]}"


def _write_clause(change: Change, pair: str, scenes: Scenes) -> str:
    phrases, nouns = _PHRASES[change.kind], scenes.nouns_of(change.label)
    chosen = seeding.derive_key(0, "text", pair, change.code)
    return phrases[chosen % len(phrases)].format(nouns[chosen // len(phrases) % len(nouns)])
