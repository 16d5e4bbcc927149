"""The modifier text of a pair: what to change to get from its first soundscape to its second, in plain English.

Texts are made from templates with a few paraphrases of each kind of change, chosen by the name of the pair: the same
pair has the same text on every machine. The paraphrases are the commonest ones of 37,488 captions that people wrote for
pairs of the same construction (AudioDiffCaps: D. Takeuchi et al., DCASE 2023), in about their proportions: "add" and
"remove"; "make ... louder" and "quieter"; "increase", "reduce" and "amplify"; clauses joined by "and". Like those,
texts begin with a small letter and have no full stop.

These are the texts of style 2. ``bgknown.apwd.text_style_1`` has the older ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bgknown import seeding
from bgknown.apwd.changes import Change
from bgknown.apwd.scenes import Scenes, Words

UNCHANGED = "keep the same sounds"
"""The text of a pair without a change."""

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ADDED = ("add {}", "add {}", "add the sound of {}")
_REMOVED = ("remove {}", "remove {}", "remove the sound of {}")
_LOUDER = (
    "make {} louder",
    "make {} louder",
    "increase the volume of {}",
    "increase the volume of {}",
    "amplify the sound of {}",
)
_QUIETER = (
    "make {} quieter",
    "make {} quieter",
    "reduce the volume of {}",
    "reduce the sound of {}",
    "decrease the volume of {}",
)
_PHRASES: dict[str, tuple[str, ...]] = {
    "removed": _REMOVED,
    "louder": _LOUDER,
    "quieter": _QUIETER,
    "slightly_louder": ("make {} slightly louder", "increase the volume of {} slightly"),
    "slightly_quieter": ("make {} slightly quieter", "reduce the volume of {} slightly"),
    "replaced": ("change the sound of {}", "change the sound of {}", "change {}"),
    "earlier": ("make {} start earlier",),
    "later": ("make {} start later", "delay the sound of {}"),
    "added": _ADDED,
}
"""What to do with a class, by the kind without its role, in the order in which one class is spoken of."""
_OVERALL: dict[str, tuple[str, ...]] = {
    "louder": ("make everything louder", "increase the overall volume"),
    "quieter": ("make everything quieter", "decrease the overall volume"),
    "slightly_louder": ("make everything slightly louder", "increase the overall volume slightly"),
    "slightly_quieter": ("make everything slightly quieter", "decrease the overall volume slightly"),
}
_SOUND = "sound of {}"


def describe_changes(found: Sequence[Change], pair: str, scenes: Scenes, *, heard: Iterable[str] = ()) -> str:
    """The text of a pair.

    Args:
        found: the pair's changes, in any order.
        pair: the pair's name, which chooses the words and the order.
        scenes: the words for classes.
        heard: the labels of s1, backgrounds included, if its level as a whole has changed; then the text says of
            all of them at once that they become louder or quieter, if they do.

    Returns:
        An imperative without a full stop, such as "add the barking dog and reduce the volume of the rain".
    """
    if not found:
        return UNCHANGED
    overall = _find_overall(found, set(heard))
    clauses = [_OVERALL[overall][_draw(pair, overall) % len(_OVERALL[overall])]] if overall else []
    groups = _group([change for change in set(found) if _get_deed(change) != overall])
    for group in sorted(groups, key=lambda group: _draw(pair, "order", *(change.code for change in group))):
        labels = {change.label for change in group}
        if len(labels) == len(group) and not any(change.part for change in group):
            clauses.append(_write_clause(group, pair, scenes))
        else:
            clauses += _write_parts(group, pair, scenes.words_of(labels.pop()))
    return _join(clauses)


def _draw(pair: str, *names: str) -> int:
    return seeding.derive_key(0, "text 2", pair, *names)


def _join(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _get_deed(change: Change) -> str:
    """The kind without its role."""
    return change.kind.partition("_")[2]


def _find_overall(found: Iterable[Change], heard: set[str]) -> str:
    """What happens to the level of every class that s1 has; empty where that differs, or there is one class."""
    for deed in _OVERALL:
        whole = {change.label for change in found if _get_deed(change) == deed and _is_whole(change)}
        if len(heard) > 1 and whole == heard:
            return deed
    return ""


def _is_whole(change: Change) -> bool:
    return not change.part or change.part[0] == change.part[1]


def _group(changes: Sequence[Change]) -> list[list[Change]]:
    """Changes that one clause can name, and those of a class of which only a part changes; sorted."""
    several = {change.label for change in changes if change.part}
    groups: dict[str, list[Change]] = {}
    for change in sorted(changes):
        key = f"class {change.label}" if change.label in several else _get_deed(change)
        groups.setdefault(key, []).append(change)
    return list(groups.values())


def _write_clause(group: Sequence[Change], pair: str, scenes: Scenes) -> str:
    """One clause for what happens to one class or several: "remove the dog and the footsteps"."""
    deed = _get_deed(group[0])
    phrase = _PHRASES[deed][_draw(pair, *(change.code for change in group)) % len(_PHRASES[deed])]
    names = []
    for change in sorted(group, key=lambda change: _draw(pair, "order", change.code)):
        known = _list_names(scenes.words_of(change.label), phrase, may_count=deed == "added")
        names.append(known[_draw(pair, "name", change.label) % len(known)])
    return phrase.format(_join(names))


def _list_names(words: Words, phrase: str, *, may_count: bool) -> list[str]:
    """Ways to name a class as a whole: "the dog"; where one is added, also "a dog", a third as often."""
    if phrase.endswith(_SOUND):
        return [f"the {sound}" for sound in words.sounds]
    definite = [f"the {name}" for name in words.names]
    if may_count and words.one in words.names:
        return definite * 2 + [f"{choose_article(name)} {name}" for name in words.names]
    return definite


def _write_parts(changes: Iterable[Change], pair: str, words: Words) -> list[str]:
    """The clauses of a class of which a part changes; those after the first speak of its other events."""
    clauses = []
    used = 0
    for change in sorted(changes, key=lambda change: list(_PHRASES).index(_get_deed(change))):
        deed = _get_deed(change)
        phrases = [phrase for phrase in _PHRASES[deed] if not phrase.endswith(_SOUND)]
        if deed == "added":
            target = _count_added(change.part[0], change.part[1], words)
        else:
            count, of = change.part or (1, 1)
            target = _count_part(count, of, used, words)
            used += count
        clauses.append(phrases[_draw(pair, change.code) % len(phrases)].format(target))
    return clauses


def _count_added(count: int, before: int, words: Words) -> str:
    """Events to add: "two dogs", "another dog", "two more dogs"."""
    if before == 0:
        return f"{_spell(count)} {words.several if count > 1 else words.one}"
    return f"another {words.one}" if count == 1 else f"{_spell(count)} more {words.several}"


def _count_part(count: int, of: int, used: int, words: Words) -> str:
    """Some events of a class: "both dogs", "one of the two dogs", "the other dog"."""
    rest = of - used
    if used:
        if count < rest:
            return f"{_spell(count)} of the other {_spell(rest)} {words.several}"
        return f"the other {words.one}" if rest == 1 else f"the other {_spell(rest)} {words.several}"
    if count < of:
        return f"{_spell(count)} of the {_spell(of)} {words.several}"
    if of <= 1:
        return f"the {words.one}"
    return f"both {words.several}" if of == 2 else f"all {_spell(of)} {words.several}"


def choose_article(noun: str) -> str:
    """ "a" or "an", by the first letter, with the exceptions that names of sounds have.

    >>> choose_article("dog"), choose_article("owl"), choose_article("hourglass"), choose_article("ukulele")
    ('a', 'an', 'an', 'a')
    """
    if noun.lower().startswith(("uni", "use", "uk", "eu", "one ", "ut")):
        return "a"
    return "an" if noun[:1].lower() in "aeiou" or noun.lower().startswith(("hour", "honest", "heir")) else "a"


def _spell(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)
