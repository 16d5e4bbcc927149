import dataclasses

import pytest

from bgknown.apwd import scenes
from bgknown.apwd.sources.published_lists import SourceSpec, read_lists
from bgknown.apwd.sources.selection import Labels, choose
from bgknown.errors import InvalidInputError, NotFoundError
from tests.bgknown.apwd.made_sources import write_apwd, write_audiodiffcaps
from tests.conftest import write_table

NO_LABELS = Labels(backgrounds={}, events={})


def test_lists_of_apwd_give_labels_from_their_rows_and_eval_from_fold_5(tmp_path):
    lists = read_lists(write_apwd(tmp_path))
    assert lists.layout == "org_audio_csv"
    assert [(row.role, row.label, row.split, row.stem) for row in lists.sources] == [
        ("background", "rain", "dev", "7000"),
        ("background", "rain", "dev", "7001"),
        ("event", "bells", "dev", "1-100-A-0"),
        ("background", "rain", "eval", "8000"),
        ("event", "bells", "eval", "5-500-A-0"),
    ]
    assert [row.stem for row in lists.not_clean] == ["2-200-A-0"]


def test_lists_of_audiodiffcaps_give_active_parts(tmp_path):
    lists = read_lists(write_audiodiffcaps(tmp_path))
    assert lists.layout == "audio_csv"
    assert lists.sources == (
        SourceSpec(role="background", label="rain", split="dev", stem="7000"),
        SourceSpec(role="event", label="bells", split="dev", stem="1-100-A-0", active=(10, 5000)),
    )


@pytest.mark.parametrize(("write", "name"), [(write_apwd, "org_audio_csv"), (write_audiodiffcaps, "audio_csv")])
def test_folder_above_the_lists_works_too(tmp_path, write, name):
    assert read_lists(tmp_path if write(tmp_path / name) else None) == read_lists(tmp_path / name)


def test_two_sets_of_lists_in_one_folder_are_not_guessed_between(tmp_path):
    write_apwd(tmp_path / "org_audio_csv")
    write_audiodiffcaps(tmp_path / "audio_csv")
    with pytest.raises(InvalidInputError, match="several sets of lists .*org_audio_csv, .*audio_csv"):
        read_lists(tmp_path)


def test_a_folder_without_lists_is_refused(tmp_path):
    with pytest.raises(
        NotFoundError, match="does not hold published lists, which are background/fsd50k and event/esc50"
    ):
        read_lists(tmp_path)
    with pytest.raises(NotFoundError, match="no such folder"):
        read_lists(tmp_path / "nowhere")


def test_a_recording_in_both_splits_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="background 7000 is listed in both dev and eval"):
        read_lists(write_apwd(tmp_path / "a", rain_eval=("8000", "7000")))
    clips = [("1-100-A-0", "dev", 0, 9000), ("1-100-A-0", "eval", 0, 9000)]
    with pytest.raises(InvalidInputError, match="event 1-100-A-0 is listed in both dev and eval"):
        read_lists(write_audiodiffcaps(tmp_path / "b", clips=clips))


@pytest.mark.parametrize(
    ("bells", "message"),
    [
        ([("1-1-A-0", "maybe")], r"church_bell.csv, line 2: clean is 'maybe', must be TRUE or FALSE"),
        ([("1-1-A-0", "TRUE"), ("x-1-A-0", "TRUE")], "line 3: 'x-1-A-0' must begin with its fold"),
        ([("../1-1-A-0", "TRUE")], "must be a plain file name, without folders"),
    ],
)
def test_a_broken_list_of_events_is_refused_by_line(tmp_path, bells, message):
    with pytest.raises(InvalidInputError, match=message):
        read_lists(write_apwd(tmp_path, bells=bells))


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (("1-1-A-0", "test", 0, 9), "line 2: split is 'test', must be dev or eval"),
        (("1-1-A-0", "dev", 9, 9), "line 2: st 9 and ed 9 must be 0 <= st < ed"),
        (("1-1-A-0", "dev", -1, 9), "st -1 and ed 9"),
        (("1-1-A-0", "dev", 1.5, 9), "st is '1.5'; it must be a whole number"),
    ],
)
def test_a_broken_active_part_is_refused_by_line(tmp_path, clip, message):
    with pytest.raises(InvalidInputError, match=message):
        read_lists(write_audiodiffcaps(tmp_path, clips=[clip]))


def test_a_label_that_leaves_the_tree_is_refused(tmp_path):
    write_apwd(tmp_path)
    write_table(tmp_path / "event" / "esc50" / "x.csv", [{"fname": "1-1-A-0.wav", "label": "../x", "clean": "TRUE"}])
    with pytest.raises(InvalidInputError, match=r"x.csv, line 2: the label '../x' cannot be a folder name"):
        read_lists(tmp_path)
    with pytest.raises(InvalidInputError, match="the label 'a/b' cannot be the name of a folder"):
        Labels(backgrounds={"a/b": ("Rain",)}, events={})


def test_a_list_of_another_split_is_refused(tmp_path):
    write_table(tmp_path / "background" / "fsd50k" / "rain" / "train.csv", [{"fname": "1", "label": "rain"}])
    write_table(tmp_path / "event" / "esc50" / "x.csv", [{"fname": "1-1-A-0.wav", "label": "x", "clean": "TRUE"}])
    with pytest.raises(InvalidInputError, match=r"train.csv: a list of backgrounds is called dev or eval.csv"):
        read_lists(tmp_path)


def tiny_scenes():
    """The published scenes with the classes that the tiny corpora have."""
    known = scenes.read_published_scenes()
    one = dataclasses.replace(known.scenes["rain"], events=("chime",))
    other = dataclasses.replace(known.scenes["traffic"], events=("drum",))
    return dataclasses.replace(known, scenes={"rain": one, "traffic": other}, esc50={"chime": "bell", "drum": "drum"})


def test_labels_choose_every_recording_that_bears_them_and_folds_the_split(tiny):
    choice = choose(tiny.open(), tiny_scenes(), ("rain",), NO_LABELS, None)
    stems = {(row.label, row.split): [] for row in choice.sources}
    for row in choice.sources:
        stems[row.label, row.split].append(row.stem)
    assert stems == {
        ("rain", "dev"): [str(n) for n in range(7000, 7005)],
        ("rain", "eval"): [str(n) for n in range(8000, 8005)],
        ("chime", "dev"): [f"{fold}-{fold}00-A-0" for fold in range(1, 5)],
        ("chime", "eval"): ["5-500-A-0"],
    }


def test_only_whole_labels_match(tiny):
    path = tiny.fsd50k / "FSD50K.ground_truth" / "dev.csv"
    path.write_text(path.read_text().replace('"Rain,Water"', '"Raindrop,Rain_on_surface"', 2))
    own = Labels(backgrounds={"wet": ("Rain", "Pouring")}, events={})
    choice = choose(tiny.open(), tiny_scenes(), (), own, None)
    assert [row.stem for row in choice.sources if row.split == "dev"] == ["7002", "7003", "7004"]


def test_a_scene_without_sources_is_named_and_so_is_the_way_out(tiny):
    message = "no sources for the background 'car_passing': FSD50K at .* lists nothing of Car_passing_by; .*--scene"
    with pytest.raises(NotFoundError, match=message):
        choose(tiny.open(), tiny_scenes(), (), NO_LABELS, None)
    with pytest.raises(
        NotFoundError, match="no sources for the event 'birds': ESC-50 at .* lists nothing of chirping_birds"
    ):
        choose(tiny.open(), scenes.read_published_scenes(), ("rain",), NO_LABELS, None)
    with pytest.raises(NotFoundError, match="no scene 'snow'; there are: rain, traffic"):
        choose(tiny.open(), tiny_scenes(), ("snow",), NO_LABELS, None)


def test_own_labels_work_alone_and_together_with_a_scene(tiny):
    own = Labels(backgrounds={}, events={"beat": "drum"})
    alone = choose(tiny.open(), tiny_scenes(), (), own, None)
    assert {row.label for row in alone.sources} == {"beat"}
    beside = choose(tiny.open(), tiny_scenes(), ("rain",), own, None)
    assert {row.label for row in beside.sources} == {"rain", "chime", "beat"}


def test_scenes_and_own_labels_narrow_what_lists_give(tiny, tmp_path):
    lists = write_apwd(tmp_path / "lists")
    everything = choose(tiny.open(), tiny_scenes(), (), NO_LABELS, lists)
    assert (len(everything.sources), len(everything.not_clean)) == (5, 1)
    with pytest.raises(NotFoundError, match="no sources for the event 'chime': the lists have none"):
        choose(tiny.open(), tiny_scenes(), ("rain",), NO_LABELS, lists)
    own = Labels(backgrounds={}, events={"bells": "drum"})
    replaced = choose(tiny.open(), tiny_scenes(), (), own, lists)
    assert {row.stem[-1] for row in replaced.sources if row.label == "bells"} == {"1"}
    assert replaced.not_clean == ()


def test_two_sources_of_one_name_are_refused_and_both_named(tiny, tmp_path):
    write_apwd(tmp_path, rain_dev=("7000", "7000"))
    message = "the background 7000 and the background 7000 would both become dev/background/rain/7000.wav"
    with pytest.raises(InvalidInputError, match=message):
        choose(tiny.open(), tiny_scenes(), (), NO_LABELS, tmp_path)


def test_a_label_of_both_kinds_is_refused(tiny):
    own = Labels(backgrounds={"wet": ("Rain",)}, events={"wet": "drum"})
    with pytest.raises(InvalidInputError, match="'wet' is both a background and an event"):
        choose(tiny.open(), tiny_scenes(), (), own, None)


def test_label_of_only_one_split_is_reported(tiny, caplog):
    table = tiny.fsd50k / "FSD50K.ground_truth" / "eval.csv"
    table.write_text(table.read_text().replace("Rain", "Snow"))
    choose(tiny.open(), tiny_scenes(), ("rain",), NO_LABELS, None)
    assert "the background 'rain' has sources in dev only" in caplog.text
