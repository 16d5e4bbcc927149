import pytest

from bgknown.apwd.changes import format_codes
from bgknown.apwd.comparison import find_changes
from bgknown.apwd.pairs import find_pairs, read_pair
from bgknown.apwd.scenes import read_published_scenes
from bgknown.errors import InvalidInputError, NotFoundError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_pairs_are_found_at_any_depth_and_sorted(tmp_path):
    touch(tmp_path, "b/jams/x_2_s2.jams", "b/jams/x_2_s1.jams", "a/x_1_s1.jams", "a/x_1_s2.jams", "a/notes.txt")
    touch(tmp_path, ".unfinished/x_3_s1.jams")
    found = find_pairs(tmp_path)
    assert [(pair.pair, pair.s1, pair.s2) for pair in found] == [
        ("x_1", "a/x_1_s1.jams", "a/x_1_s2.jams"),
        ("x_2", "b/jams/x_2_s1.jams", "b/jams/x_2_s2.jams"),
    ]


def test_where_only_first_ones_are_published_pairs_have_one_side(tmp_path):
    touch(tmp_path, "adc/x_1_s1.jams", "adc/x_2_s1.jams", "apwd/y_1_s1.jams", "apwd/y_1_s2.jams")
    assert [pair.s2 for pair in find_pairs(tmp_path)] == [None, None, "apwd/y_1_s2.jams"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x_s3.jams"], "x_s3.jams: the JAMS of a pair must be named NAME_s1.jams and NAME_s2.jams"),
        (["_s1.jams"], "must be named NAME_s1.jams"),
        (["a/x_s1.jams", "b/x_s1.jams"], "two files belong to the pair x: a/x_s1.jams and b/x_s1.jams"),
        (["x_s2.jams"], "the pair x lacks its s1 JAMS"),
        (["x_s1.jams", "y_s1.jams", "y_s2.jams"], "the pair x lacks its s2 JAMS"),
    ],
)
def test_files_that_do_not_form_pairs_are_refused(names, message, tmp_path):
    with pytest.raises(InvalidInputError, match=message):
        find_pairs(touch(tmp_path, *names))


def test_an_empty_and_a_missing_folder(tmp_path):
    with pytest.raises(NotFoundError, match="no JAMS files"):
        find_pairs(tmp_path)
    with pytest.raises(NotFoundError, match="no such folder"):
        find_pairs(tmp_path / "none")


def contents(pairs, name):
    return {side: pairs.jams_of(name, side).read_bytes() for side in ("s1", "s2")}


def files_of(pairs, name):
    return next(found for found in find_pairs(pairs.jams) if found.pair.endswith(name))


def test_split_and_scene_come_from_the_sources(pairs):
    pair = read_pair(files_of(pairs, "eval_added"), contents(pairs, "eval_added"), read_published_scenes())
    assert (pair.split, pair.scene) == ("eval", "rain")


def edit_split(tree):
    for item in tree["annotations"][0]["data"]:
        item["value"]["source_file"] = item["value"]["source_file"].replace("/dev/", "/eval/")


def edit_backgrounds(tree):
    for item in tree["annotations"][0]["data"][:2]:
        item["value"] |= {"role": "foreground", "source_file": "source/dev/foreground/rain/1.wav"}


def edit_folder(tree):
    tree["annotations"][0]["data"][0]["value"]["source_file"] = "source/test/background/rain/1.wav"


def edit_duration(tree):
    tree["annotations"][0]["sandbox"]["scaper"]["original_duration"] = 2.0


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_split, "takes sources of both dev and eval"),
        (edit_backgrounds, "rain_dev_added: has no background; at least one side must have one"),
        (edit_folder, "is not in source/dev or source/eval"),
        (edit_duration, "s1 and s2 last 1 s and 2 s"),
    ],
)
def test_sides_that_do_not_belong_together(edit, message, pairs):
    pairs.change("dev_added", edit)
    if edit is edit_backgrounds:
        pairs.change("dev_added", edit, "s2")
    with pytest.raises(InvalidInputError, match=message):
        read_pair(files_of(pairs, "dev_added"), contents(pairs, "dev_added"), read_published_scenes())


def test_another_background_is_a_change_and_s1_has_the_scene(pairs):
    def edit(tree):
        for item in tree["annotations"][0]["data"][:2]:
            item["value"] |= {"label": "car_passing", "source_file": "source/dev/background/car_passing/1.wav"}

    pairs.change("dev_added", edit, "s2")
    pair = read_pair(files_of(pairs, "dev_added"), contents(pairs, "dev_added"), read_published_scenes())
    assert pair.scene == "rain"
    codes = format_codes(find_changes(pair.soundscapes["s1"], pair.soundscapes["s2"]))
    assert codes == "background_added:car_passing;background_removed:rain;event_added:dog"
