"""No leak between the corpora: sources of clips, identical audio, the clip's class; and licences of backgrounds."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown.cli import main
from bgknown.corpora.credits import Credit
from bgknown.errors import BrokenInputError, InvalidInputError, StorageError
from bgknown.mixtures import pool as pools
from bgknown.mixtures.assignment import assign
from bgknown.mixtures.dataset import open_dataset
from bgknown.mixtures.draw import draw_recipe
from bgknown.mixtures.leaks import find_leak_faults
from bgknown.mixtures.making import build_dataset
from bgknown.mixtures.pool import PoolRules, list_crossing_sources
from bgknown.mixtures.recipe import CLIP_FRAMES
from bgknown.mixtures.rules import check_recipe
from bgknown.mixtures.verify import verify
from tests.bgknown.mixtures.test_draw import DrawOptions, corpora, draw, hear_all, join
from tests.conftest import make_tiny, noise, write_wav

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
@settings(max_examples=25, deadline=None)
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
    assert "same source: 777" in pools.describe_crossing_sources(["777"])


def in_a_class(number):
    return "Rain,Water" if number % 3 == 0 else "Wind"


def rainy(**changes):
    pair = label(corpora(**changes), in_a_class)
    return replace(pair[0], table=pair[0].table.assign(category="rain")), pair[1]


@given(seed=st.integers(0, 50), draws=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
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


# On disk.


@pytest.fixture(scope="module")
def leaking(tmp_path_factory):
    """Corpora in which the first recording of dev is the source of a test clip, and its second is in eval too."""
    tiny = make_tiny(tmp_path_factory.mktemp("leaking"))
    table = tiny.esc50 / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace(",400,", ",7000,"))
    (tiny.esc50 / "audio" / "4-400-A-0.wav").rename(tiny.esc50 / "audio" / "4-7000-A-0.wav")
    table.write_text(table.read_text().replace("4-400-A-0", "4-7000-A-0"))
    shutil.copy(tiny.recording("dev", 7001), tiny.recording("eval", 8001))
    write_wav(tiny.recording("dev", 7004), noise(11.0, 3))
    rows = (tiny.fsd50k / "FSD50K.ground_truth" / "dev.csv").read_text().replace('7003,"Rain,Water"', '7003,"Bell"')
    (tiny.fsd50k / "FSD50K.ground_truth" / "dev.csv").write_text(rows)
    (tiny.fsd50k / "FSD50K.metadata").mkdir()
    for part, first in (("dev", 7000), ("eval", 8000)):
        entries = {
            str(first + k): {
                "title": f"=title {k}",
                "license": "http://creativecommons.org/licenses/by/3.0/",
                "uploader": "ann",
            }
            for k in range(4)
        }
        (tiny.fsd50k / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json").write_text(json.dumps(entries))
    (tiny.esc50 / "LICENSE").write_text(
        "- [1-100-A.ogg]: clip derived from a bell (http://www.freesound.org/people/bo/sounds/100/) by bo [CC-BY-NC]\n"
    )
    return tiny


@pytest.fixture(scope="module")
def dataset(leaking, tmp_path_factory):
    out = tmp_path_factory.mktemp("dataset") / "out"
    leaking.build(out)
    return out


@pytest.fixture
def copy(dataset, tmp_path):
    """A copy of the dataset and a function that changes its description."""
    shutil.copytree(dataset, tmp_path / "copy")

    def change(**changes):
        path = tmp_path / "copy" / "dataset.json"
        description = json.loads(path.read_text())
        for name, value in changes.items():
            (description["configuration"] if name == "keep_sources" else description)[name] = value
        path.write_text(json.dumps(description))
        return open_dataset(tmp_path / "copy")

    return change


def test_what_was_left_out_is_counted_and_verified(dataset):
    data, faults = verify(dataset, jobs=1)
    assert faults == []
    used = set(data.table["fsd50k_file"])
    assert "FSD50K.dev_audio/7000.wav" not in used
    assert "FSD50K.dev_audio/7001.wav" not in used
    assert data.description["configuration"]["keep_sources"] is False
    counts = data.description["backgrounds"]["train"]
    assert counts == {
        **{"long_enough": 5, "licence": 0, "sources_of_clips": 1, "identical_audio": 1, "same_class": 0, "left": 3},
    }
    twin = {"left_out": "FSD50K.dev_audio/7001.wav", "same_as": "FSD50K.eval_audio/8001.wav"}
    assert data.description["identical_audio"] == [twin]


def test_labels_licences_and_makers_are_in_the_manifest(dataset):
    data = open_dataset(dataset)
    row = data.table.loc["1-100-A-0"]
    assert (row["group"], row["esc50_licence"], row["esc50_uploader"], row["esc50_title"]) == (
        *("100", "CC-BY-NC-3.0", "bo", "a bell"),
    )
    assert data.table["esc50_licence"].tolist().count("") == 9
    known = data.table[~data.table["fsd50k_file"].str.contains("7004|8004")]
    assert set(known["fsd50k_licence"]) == {"CC-BY-3.0"}
    assert set(known["fsd50k_title"].str.slice(0, 7)) == {"=title "}
    assert "'=title" in (dataset / "manifest.csv").read_text()  # what looks like a formula
    assert set(data.table["fsd50k_labels"]) <= {"Rain,Water", "Bell"}
    bells = data.table[data.table["category"] == "bell"]
    assert (bells["same_class"] == (bells["fsd50k_labels"] == "Bell")).all()
    assert data.table[data.table["category"] == "drum"]["same_class"].isna().all()
    assert data.description["counts"]["same_class"] == int((bells["same_class"] == 1).sum())
    example = next(data.examples())
    assert example["fsd50k_labels"] == row["fsd50k_labels"]
    assert example["group"] == "100"
    assert example["same_class"] in {0, 1}
    assert {example["same_class"] for example in data.examples() if example["category"] == "drum"} == {None}


def test_every_source_has_a_row_of_attribution(dataset):
    data = open_dataset(dataset)
    table = pd.read_csv(dataset / "ATTRIBUTION.csv", dtype=str, keep_default_na=False)
    assert list(table.columns) == ["corpus", "file", "source", "title", "uploader", "licence", "licence_url", "url"]
    assert set(table["file"]) == {*data.table["esc50_file"], *data.table["fsd50k_file"]}
    assert not table["file"].duplicated().any()
    row = table.set_index("file").loc["audio/1-100-A-0.wav"]
    assert row.tolist() == [
        *("ESC-50", "100", "a bell", "bo", "CC-BY-NC-3.0"),
        *("https://creativecommons.org/licenses/by-nc/3.0/", "https://freesound.org/s/100/"),
    ]


def test_a_background_that_a_clip_was_cut_from_is_a_fault_or_a_warning(copy, caplog):
    data = copy()
    path = data.root / "ATTRIBUTION.csv"
    used = data.table["fsd50k_file"].iloc[0]
    number = used.split("/")[1].removesuffix(".wav")
    text = path.read_text().replace(f"FSD50K,{used},{number}", f"FSD50K,{used},501")
    path.write_text(text)
    faults = list(find_leak_faults(copy()))
    assert faults
    assert all("the clip 5-501-A-1 was cut from its background" in fault for fault in faults)
    assert list(find_leak_faults(copy(keep_sources=True))) == []
    assert "rows have a background that another clip was cut from" in caplog.text
    own = text.replace(f"FSD50K,{used},501", f"FSD50K,{used},100")
    path.write_text(own)
    if data.table["fsd50k_file"].loc["1-100-A-0"] == used:
        assert any("shares the clip's Freesound id 100" in fault for fault in find_leak_faults(copy(keep_sources=True)))


def test_every_other_rule_about_sources_is_verified(copy):
    data = copy()
    one, two = (data.table[data.table["split"] == split]["fsd50k_file"].iloc[0] for split in ("train", "test"))
    assert any(
        "are the same audio" in fault
        for fault in find_leak_faults(copy(identical_audio=[{"left_out": one, "same_as": two}]))
    )
    data = copy(identical_audio=[], draw={"exclude_same_class": True, "licences": ["cc0"]})
    faults = list(find_leak_faults(data))
    same = int((data.table["same_class"] == 1).sum())
    assert sum("which the draw excludes" in fault for fault in faults) == same
    assert sum("its background's licence is" in fault for fault in faults) == len(data)
    counts = {**data.description["counts"], "same_class": 9}
    assert any("counts.same_class is 9" in fault for fault in find_leak_faults(copy(counts=counts)))
    path = data.root / "ATTRIBUTION.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert any("is missing" in fault for fault in find_leak_faults(copy()))
    path.write_text("".join(lines).replace("CC-BY-NC-3.0", "CC0-1.0"))
    assert any(
        "has the licence 'CC0-1.0', the manifest says 'CC-BY-NC-3.0'" in fault for fault in find_leak_faults(copy())
    )
    path.unlink()
    assert any("ATTRIBUTION.csv: no such file" in fault for fault in find_leak_faults(copy()))


def test_a_dataset_of_the_old_rule_is_what_keep_sources_asks_for(leaking, tmp_path):
    out = tmp_path / "out"
    leaking.build(out, keep_sources=True)
    path = out / "dataset.json"
    description = json.loads(path.read_text())
    del description["configuration"]["keep_sources"]  # as earlier versions wrote it
    path.write_text(json.dumps(description))
    assert leaking.build(out, keep_sources=True).was_finished
    with pytest.raises(StorageError, match="configuration.keep_sources is true in the folder but false was requested"):
        leaking.build(out)
    assert verify(out, jobs=1)[1] == []


def test_the_command_line_reports_and_refuses(leaking, tmp_path):
    def call(*arguments, status=0):
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert done.exit_code == status, done.output
        return done.output

    plan = ["plan", *leaking.arguments(), "--jobs", 1, "--out", tmp_path / "recipe.csv"]
    told = call(*plan)
    assert "train backgrounds: 3 of 5 recordings; without 1 from which clips were cut, 1 with the same audio" in told
    assert "rows have the clip's class in their background (not known for 5)" in told
    assert "FSD50K.dev_audio/7000" in call(*plan, "--keep-sources") + (tmp_path / "recipe.csv").read_text()
    build = ["build", *leaking.arguments(), "--jobs", 1, "--recipe", tmp_path / "recipe.csv", "--out", tmp_path / "out"]
    assert "was cut from the background 'FSD50K.dev_audio/7000.wav'; --keep-sources" in call(*build, status=1)
    assert "--exclude-same-class set up a draw" in call(*build, "--exclude-same-class", status=2)
    assert not (tmp_path / "out").exists()
    assert "no licence 'cc'" in call(*plan, "--licence", "cc", status=1)
    assert "its recordings have: CC-BY-3.0 (4), unknown (1)" in call(*plan, "--licence", "cc0", status=1)
    told = call(*plan, "--licence", "cc-by", "--exclude-same-class")
    assert "without 1 with another licence" in told
    assert "not for clips of a class that they contain" in told
    assert "\n0 rows have the clip's class" in told


def test_the_same_from_python(leaking, tmp_path):
    data = build_dataset(
        tmp_path / "out",
        esc50=leaking.esc50,
        fsd50k=leaking.fsd50k,
        licences=["cc-by"],
        exclude_same_class=True,
        cache=leaking.root / "cache",
        engine="direct",
        limit=3,
        jobs=1,
    )
    assert data.description["draw"]["licences"] == ["cc-by"]
    assert data.description["draw"]["exclude_same_class"] is True
    assert set(data.table["fsd50k_licence"]) == {"CC-BY-3.0"}
    assert not np.any(data.table["same_class"].fillna(0) == 1)
    assert verify(data.root, jobs=1)[1] == []
