import hashlib
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgknown.apwd.changes import KINDS, OTHER_KINDS, Change, parse_codes
from bgknown.apwd.scenes import Words, read_published_scenes
from bgknown.apwd.text import UNCHANGED, choose_article, describe_changes
from bgknown.apwd.text_style_1 import describe_in_style_1
from tests.bgknown.apwd.reading import read_text

SCENES = read_published_scenes()
EVENTS = [*SCENES.esc50, "chainsaw", "clock_tick", "owl", "sea_waves"]
BACKGROUNDS = ["rain", "car_passing", "stream"]
LABELS = EVENTS + BACKGROUNDS
SCENES = replace(
    SCENES,
    words={**SCENES.words, "owl": Words(names=("owl",), sounds=("owl hooting",), one="owl", several="owls")},
)


def say(change: Change) -> tuple:
    """What a text must say of a change, as ``read_text`` gives it."""
    count, before = change.part or (None, None)
    deed = change.kind.partition("_")[2]
    return deed, change.label, count, None if deed == "added" and before else before


@st.composite
def event_changes(draw, label):
    """Changes of one class that can occur together."""
    before = draw(st.integers(1, 4))
    if draw(st.booleans()):
        kind = draw(st.sampled_from([kind for kind in KINDS + OTHER_KINDS if kind.startswith("event")]))
        count = draw(st.integers(1, 3))
        if kind == "event_added":
            return [Change(kind=kind, label=label, part=draw(st.sampled_from([(), (2, 0), (count, before)])))]
        part = () if before == 1 else (draw(st.integers(1, before)), before)
        return [Change(kind=kind, label=label, part=part)]
    counts = {}
    for kind in draw(st.permutations(["removed", "louder", "quieter", "slightly_louder", "slightly_quieter"])):
        if (rest := before - sum(counts.values())) and (count := draw(st.integers(0, rest))):
            counts[kind] = count
    if counts.get("removed", 0) == before:
        counts = {"removed": before}
    return [
        Change(kind=f"event_{kind}", label=label, part=() if before == 1 else (count, before))
        for kind, count in counts.items()
    ]


@st.composite
def change_sets(draw):
    found = []
    for label in draw(st.lists(st.sampled_from(LABELS), unique=True, max_size=4)):
        if label in BACKGROUNDS:
            kinds = [kind for kind in KINDS + OTHER_KINDS if kind.startswith("background")]
            found.append(Change(kind=draw(st.sampled_from(kinds)), label=label))
        else:
            found += draw(event_changes(label))
    return tuple(sorted(found))


def check_grammar(text):
    words = text.split()
    assert text == " ".join(words)
    assert text[0].islower()
    assert text[-1].isalpha()
    assert re.fullmatch("[a-z ,]+", text)
    assert not any(word == after for word, after in pairwise(words)), text
    for article, after in pairwise(words):
        if article in {"a", "an"}:
            assert (article == "an") == (after[0] in "aeiou"), text
        assert not (article in {"a", "an", "the", "another", "both", "all"} and after in {"a", "an", "the", "and"}), (
            text
        )
        if article in {"two", "three", "four", "both", "more"} and after != "of":
            assert re.search(r"s\b", text[text.index(f"{article} {after}") :]), text
    for never in ("walking person", "let the", "mix in", "put in", "sound sound", "sound of the sound", "sounds sound"):
        assert never not in text


@given(found=change_sets(), pair=st.text(max_size=12))
def test_a_text_says_the_changes_and_nothing_else(found, pair):
    text = describe_changes(found, pair, SCENES)
    check_grammar(text)
    assert (read_text(text, SCENES, LABELS) if found else Counter()) == Counter(say(change) for change in found)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("kind", [*KINDS, *OTHER_KINDS])
def test_every_phrase_of_every_class(kind, label):
    if kind.startswith("background") != (label in BACKGROUNDS):
        return
    change = Change(kind=kind, label=label)
    texts = {describe_changes((change,), f"pair{number}", SCENES) for number in range(60)}
    for text in texts:
        check_grammar(text)
        assert read_text(text, SCENES, LABELS) == Counter([say(change)])
    assert len(texts) >= (1 if kind.endswith("earlier") else 2)


@pytest.mark.parametrize(
    ("codes", "texts"),
    [
        ("event_removed:dog:1/2", {"remove one of the two dogs"}),
        ("event_removed:dog:2/2", {"remove both dogs"}),
        ("event_removed:dog:3/3", {"remove all three dogs"}),
        ("event_added:dog:1/1", {"add another dog"}),
        ("event_added:dog:2/1", {"add two more dogs"}),
        ("event_added:dog:2/0", {"add two dogs"}),
        ("event_replaced:dog:1/2", {"change one of the two dogs"}),
        ("event_earlier:dog", {"make the dog start earlier", "make the barking dog start earlier"}),
        ("event_removed:thunder:1/2", {"remove one of the two claps of thunder"}),
        ("event_removed:chainsaw:1/2", {"remove one of the two chainsaw sounds"}),
        ("event_removed:dog:1/2;event_slightly_louder:dog:1/2", {"remove one of the two dogs and make the other dog"}),
        ("background_removed:rain;background_added:sea", {"remove the rain and add the sea", "add the sea and remove"}),
    ],
)
def test_texts_of_parts_and_other_changes(codes, texts):
    said = {describe_changes(parse_codes(codes, "x"), f"p{number}", SCENES) for number in range(60)}
    for text in texts:
        assert any(one.startswith(text) for one in said)
    if len(texts) == 1:
        assert all(one.startswith((next(iter(texts)), "remove one of the two dogs and increase")) for one in said)


def test_levels_swapped_between_two_of_a_class():
    found = parse_codes("event_louder:dog:1/2;event_quieter:dog:1/2", "x")
    texts = {describe_changes(found, f"p{number}", SCENES) for number in range(60)}
    assert "make one of the two dogs louder and make the other dog quieter" in texts
    assert all(re.search("one of the two dogs.* and .*the other dog", text) for text in texts)


@pytest.mark.parametrize(
    ("codes", "heard", "expected"),
    [
        (
            "background_louder:rain;event_louder:dog",
            "rain dog",
            {"make everything louder", "increase the overall volume"},
        ),
        (
            "background_slightly_quieter:rain;event_slightly_quieter:dog",
            "rain dog",
            {"make everything slightly quieter", "decrease the overall volume slightly"},
        ),
    ],
)
def test_what_happens_to_everything_is_said_at_once(codes, heard, expected):
    found = parse_codes(codes, "x")
    assert {describe_changes(found, f"p{n}", SCENES, heard=heard.split()) for n in range(30)} == expected
    more = (*found, Change(kind="event_added", label="birds"))
    texts = {describe_changes(more, f"p{n}", SCENES, heard=heard.split()) for n in range(30)}
    assert all(text.split(" and ")[0] in expected and text.split(" and ")[1].startswith("add ") for text in texts)
    for heard_too in ([*heard.split(), "birds"], ()):  # something else stays as it is, or nothing is known
        texts = {describe_changes(found, f"p{n}", SCENES, heard=heard_too) for n in range(30)}
        assert not any("everything" in text or "overall" in text for text in texts)


def test_one_class_alone_is_not_everything():
    text = describe_changes(parse_codes("background_louder:rain", "x"), "p", SCENES, heard=["rain"])
    assert "rain" in text


def test_the_pair_chooses_the_words_and_nothing_else_does():
    found = (Change(kind="event_added", label="dog"), Change(kind="event_removed", label="birds"))
    assert describe_changes(found, "p", SCENES) == describe_changes(found[::-1], "p", SCENES)
    assert len({describe_changes(found, f"p{number}", SCENES) for number in range(80)}) > 20
    # a text is part of a published set: other words are another set, and need another style
    assert describe_changes((), "p", SCENES) == UNCHANGED
    assert hash_texts(lambda changes, pair: describe_changes(changes, pair, read_published_scenes())) == STYLE_2


def test_style_1_has_the_words_of_the_first_version():
    assert hash_texts(lambda changes, pair: describe_in_style_1(changes, pair, SCENES)) == STYLE_1


STYLE_1 = "09320ad49b952eb68a94125a5e4d20a3748b32036312ef13b504223ca2994ca8"  # of version 0.1.0
STYLE_2 = "9a3bd71422c7565949b9c848cb71c3fa22e0bbb113735243ac075d98846d6994"


def hash_texts(describe) -> str:
    labels = [*list(read_published_scenes().esc50), "rain", "car_passing", "clock_tick"]
    texts = []
    for number in range(400):
        changes = {
            Change(kind=KINDS[(number * (place + 1) + place) % 6], label=labels[(number + 2 * place) % 9])
            for place in range(number % 4)
        }
        texts.append(describe(tuple(sorted(changes)), f"apwd_rain_sc_dev_{number:05d}"))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


@pytest.mark.parametrize(
    ("noun", "article"),
    [("dog", "a"), ("owl", "an"), ("engine", "an"), ("hour bell", "an"), ("ukulele", "a"), ("unicycle", "a")],
)
def test_articles(noun, article):
    assert choose_article(noun) == article
