"""No leak between the corpora: sources of clips, identical audio, the clip's class; and licences of backgrounds."""

from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown.corpora.credits import Credit
from bgknown.errors import BrokenInputError, InvalidInputError
from bgknown.mixtures import pool as pools
from bgknown.mixtures.assignment import assign
from bgknown.mixtures.draw import draw_recipe
from bgknown.mixtures.pool import PoolRules, list_crossing_sources
from bgknown.mixtures.recipe import CLIP_FRAMES
from bgknown.mixtures.rules import check_recipe
from tests.bgknown.mixtures.test_draw import DrawOptions, corpora, draw, hear_all, join

KEEP = PoolRules(clip_frames=CLIP_FRAMES, keep_sources=True)


def sources(recipe):
    return set(recipe["fsd50k_file"].str.extract(r"/r(\d+)\.wav")[0].astype(int))


def label(pair, labels):
    """The same corpora with these labels of their recordings, by number."""
    table = pair[1].table
    return pair[0], replace(
        pair[1], table=table.assign(labels=[labels(int(name[1:])) for name in table["recording_id"]])
    )


@given(seed=st.integers(0, 100), shared=st.sets(st.integers(0, 39), max_size=25), draws=st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_no_source_of_any_clip_is_a_background(seed, shared, draws):
    pair = corpora(shared=shared)
    found = draw(pair, seed=seed, draws=draws)
    assert not sources(found.recipe) & shared
    check_recipe(found.recipe, join(pair))
    in_dev = len([k for k in shared if k < 60])
    assert found.pools["train"].sources_of_clips == in_dev
    assert found.pools["train"].left == 60 - in_dev
    assert found.pools["test"].left == found.pools["test"].long_enough == 60


def test_the_rule_holds_across_splits():
    """Recording r60 is in eval; clip 0 of fold 1 was cut from it."""
    pair = corpora(evaluation=17)
    clips = pair[0].table.assign(source=pair[0].table["source"].where(pair[0].table["clip_id"] != "1-0-A-0", "r60"))
    leaking = (replace(pair[0], table=clips), pair[1])
    assert 60 in sources(draw(leaking, keep_sources=True).recipe)
    assert 60 not in sources(draw(leaking).recipe)


def test_sources_may_be_kept_and_the_own_one_is_never_used():
    shared = set(range(12))
    pair = corpora(dev=30, shared=shared)
    found = draw(pair, keep_sources=True)
    assert sources(found.recipe) & shared
    assert found.pools["train"].sources_of_clips == 0
    for row in found.recipe.to_dict("records"):
        number = int(row["clip_id"].split("-")[1])
        assert not (number in shared and row["fsd50k_file"].endswith(f"/r{number}.wav"))
    check_recipe(found.recipe, join(pair), KEEP)
    with pytest.raises(
        InvalidInputError, match=r"the clip .* was cut from the background .*; --keep-sources allows it"
    ):
        check_recipe(found.recipe, join(pair))


def test_without_sources_in_the_corpus_both_rules_draw_the_same():
    pair = corpora()
    assert draw(pair).recipe.equals(draw(pair, keep_sources=True).recipe)


def test_a_clip_does_not_depend_on_recordings_that_are_left_out():
    """A recording that becomes a source changes only the rows that had it, while there are enough others."""
    before = draw(corpora(dev=400, evaluation=400)).recipe.set_index("clip_id")["fsd50k_file"]
    after = draw(corpora(dev=400, evaluation=400, shared={5, 6})).recipe.set_index("clip_id")["fsd50k_file"]
    gone = before.isin(["FSD50K.dev_audio/r5.wav", "FSD50K.dev_audio/r6.wav"])
    assert (before[~gone] != after[~gone]).sum() <= gone.sum()


def test_too_few_recordings_are_explained():
    with pytest.raises(BrokenInputError, match=r"10 s or more, 2 from which clips were cut \(--keep-sources\)"):
        draw(corpora(dev=2, shared={0, 1}))


def twins_of(*pairs):
    """Compares as if these recordings were the same audio; remembers what it was asked."""

    def find(recordings, others):
        here, there = {row["file"] for row in recordings}, {row["file"] for row in others}
        find.asked.append((here, there))
        named = ((f"FSD50K.dev_audio/r{a}.wav", f"FSD50K.eval_audio/r{b}.wav") for a, b in pairs)
        return {a: b for a, b in named if a in here and b in there}

    find.asked = []
    return find


def test_identical_audio_stays_in_the_test_set_only():
    pair = corpora(dev=24, evaluation=60)
    find = twins_of((3, 70), (4, 71))
    found = draw_recipe(join(pair), DrawOptions(draws=2), hear_all, find)
    assert found.twins == {f"FSD50K.dev_audio/r{a}.wav": f"FSD50K.eval_audio/r{b}.wav" for a, b in ((3, 70), (4, 71))}
    assert not sources(found.recipe) & {3, 4}
    assert found.pools["train"].identical_audio == 2
    assert found.pools["train"].left == 22
    assert find.asked[0][0] <= {f"FSD50K.dev_audio/r{k}.wav" for k in range(24)}  # only what was drawn
    first = draw_recipe(join(pair), DrawOptions(draws=1), hear_all, twins_of((3, 70), (4, 71))).recipe
    both = found.recipe[found.recipe["draw"] == 0]
    assert both["fsd50k_file"].tolist() == first["fsd50k_file"].tolist()


def test_a_recipe_with_identical_audio_is_refused():
    pair = corpora(dev=24, evaluation=16)
    recipe = draw(pair).recipe
    check_recipe(recipe, join(pair), find_twins=twins_of())
    with pytest.raises(InvalidInputError, match=r"r3.wav' is the same audio as 'FSD50K.eval_audio/r30.wav'"):
        check_recipe(recipe, join(pair), find_twins=twins_of((3, 30)))


def test_sources_of_both_splits_are_named(caplog):
    pair = corpora()
    clips = pair[0].table.copy()
    clips.loc[clips["clip_id"].isin(["1-0-A-0", "4-3-A-0"]), "source"] = "777"
    clips.loc[clips["clip_id"].isin(["1-5-A-0", "2-1-A-0"]), "source"] = "888"
    assert list_crossing_sources(replace(pair[0], table=clips)) == ["777"]
    pools.warn_of_crossing_sources(replace(pair[0], table=clips))
    assert "ESC-50: clips of training and of testing were cut from the same source: 777;" in caplog.text


def in_a_class(number):
    return "Rain,Water" if number % 3 == 0 else "Wind"


def rainy(**changes):
    pair = label(corpora(**changes), in_a_class)
    return replace(pair[0], table=pair[0].table.assign(category="rain")), pair[1]


@given(seed=st.integers(0, 50), draws=st.integers(1, 3))
@settings(max_examples=5, deadline=None)
def test_no_background_contains_the_class(seed, draws):
    pair = rainy()
    found = draw(pair, seed=seed, draws=draws, exclude_same_class=True)
    assert all(number % 3 for number in sources(found.recipe))
    assert found.pools["train"].same_class == 20
    assert found.pools["train"].left == 60
    counts = Counter(found.recipe["fsd50k_file"])
    train = [counts[f"FSD50K.dev_audio/r{k}.wav"] for k in range(60) if k % 3]
    assert max(train) - min(train) <= 1


def test_a_class_without_backgrounds_is_explained():
    pair = rainy()
    wet = label(pair, lambda _: "Rain")
    with pytest.raises(InvalidInputError, match="every background that is left contains the class 'rain'"):
        draw(wet, exclude_same_class=True)
    assert len(draw(wet).recipe) == 40


def test_only_clips_of_that_class_avoid_it():
    pair = rainy()
    mixed = pair[0].table.assign(category=["rain", "dog"] * 20)
    recipe = draw((replace(pair[0], table=mixed), pair[1]), exclude_same_class=True).recipe
    wet = recipe["fsd50k_file"].str.extract(r"/r(\d+)\.wav")[0].astype(int) % 3 == 0
    assert not wet[recipe["category"] == "rain"].any()
    assert wet[recipe["category"] == "dog"].any()


@given(seed=st.integers(0, 200), size=st.integers(3, 12))
@settings(max_examples=60, deadline=None)
def test_forbidden_recordings_leave_uses_balanced(seed, size):
    clips = pd.DataFrame({"clip_id": [f"c{k}" for k in range(12)], "source": ""})
    pool = pd.DataFrame({"recording_id": [f"r{k}" for k in range(size)], "source": ""})
    never = {f"c{k}": frozenset({f"r{k % size}"}) for k in range(12)}
    chosen = assign(clips, pool, seed, never=never)
    assert all(name not in never[clip] for clip, name in chosen.items())
    uses = Counter(chosen.values())
    assert max(uses.values()) - min(uses.get(name, 0) for name in pool["recording_id"]) <= 1


LICENCES = ["CC0-1.0", "CC-BY-3.0", "CC-BY-NC-4.0", "CC-Sampling+-1.0", "CC0 or not", ""]


@pytest.fixture
def licensed(monkeypatch):
    def list_made(index):
        return {name: Credit(licence=LICENCES[int(name[1:]) % 6]) for name in index.table["recording_id"]}

    monkeypatch.setattr(pools, "list_credits", list_made)


def test_only_the_licences_that_were_asked_for_are_drawn(licensed):
    found = draw(corpora(), licences=("cc-by", "cc0"))
    assert {number % 6 for number in sources(found.recipe)} == {0, 1}
    assert (found.pools["train"].licence, found.pools["train"].left) == (40, 20)
    both = draw(corpora(shared={0, 1, 2}), licences=("cc-by",))
    assert (both.pools["train"].licence, both.pools["train"].sources_of_clips) == (50, 1)


def test_a_licence_that_no_recording_has_is_explained(licensed):
    told = r"no background of FSD50K has a licence of cc-by-sa \(--licence\); its recordings have: .*unknown \(10\)"
    with pytest.raises(InvalidInputError, match=told):
        draw(corpora(), licences=("cc-by-sa",))
    with pytest.raises(InvalidInputError, match=r"no licence 'mit'; .*there are: cc0"):
        DrawOptions(licences=("mit",))
