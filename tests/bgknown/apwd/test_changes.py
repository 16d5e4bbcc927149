import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgknown.apwd.changes import (
    KINDS,
    OTHER_KINDS,
    Change,
    format_codes,
    list_classes,
    list_others,
    list_published,
    parse_codes,
)
from bgknown.errors import InvalidInputError
from tests.bgknown.apwd.scapes import scape


def test_classes_leave_out_the_background():
    assert list_classes(scape(("dog", 1.0), ("rain", 2.0), ("birds", 3.0), ("dog", 4.0))) == ("birds", "dog")
    assert list_classes(scape()) == ()


labels = st.text(st.characters(exclude_characters=";:"), min_size=1, max_size=8)
parts = st.tuples(st.integers(1, 9), st.integers(0, 9))


@st.composite
def any_change(draw):
    kind = draw(st.sampled_from([*KINDS, *OTHER_KINDS]))
    part = draw(st.just(()) | parts) if kind.startswith("event") else ()
    if part and kind != "event_added":
        part = (min(part), max(part)) if min(part) else ()
    return Change(kind=kind, label=draw(labels), part=part)


@given(st.lists(any_change(), max_size=4).map(tuple))
def test_codes_are_read_back(found):
    read = parse_codes(format_codes(found), "row 1")
    assert [(change.kind, change.label) for change in read] == [(change.kind, change.label) for change in found]
    assert all(after.part == before.part for after, before in zip(read, found, strict=True) if not before.is_published)
    assert format_codes(read) == format_codes(found)
    assert sorted([*list_published(found), *list_others(found)]) == sorted(found)
    assert all(change.kind in KINDS and ":" not in change.code.partition(":")[2] for change in list_published(found))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (Change(kind="event_removed", label="dog"), "event_removed:dog"),
        (Change(kind="event_removed", label="dog", part=(2, 2)), "event_removed:dog"),  # all of them
        (Change(kind="event_removed", label="dog", part=(1, 2)), "event_removed:dog:1/2"),
        (Change(kind="event_added", label="dog", part=(2, 2)), "event_added:dog:2/2"),
        (Change(kind="event_added", label="dog", part=(2, 0)), "event_added:dog:2/0"),
        (Change(kind="background_replaced", label="rain"), "background_replaced:rain"),
    ],
)
def test_the_code_of_a_part(change, code):
    assert change.code == code
    assert change.is_published == (code == "event_removed:dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("event_added", "row 3: 'event_added' is not a change; it must be KIND:LABEL"),
        ("event_added:", "row 3: change: the label is ''"),
        ("event_moved:dog", "row 3: change: the kind is 'event_moved'; it must be one of event_added"),
        ("event_added:dog;", "row 3: '' is not a change"),
        ("event_added:dog:cat", "row 3: change: the label is 'dog:cat'"),
        ("event_removed:dog:3/2", r"row 3: change: the part is \(3, 2\); it must be COUNT/OF"),
        ("event_removed:dog:0/2", r"row 3: change: the part is \(0, 2\)"),
        ("background_louder:rain:1/2", r"row 3: change: the part is \(1, 2\)"),
        ("event_removed:dog:1/2/3", "row 3: change: the label is 'dog:1/2/3'"),
    ],
)
def test_codes_that_are_none(text, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_codes(text, "row 3")
