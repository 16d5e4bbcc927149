import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from benchmark.embedding.clips import Clip, read_clip
from benchmark.tasks.contract import TaskFacts, TaskOptions, check_folds, shuffle_labels
from benchmark.tasks.labelled import check_leaks, cut_views, make_folds, prepare, take_limit
from bgknown.errors import InvalidInputError

RATE_HZ = 8_000
FACTS = TaskFacts(
    name="tones",
    title="tones",
    metric="accuracy",
    classes=2,
    counts={"clips": 8},
    duration_s=1.0,
    lr=1e-3,
    licence="",
    citation="",
    url="",
    groups="singers",
)


def table(split=("train", "train", "train", "train", "valid", "valid", "test", "test"), **columns):
    names = [f"{i}.wav" for i in range(len(split))]
    given = {"file": names, "label": ["a", "b"] * (len(split) // 2), "split": list(split), "group": names}
    return pd.DataFrame({**given, **columns})


@pytest.fixture
def root(tmp_path):
    """Clips whose samples count up: of 0.5 s, 1 s, 1.5 s, 2 s and so on."""
    for i in range(8):
        frames = RATE_HZ // 2 * (i % 4 + 1)
        ramp = np.arange(frames, dtype=np.int16)
        soundfile.write(tmp_path / f"{i}.wav", ramp, RATE_HZ, subtype="PCM_16")
    return tmp_path


@pytest.fixture
def options(tmp_path):
    return TaskOptions(cache=tmp_path / "cache")


def starts(clips):
    return [int(read_clip(clip, RATE_HZ)[0][0] * 2**15) for clip in clips]


def test_training_clips_are_cut_at_a_place_of_their_own_and_others_at_the_start(root, options):
    data = prepare(FACTS, table(), root, options)
    assert data.training_rows is None  # every clip has one part, so one view
    found = starts(data.signals["audio"])
    assert found[:2] == [0, 0]  # not longer than 1 s
    assert 0 < found[2] <= RATE_HZ // 2
    assert 0 < found[3] <= RATE_HZ
    assert found[4:] == [0, 0, 0, 0]
    assert all(len(read_clip(clip, RATE_HZ)[0]) == RATE_HZ for clip in data.signals["audio"])


def test_a_place_depends_on_the_name_alone(root, options):
    whole = prepare(FACTS, table(), root, options).signals["audio"]
    part = prepare(FACTS, table().iloc[[6, 3, 2, 1, 0, 5, 4, 7]], root, options).signals["audio"]
    assert whole == part
    assert whole[2].place != whole[3].place


def test_in_folds_a_longer_clip_has_two_views(root, options):
    folds = table().drop(columns="split").assign(fold=list("11112222"))
    data = prepare(FACTS, folds, root, options)
    assert data.training_rows.tolist() == [0, 1, 8, 9, 4, 5, 10, 11]
    views = data.signals["audio"]
    assert len(views) == 12
    assert [clip.path.name for clip in views[8:]] == ["2.wav", "3.wav", "6.wav", "7.wav"]
    assert all(clip.place == 0 for clip in views[:8])
    assert all(0 < clip.place < 1 for clip in views[8:])
    assert data.view_labels().tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert data.trained_on(np.array([3, 4])).tolist() == [9, 4]


def test_without_a_validation_part_training_clips_have_a_view_for_it(root, options):
    none = table(("train",) * 6 + ("test",) * 2)
    data = prepare(FACTS, none, root, options)
    assert data.folds[0].valid is None
    assert data.training_rows.tolist() == [0, 1, 8, 9, 4, 5, 6, 7]
    assert len(data.signals["audio"]) == 10


def test_clips_of_their_own_length_are_not_cut(root, options):
    data = prepare(dataclasses.replace(FACTS, duration_s=None), table(), root, options)
    assert data.training_rows is None
    assert {clip.duration_s for clip in data.signals["audio"]} == {None}


def test_every_place_of_a_clip_can_be_drawn():
    drawn = table(("train",) * 2000).assign(frames=RATE_HZ + 3, rate_hz=RATE_HZ)
    views, _ = cut_views(
        drawn, [dataclasses.replace(make_folds(table())[0], train=np.arange(2000))], 1.0, root=Path("nowhere")
    )
    begun = np.bincount([int(view.place * 4) for view in views], minlength=4)
    assert begun.min() > 400  # four places of equal chance


def test_the_last_place_is_inside_the_clip(root):
    path = root / "3.wav"
    last = Clip(path=path, duration_s=1.0, place=1 - 2.0**-53)
    assert starts([last]) == [RATE_HZ]
    assert read_clip(last, RATE_HZ)[0][-1] * 2**15 == 2 * RATE_HZ - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": ["a", "b", "a", "", "a", "b", "a", "b"]}, "3.wav has no label"),
        ({"file": ["0.wav"] * 8}, "0.wav is listed twice"),
        ({"split": ["train"] * 7 + ["dev"]}, "the split of 7.wav is 'dev'; it must be one of train, valid, test"),
    ],
)
def test_a_table_that_breaks_a_rule_is_reported_in_one_line(root, options, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        prepare(FACTS, table(**changes), root, options)


def test_one_fold_is_refused(root, options):
    with pytest.raises(InvalidInputError, match="there is only one fold, 1; at least two are needed"):
        prepare(FACTS, table().drop(columns="split").assign(fold="1"), root, options)


def test_an_empty_table_is_refused(root, options):
    with pytest.raises(InvalidInputError, match="lists no clips"):
        prepare(FACTS, table().iloc[:0], root, options)
    gone = table(file=[f"gone {i}.wav" for i in range(8)])
    with pytest.raises(InvalidInputError, match="it has no usable clips"):
        prepare(FACTS, gone, root, dataclasses.replace(options, skip_broken=True))


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_class_that_is_not_trained_on_is_refused(root, options, part):
    """A class of one clip, or one that training has lost with a broken clip."""
    odd = table()
    odd.loc[odd["split"] == part, "label"] = ["a", "c"]
    where = {"valid": "validation", "test": "test"}[part]
    with pytest.raises(InvalidInputError, match=f"class c is in the {where} part but not in training"):
        check_folds(prepare(FACTS, odd, root, options))


def test_a_class_of_one_clip_is_refused_in_folds(root, options):
    odd = table(label=["a", "b", "a", "b", "a", "b", "a", "c"]).drop(columns="split").assign(fold=list("11112222"))
    with pytest.raises(InvalidInputError, match="fold 2: class c is in the test part but not in training"):
        check_folds(prepare(FACTS, odd, root, options))


def test_a_class_that_is_not_tested_is_fine(root, options):
    check_folds(prepare(FACTS, table(label=["a", "b", "c", "b", "a", "b", "a", "b"]), root, options))


def test_folds_are_in_their_own_order():
    many = pd.DataFrame({"fold": [str(fold) for fold in (10, 2, 1, 10, 3)]})
    assert [fold.name for fold in make_folds(many)] == ["1", "2", "3", "10"]


def test_leaks_are_reported_with_their_number_and_place():
    folds = make_folds(table())
    groups = np.array(["x", "y", "z", "z", "p", "q", "x", "p"], dtype=object)
    assert check_leaks(groups, folds, "singers") == "1 singers in training and test; 1 singers in validation and test"
    groups[6] = ""
    assert (
        check_leaks(groups, folds, "singers") == "1 singers in validation and test (singers of 1 clips are not known)"
    )
    groups[:] = ""
    assert check_leaks(groups, folds, "singers") == "not checked: singers are not known"
    assert check_leaks(np.array(list("abcdefgh"), dtype=object), folds, "singers") == "ok"


def test_a_limit_keeps_classes_whole_before_it_takes_more_of_them():
    rows = [(f"{label}{split}{i}", label, split) for label in "abcdef" for split in ("train", "test") for i in range(5)]
    listed = pd.DataFrame(rows, columns=["file", "label", "split"])
    taken = take_limit(listed, 6)
    assert taken.groupby("label")["split"].nunique().tolist() == [2, 2, 2]
    assert set(taken["file"]) < set(take_limit(listed, 13)["file"])
    assert take_limit(listed, None) is listed
    assert take_limit(listed, 60) is listed


def test_labels_are_shuffled_within_each_part():
    labels = pd.Series(list("aaabbbccc") * 4)
    parts = pd.Series(["1"] * 18 + ["2"] * 18)
    names = pd.Series([str(i) for i in range(36)])
    dealt = shuffle_labels(labels, parts, names)
    assert (dealt != labels).any()
    for part in ("1", "2"):
        assert sorted(dealt[parts == part]) == sorted(labels[parts == part])
    order = np.random.default_rng(0).permutation(36)
    again = shuffle_labels(labels.iloc[order], parts.iloc[order], names.iloc[order])
    assert sorted(again) == sorted(labels)


def test_the_fingerprint_identifies_what_is_measured(root, options):
    one = prepare(FACTS, table(), root, options)
    same = prepare(FACTS, table(), root, options)
    other = prepare(FACTS, table(label=["b", "a"] * 4), root, options)
    shorter = prepare(dataclasses.replace(FACTS, duration_s=0.5), table(), root, options)
    assert one.sha256 == same.sha256
    assert len({one.sha256, other.sha256, shorter.sha256}) == 3


def test_files_that_are_known_to_be_broken_are_left_out(root, options):
    asked = dataclasses.replace(options, skip_broken=True, broken={root / "3.wav": "cannot be decoded"})
    data = prepare(FACTS, table(), root, asked)
    assert data.skipped == 1
    assert "3.wav" not in set(data.table["file"])
    assert "3.wav (cannot be decoded)" in " ".join(data.notes)


def test_the_difference_from_the_published_size_is_reported(root, options):
    assert not prepare(FACTS, table(), root, options).notes
    larger = dataclasses.replace(FACTS, counts={"train": 5, "valid": 2, "test": 2})
    assert prepare(larger, table(), root, options).notes == ["the corpus is incomplete: 4 of 5 training clips"]
