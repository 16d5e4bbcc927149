from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgknown.apwd.changes import KINDS, Change
from bgknown.apwd.scenes import Scene, read_published_scenes
from bgknown.apwd.text import UNCHANGED, describe_changes, read_back
from bgknown.errors import InvalidInputError

SCENES = read_published_scenes()
EVENTS = [*SCENES.esc50, "chainsaw", "clock_tick", "crackling_fire", "crying_baby", "sea_waves"]
BACKGROUNDS = ["rain", "car_passing", "stream"]


@st.composite
def change_sets(draw):
    found = []
    for label in draw(st.lists(st.sampled_from(EVENTS + BACKGROUNDS), unique=True, max_size=4)):
        role = "background" if label in BACKGROUNDS else "event"
        kind = draw(st.sampled_from([kind for kind in KINDS if kind.startswith(role)]))
        found.append(Change(kind=kind, label=label))
    return tuple(sorted(found))


@given(found=change_sets(), pair=st.text(max_size=12))
def test_every_text_is_read_back_to_the_same_changes(found, pair):
    text = describe_changes(found, pair, SCENES)
    assert read_back(text, SCENES, events=EVENTS, backgrounds=BACKGROUNDS) == found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_paraphrases_that_are_read_back(kind):
    label = "rain" if kind.startswith("background") else "dog"
    change = Change(kind=kind, label=label)
    texts = {describe_changes((change,), f"pair{number}", SCENES) for number in range(300)}
    assert len(texts) == 10  # five phrases, two nouns
    assert all(read_back(text, SCENES) == (change,) for text in texts)


def test_the_pair_chooses_the_words_and_nothing_else_does():
    found = (Change(kind="event_added", label="dog"), Change(kind="event_removed", label="birds"))
    assert describe_changes(found, "p", SCENES) == describe_changes(found[::-1], "p", SCENES)
    assert len({describe_changes(found, f"p{number}", SCENES) for number in range(50)}) > 20
    # a text is part of a published set: another wording is another set, and needs another number of TEMPLATES
    assert describe_changes(found, "apwd_rain_sc_dev_00000", SCENES) == "leave out the chirping birds, then add the dog"
    assert describe_changes((), "p", SCENES) == UNCHANGED
    assert read_back(UNCHANGED, SCENES) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sing a song", "'sing a song' is not a known description of a change"),
        ("add the dog, and sing", "'sing' is not a known description of a change"),
        ("add the dog please", "' please' is not followed by another change"),
        ("add the chainsaw", "'add the chainsaw' is not a known description of a change"),
        ("add the dog, and ", "'' is not a known description of a change"),
        ("", "'' is not a known description of a change"),
    ],
)
def test_other_texts_are_not_understood(text, message):
    with pytest.raises(InvalidInputError, match=message):
        read_back(text, SCENES)


def test_classes_that_are_called_the_same_are_refused():
    clashing = replace(SCENES, nouns={**SCENES.nouns, "footsteps": ("dog",)})
    with pytest.raises(InvalidInputError, match="'dog' and 'footsteps' have the same noun"):
        read_back("add the dog", clashing)


def test_a_scene_of_ones_own_is_read_back():
    scene = Scene(name="sea", background="waves", fsd50k=("Ocean",), events=("gull",))
    own = replace(SCENES, scenes={"sea": scene}, esc50={"gull": "crow"}, nouns={})
    found = (Change(kind="background_louder", label="waves"), Change(kind="event_louder", label="gull"))
    assert all(read_back(describe_changes(found, f"p{number}", own), own) == found for number in range(50))
