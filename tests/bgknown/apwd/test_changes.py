import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgknown.apwd.changes import KINDS, LOUDER_DB, Change, find_changes, format_codes, list_classes, parse_codes
from bgknown.errors import InvalidInputError
from bgknown.soundscape import Layer, Soundscape


def scape(*events: tuple[str, float], background: str = "rain", onset: float = 0.0, take: int = 0) -> Soundscape:
    layers = tuple(
        Layer(
            label=label,
            file=f"dev/foreground/{label}/{take}.wav",
            source_time_s=0.0,
            duration_s=3.0,
            event_time_s=onset,
            snr_db=snr_db,
        )
        for label, snr_db in events
    )
    back = Layer(label=background, file="dev/background/x/1.wav", source_time_s=onset, duration_s=10.0)
    return Soundscape(name="x", duration_s=10.0, ref_db=-36.0, backgrounds=(back,), events=layers)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([], [("dog", 8.0)], "event_added:dog"),
        ([("dog", 8.0)], [], "event_removed:dog"),
        ([("dog", 8.0)], [("dog", 18.0)], "event_louder:dog"),
        ([("dog", 8.0)], [("dog", -2.0)], "event_quieter:dog"),
        ([], [("rain", 8.0)], "background_louder:rain"),
        ([("rain", 8.0)], [], "background_quieter:rain"),
        ([("rain", 8.0)], [("rain", 18.0)], "background_louder:rain"),
        ([("rain", 18.0)], [("rain", 8.0)], "background_quieter:rain"),
        ([("dog", 8.0)], [("dog", 8.0), ("dog", 9.0)], "event_added:dog"),
        ([("dog", 8.0), ("dog", 9.0)], [("dog", 30.0)], "event_removed:dog"),
        ([("dog", 8.0)], [("birds", 8.0)], "event_added:birds;event_removed:dog"),
        ([("dog", 8.0), ("birds", 9.0)], [("birds", 9.0), ("dog", 8.0)], ""),
        ([("dog", 8.0)], [("dog", 10.9)], ""),
        ([("dog", 8.1)], [("dog", 8.1 + LOUDER_DB)], "event_louder:dog"),
        ([("dog", 8.1)], [("dog", 8.1 - LOUDER_DB)], "event_quieter:dog"),
        ([], [], ""),
    ],
)
def test_each_kind_of_change(first, second, expected):
    assert format_codes(find_changes(scape(*first), scape(*second, onset=4.0, take=7))) == expected


def test_a_background_of_one_side_counts_for_both():
    assert format_codes(find_changes(scape(("sea", 8.0)), scape(background="sea"))) == "background_quieter:sea"


OPPOSITE = {
    "event_added": "event_removed",
    "event_louder": "event_quieter",
    "background_louder": "background_quieter",
}
OPPOSITE |= {after: before for before, after in OPPOSITE.items()}
events = st.lists(st.tuples(st.sampled_from(["dog", "birds", "rain"]), st.floats(-10, 30)), max_size=4)


@given(first=events, second=events)
def test_the_way_back_is_the_opposite(first, second):
    there = find_changes(scape(*first), scape(*second))
    back = find_changes(scape(*second), scape(*first))
    assert sorted((OPPOSITE[change.kind], change.label) for change in there) == [
        (change.kind, change.label) for change in back
    ]
    assert not find_changes(scape(*first), scape(*first, onset=2.0, take=3))


def test_classes_leave_out_the_background():
    assert list_classes(scape(("dog", 1.0), ("rain", 2.0), ("birds", 3.0), ("dog", 4.0))) == ("birds", "dog")
    assert list_classes(scape()) == ()


labels = st.text(st.characters(exclude_characters=";:"), min_size=1, max_size=8)


@given(st.lists(st.builds(Change, kind=st.sampled_from(KINDS), label=labels), max_size=4).map(tuple))
def test_codes_are_read_back(found):
    assert parse_codes(format_codes(found), "row 1") == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("event_added", "row 3: 'event_added' is not a change; it must be KIND:LABEL"),
        ("event_added:", "row 3: change: the label is ''"),
        ("event_moved:dog", "row 3: change: the kind is 'event_moved'; it must be one of event_added"),
        ("event_added:dog;", "row 3: '' is not a change"),
        ("event_added:dog:cat", "row 3: change: the label is 'dog:cat'"),
    ],
)
def test_codes_that_are_none(text, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_codes(text, "row 3")


def test_a_label_that_would_break_a_code_is_refused():
    with pytest.raises(InvalidInputError, match="the label is 'a;b'; it must be a word without"):
        find_changes(scape(), scape(("a;b", 1.0)))
