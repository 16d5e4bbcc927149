"""A reader of texts of style 2 that knows none of the templates: verbs and words, by regular expressions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from bgknown.apwd.scenes import Scenes

NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
COUNT = "|".join(NUMBERS[1:])
VERBS = (
    (r"add(?: the sound of)? (?P<what>.+)", "added"),
    (r"remove(?: the sound of)? (?P<what>.+)", "removed"),
    (r"make (?P<what>.+) start (?P<deed>earlier|later)", ""),
    (r"delay the sound of (?P<what>.+)", "later"),
    (r"make (?P<what>.+?)(?P<slightly> slightly)? (?P<deed>louder|quieter)", ""),
    (r"increase the (?:volume|sound) of (?P<what>.+?)(?P<slightly> slightly)?", "louder"),
    (r"(?:reduce|decrease) the (?:volume|sound) of (?P<what>.+?)(?P<slightly> slightly)?", "quieter"),
    (r"amplify the sound of (?P<what>.+)", "louder"),
    (r"change(?: the sound of)? (?P<what>.+)", "replaced"),
)
OVERALL = (
    (r"make everything(?P<slightly> slightly)? (?P<deed>louder|quieter)", ""),
    (r"increase the overall volume(?P<slightly> slightly)?", "louder"),
    (r"decrease the overall volume(?P<slightly> slightly)?", "quieter"),
)


def read_text(text: str, scenes: Scenes, labels: Iterable[str]) -> Counter:
    """What a text says, as a set of (deed, label or "everything", number of events, number of events before).

    The numbers are None where the text speaks of a class as a whole; the number before is None for "another", "more".
    """
    found: Counter = Counter()
    used: dict[str, int] = {}
    pieces = re.split("( and |, )", text)
    while pieces:
        for length in range(len(pieces), 0, -2):  # the longest clause that can be read: it may name several classes
            said = read_clause("".join(pieces[:length]), scenes, labels, used)
            if said:
                break
        else:
            raise AssertionError(f"{pieces[0]!r} in {text!r} says nothing")
        found.update(said)
        pieces = pieces[length + 1 :]
    return found


def read_clause(clause: str, scenes: Scenes, labels: Iterable[str], used: dict[str, int]) -> list[tuple]:
    for patterns in (OVERALL, VERBS):
        for pattern, named in patterns:
            match = re.fullmatch(pattern, clause)
            if match is None:
                continue
            groups = match.groupdict()
            deed = ("slightly_" if groups.get("slightly") else "") + (named or groups["deed"])
            if patterns is OVERALL:
                return [(deed, "everything", None, None)]
            now = dict(used)
            targets = [read_target(what, scenes, labels, now) for what in re.split(" and |, ", groups["what"])]
            if all(targets):
                used.update(now)
                return [(deed, *target) for target in targets if target]
    return []


def read_target(what: str, scenes: Scenes, labels: Iterable[str], used: dict[str, int]) -> tuple | None:
    """The label that some words speak of, how many events of it, and of how many."""
    for label in labels:
        words = scenes.words_of(label)
        known = {f"the {name}" for name in (*words.names, *words.sounds)}
        known |= {f"{article} {name}" for name in words.names for article in ("a", "an") if words.one in words.names}
        if what in known:
            return label, None, None
        for pattern, read in TARGETS.items():
            match = re.fullmatch(pattern.format(one=re.escape(words.one), several=re.escape(words.several)), what)
            if match:
                count, of, other = read(*(NUMBERS.index(text) for text in match.groups()))
                return (label, count, of) if other is None else _use(label, count, of, used, other=other)
    return None


TARGETS = {
    "another {one}": lambda: (1, None, None),
    f"({COUNT}) more {{several}}": lambda count: (count, None, None),
    f"({COUNT}) {{several}}": lambda count: (count, 0, None),
    "both {several}": lambda: (2, 2, None),
    f"all ({COUNT}) {{several}}": lambda count: (count, count, None),
    f"({COUNT}) of the ({COUNT}) {{several}}": lambda count, of: (count, of, False),
    f"({COUNT}) of the other ({COUNT}) {{several}}": lambda count, rest: (count, rest, True),
    "the other {one}": lambda: (1, 1, True),
    f"the other ({COUNT}) {{several}}": lambda count: (count, count, True),
}
"""Ways to speak of a number of events: how many, of how many, and whether that is of those that are left."""


def _use(label: str, count: int, rest: int, used: dict[str, int], *, other: bool) -> tuple:
    before = rest + (used.get(label, 0) if other else 0)
    assert other == (label in used), "others are spoken of after some, and only then"
    used[label] = used.get(label, 0) + count
    return label, count, before
