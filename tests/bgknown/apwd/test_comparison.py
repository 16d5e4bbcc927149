import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown.apwd.changes import LOUDER_DB, format_codes, list_others, list_published
from bgknown.apwd.comparison import AUDIBLE_DB, MOVED_S, find_changes, find_changes_in_style_1
from bgknown.errors import InvalidInputError
from tests.bgknown.apwd.scapes import scape

PUBLISHED = [
    ([], [("dog", 8.0)], "event_added:dog"),
    ([("dog", 8.0)], [], "event_removed:dog"),
    ([("dog", 8.0)], [("dog", 18.0)], "event_louder:dog"),
    ([("dog", 8.0)], [("dog", -2.0)], "event_quieter:dog"),
    ([], [("rain", 8.0)], "background_louder:rain"),
    ([("rain", 8.0)], [], "background_quieter:rain"),
    ([("dog", 8.0)], [("birds", 8.0)], "event_added:birds;event_removed:dog"),
    ([("dog", 8.1)], [("dog", 8.1 + LOUDER_DB)], "event_louder:dog"),
    ([("dog", 8.1)], [("dog", 8.1 - LOUDER_DB)], "event_quieter:dog"),
    ([("dog", 8.0), ("rain", 9.0)], [("birds", 9.0)], "background_quieter:rain;event_added:birds;event_removed:dog"),
    ([], [], ""),
]


@pytest.mark.parametrize(("first", "second", "expected"), PUBLISHED)
def test_each_kind_of_the_published_pairs(first, second, expected):
    before, after = scape(*first), scape(*second, onset=4.0, take="7")
    found = find_changes(before, after)
    assert format_codes(found) == expected
    assert not list_others(found)
    assert find_changes_in_style_1(before, after) == found


D8, D9, D18 = ("dog", 8.0, "a", 1.0), ("dog", 9.0, "b", 3.0), ("dog", 18.0, "b", 3.0)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # the number of a class's events
        ([D8, D9], [D8], "event_removed:dog:1/2"),
        ([D8, D9], [("dog", 8.4, "c", 6.0)], "event_removed:dog:1/2"),
        ([D8], [D8, D9], "event_added:dog:1/1"),
        ([], [D8, D9], "event_added:dog:2/0"),
        ([D8, D9], [], "event_removed:dog"),
        ([D8, D9, ("dog", 1.0, "c", 5.0)], [D9], "event_removed:dog:2/3"),
        # levels
        ([D8, D18], [("dog", 18.0, "a", 1.0), ("dog", 8.0, "b", 3.0)], "event_louder:dog:1/2;event_quieter:dog:1/2"),
        ([D8, D9], [("dog", 8.0, "a", 1.0), D18], "event_louder:dog:1/2"),
        ([D8, D9], [("dog", 18.0, "a", 1.0), D18], "event_louder:dog"),
        ([D8, D9], [("dog", 30.0, "c", 1.0)], "event_louder:dog:1/2;event_removed:dog:1/2"),
        ([D8], [("dog", -2.0, "a", 1.0), D9], "event_added:dog:1/1;event_quieter:dog"),
        ([("dog", 8.0)], [("dog", 10.9)], "event_slightly_louder:dog"),
        ([("dog", 8.0)], [("dog", 8.0 - AUDIBLE_DB)], "event_slightly_quieter:dog"),
        ([("dog", 8.0, "a", 1.0)], [("dog", 8.9, "a", 1.0)], ""),
        # clips and onsets, where nothing else changes
        ([D8], [("dog", 8.0, "c", 1.0)], "event_replaced:dog"),
        ([D8, D9], [D9, ("dog", 8.0, "c", 1.0)], "event_replaced:dog:1/2"),
        ([D8], [("dog", 8.0, "a", 1.0 + MOVED_S)], "event_later:dog"),
        ([D8], [("dog", 8.0, "a", 0.0)], "event_earlier:dog"),
        ([D8], [("dog", 8.0, "a", 1.4)], ""),
        ([D8, ("birds", 9.0, "x", 2.0)], [("birds", 9.0, "x", 2.0), D8], ""),
    ],
)
def test_events_outside_the_published_shapes(first, second, expected):
    assert format_codes(find_changes(scape(*first), scape(*second))) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (scape(recordings="AB"), scape(recordings="A"), "background_quieter:rain"),
        (scape(recordings="A"), scape(recordings="AB"), "background_louder:rain"),
        (scape(recordings="AB"), scape(recordings="AC"), "background_replaced:rain"),
        (scape(recordings="AB"), scape(recordings="C"), "background_quieter:rain;background_replaced:rain"),
        (scape(recordings="AB"), scape(recordings="BA", onset=4.0), ""),
        (scape(), scape(background="sea"), "background_added:sea;background_removed:rain"),
        (scape(), scape(recordings=()), "background_removed:rain"),
        (scape(recordings=()), scape(), "background_added:rain"),
        (scape(), scape(ref_db=-30.0), "background_louder:rain"),
        (scape(ref_db=-30.0), scape(ref_db=-32.0), "background_slightly_quieter:rain"),
        (scape(D8), scape(D8, ref_db=-42.0), "background_quieter:rain;event_quieter:dog"),
        (scape(D8), scape(("dog", 2.0, "a", 1.0), ref_db=-30.0), "background_louder:rain"),  # the dog stays as loud
        (scape(D8), scape(ref_db=-30.0), "background_louder:rain;event_removed:dog"),
        (scape(("rain", 18.0, "2")), scape(("rain", 8.0, "2")), "background_quieter:rain"),
        (scape(("rain", 8.0, "2")), scape(("rain", 8.0, "3")), "background_replaced:rain"),
        (scape(("rain", 8.0, "1")), scape(("rain", 9.5, "1")), "background_slightly_louder:rain"),
        (scape(("sea", 8.0, "1")), scape(background="sea"), "background_quieter:sea;background_removed:rain"),
    ],
)
def test_backgrounds_outside_the_published_shapes(first, second, expected):
    assert format_codes(find_changes(first, second)) == expected


def test_several_changes_at_once():
    first = scape(D8, D9, ("birds", 4.0), ("thunder", 2.0), recordings="AB")
    second = scape(
        ("dog", 14.0, "a", 1.0), ("church_bells", 5.0), ("thunder", 2.0, "0-3", 7.0), recordings="BC", onset=2.0
    )
    found = find_changes(first, second)
    assert format_codes(list_published(found)) == "event_added:church_bells;event_removed:birds"
    assert format_codes(list_others(found)) == (
        "background_replaced:rain;event_later:thunder;event_louder:dog:1/2;event_removed:dog:1/2"
    )


OPPOSITE = {"added": "removed", "louder": "quieter", "slightly_louder": "slightly_quieter", "earlier": "later"}
OPPOSITE |= {after: before for before, after in OPPOSITE.items()} | {"replaced": "replaced"}
levels = st.integers(-10, 30).map(float)
events = st.lists(
    st.tuples(
        st.sampled_from(["dog", "birds", "rain"]), levels, st.sampled_from("abcdef"), st.integers(0, 7).map(float)
    ),
    max_size=4,
    unique_by=lambda event: event[:3],
)
scapes = st.builds(
    lambda events, recordings, ref_db: scape(*events, recordings=recordings, ref_db=ref_db),
    events,
    st.sets(st.sampled_from("xyz"), max_size=2).map(sorted),
    st.sampled_from([-36.0, -36.5, -34.0, -30.0]),
)


@settings(max_examples=300)
@given(first=scapes, second=scapes)
def test_the_way_back_is_the_opposite(first, second):
    def name(kind, turned):
        role, _, deed = kind.partition("_")
        return f"{role}_{OPPOSITE[deed] if turned else deed}"

    there, back = (
        Counter((name(change.kind, turned), change.label) for change in found)
        for turned, found in ((True, find_changes(first, second)), (False, find_changes(second, first)))
    )
    assert there == back
    assert not find_changes(first, first)


def describe(soundscape, backgrounds) -> dict[str, list[float]]:
    """The levels of every event class, sorted."""
    found: dict[str, list[float]] = {}
    for layer in soundscape.events:
        if layer.label not in backgrounds:
            found.setdefault(layer.label, []).append(soundscape.ref_db + layer.snr_db)
    return {label: sorted(levels) for label, levels in found.items()}


def add_up(soundscape, label) -> float:
    """The power of all layers of a label."""
    levels = [soundscape.ref_db + layer.snr_db for layer in soundscape.events if layer.label == label]
    levels += [soundscape.ref_db for layer in soundscape.backgrounds if layer.label == label]
    return sum(10 ** (level / 10) for level in levels)


def apply(changes, before: dict[str, list[float]]) -> dict[str, list[str | float]]:
    """What a description becomes by changes: known levels, and "up" or "down" for those that a code changes."""
    after: dict[str, list] = {label: list(levels) for label, levels in before.items()}
    for change in changes:
        role, _, deed = change.kind.partition("_")
        if role == "background":  # of these, see ``add_up``
            continue
        levels = after.setdefault(change.label, [])
        if deed == "added":
            levels.append("any")
        elif deed == "removed":
            del after[change.label]
        else:
            after[change.label] = [(deed, level) for level in levels]
    return after


def fits(said, levels) -> bool:
    """Whether levels are what was said of them."""
    if len(said) != len(levels):
        return False
    if any(isinstance(one, tuple) for one in said):
        sign = 1 if said[0][0] == "louder" else -1
        return all(sign * (after - one[1]) > 0 for one, after in zip(said, levels, strict=True))
    return all(one == "any" or abs(one - after) < AUDIBLE_DB for one, after in zip(said, levels, strict=True))


@settings(max_examples=500)
@given(first=scapes, second=scapes)
def test_the_published_codes_lead_from_s1_to_s2_or_something_else_is_named(first, second):
    backgrounds = {layer.label for side in (first, second) for layer in side.backgrounds}
    found = find_changes(first, second)
    said, target = apply(list_published(found), describe(first, backgrounds)), describe(second, backgrounds)
    named = {change.label for change in list_others(found)}
    for label in backgrounds - named:
        deed = next((change.kind.partition("_")[2] for change in found if change.label == label), "")
        ratio = add_up(second, label) / add_up(first, label)
        assert {"louder": ratio > 1, "quieter": ratio < 1}.get(deed, abs(10 * math.log10(ratio)) < AUDIBLE_DB)
    for label in {*said, *target} - named:
        assert (label in said) == (label in target), label
        assert fits(said.get(label, []), target.get(label, [])), label


@settings(max_examples=300)
@given(first=scapes, second=scapes)
def test_numbers_of_events_follow_from_all_codes(first, second):
    found = find_changes(first, second)
    for label in ("dog", "birds"):
        before, after = (sum(event.label == label for event in side.events) for side in (first, second))
        for change in (change for change in found if change.label == label):
            count, of = change.part or (1, 0 if change.kind == "event_added" else 1)
            assert of == before
            before_now = {"event_added": count, "event_removed": -count}.get(change.kind, 0)
            after -= before_now
        assert after == before


def test_a_label_that_would_break_a_code_is_refused():
    for compare in (find_changes, find_changes_in_style_1):
        with pytest.raises(InvalidInputError, match="the label is 'a;b'; it must be a word without"):
            compare(scape(), scape(("a;b", 1.0)))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([("dog", 8.0)], [("dog", 8.0), ("dog", 9.0)], "event_added:dog"),
        ([("dog", 8.0), ("dog", 9.0)], [("dog", 30.0)], "event_removed:dog"),
        ([("rain", 8.0)], [("rain", 18.0)], "background_louder:rain"),
        ([("dog", 8.0)], [("dog", 10.9)], ""),
    ],
)
def test_style_1_keeps_its_rule(first, second, expected):
    assert format_codes(find_changes_in_style_1(scape(*first), scape(*second, onset=4.0))) == expected
    assert find_changes_in_style_1(scape(recordings="AB", ref_db=-30.0), scape(recordings="C")) == ()
