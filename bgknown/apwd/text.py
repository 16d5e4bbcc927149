"""The modifier text of a pair: what to change to get from its first soundscape to its second, in plain English.

Texts are made from templates with a few paraphrases of each kind of change, chosen by the name of the pair: the same
pair has the same text on every machine. ``read_back`` understands the texts of ``describe_changes`` and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bgknown import seeding
from bgknown.apwd.changes import KINDS, Change
from bgknown.apwd.scenes import Scenes
from bgknown.errors import InvalidInputError

TEMPLATES = 1
"""Number of this set of templates; another number gives other texts."""
UNCHANGED = "keep everything as it is"
"""The text of a pair without a change."""

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


def describe_changes(found: Sequence[Change], pair: str, scenes: Scenes) -> str:
    """The text of a pair.

    Args:
        found: the pair's changes, in any order.
        pair: the pair's name, which chooses the words and the order.
        scenes: the nouns for classes.

    Returns:
        An imperative without a full stop, such as "add the barking dog, and turn down the rain".
    """
    if not found:
        return UNCHANGED
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


def read_back(
    text: str, scenes: Scenes, *, events: Iterable[str] = (), backgrounds: Iterable[str] = ()
) -> tuple[Change, ...]:
    """The changes that a text of ``describe_changes`` describes.

    Args:
        text: the text.
        scenes: the nouns for classes; its labels are known.
        events: further event classes that the text may name.
        backgrounds: further background labels.

    Returns:
        The changes, sorted.

    Raises:
        InvalidInputError: a part of the text is not from ``describe_changes``, or two classes have the same noun.
    """
    if text == UNCHANGED:
        return ()
    backdrop = {scene.background for scene in scenes.scenes.values()} | set(backgrounds)
    clauses = _list_clauses(scenes, {*scenes.esc50, *events} - backdrop, backdrop)
    found: list[Change] = []
    rest = text
    while True:
        clause = max((clause for clause in clauses if rest.startswith(clause)), key=len, default=None)
        if clause is None:
            raise InvalidInputError(f"text {text!r}: {rest!r} is not a known description of a change")
        found.append(clauses[clause])
        rest = rest[len(clause) :]
        if not rest:
            return tuple(sorted(found))
        joint = next((joint for joint in (*_JOINTS, _BETWEEN) if rest.startswith(joint)), None)
        if joint is None:
            raise InvalidInputError(f"text {text!r}: {rest!r} is not followed by another change")
        rest = rest[len(joint) :]


def _list_clauses(scenes: Scenes, events: Iterable[str], backgrounds: Iterable[str]) -> dict[str, Change]:
    """Every possible clause, and the change that it describes.

    Raises:
        InvalidInputError: two classes have the same noun.
    """
    clauses: dict[str, Change] = {}
    for role, labels in (("event", sorted(events)), ("background", sorted(backgrounds))):
        for label in labels:
            for kind in (kind for kind in KINDS if kind.startswith(role)):
                for clause in {phrase.format(noun) for phrase in _PHRASES[kind] for noun in scenes.nouns_of(label)}:
                    known = clauses.setdefault(clause, Change(kind=kind, label=label))
                    if known.label != label:
                        raise InvalidInputError(
                            f"the classes {known.label!r} and {label!r} have the same noun ({clause!r}); "
                            "give them different nouns in the file of scenes"
                        )
    return clauses
