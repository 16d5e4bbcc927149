import csv
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bgknown.corpora.names import drop_type
from bgknown.corpora.pair import CorpusPaths, open_corpus_paths
from bgknown.corpora.table import index_background, index_foreground
from bgknown.errors import InvalidInputError, NotFoundError
from tests.bgknown.corpora.made_tables import make_tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Not to be changed."""
    return make_tables(tmp_path_factory.mktemp("tables"))


def rewrite(tables, tmp_path, change, *, side="foreground"):
    """A changed copy of a table in a folder with the same files."""
    path = getattr(tables, side)
    table = change(pd.read_csv(path, dtype=str, keep_default_na=False))
    folder = tmp_path / "copy"
    folder.mkdir()
    for child in path.parent.iterdir():
        if child != path:
            (folder / child.name).symlink_to(child)
    table.to_csv(folder / path.name, index=False)
    return folder / path.name


def set_value(column, row, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


def test_a_table_of_clips(tables, tmp_path):
    index = index_foreground(tables.foreground, cache=tmp_path)
    table = index.table.set_index("file")
    assert (index.facts.name, index.root, index.test_folds) == ("yard", tables.foreground.parent, (4, 5))
    assert index.parts == {"train": 12, "test": 8}
    assert table["split"].eq("test").equals(table["fold"] >= 4)
    assert table.loc["fold2/siren1.wav"][["clip_id", "target", "category"]].tolist() == ["fold2_siren1", 1, "siren"]
    assert table.loc["fold2/siren1.wav"][["source", "group"]].tolist() == ["", "dog 2"]
    assert table.loc["fold2/siren1.wav"][["licence", "uploader", "title"]].tolist() == [
        *("CC0-1.0", "me 1", "siren at noon")
    ]
    assert table["frames"].gt(0).all()
    assert index.facts.licence == "CC0-1.0"


def test_a_table_of_recordings(tables, tmp_path):
    index = index_background(tables.background, cache=tmp_path)
    table = index.table.set_index("recording_id")
    assert index.parts == {"train": 5, "test": 4}
    assert table["split"].to_dict() | {"short": "train"} == {
        **{str(place): "train" if place < 4 else "test" for place in range(8)},
        "short": "train",
    }
    assert table.loc["3"][["labels", "label", "source", "group"]].tolist() == [
        *("Rain,Water", "Rain", "tape 3", "tape 3")
    ]
    assert table.loc["short"][["source", "group"]].tolist() == ["", ""]


def test_fingerprints_depend_on_the_rows_and_not_on_their_order(tables, tmp_path):
    first = index_foreground(tables.foreground, cache=tmp_path)
    other = index_foreground(rewrite(tables, tmp_path, lambda table: table[::-1]), cache=tmp_path)
    assert first.listing_sha256() == other.listing_sha256()
    assert first.headers_sha256() == other.headers_sha256()
    changed = replace(first, table=first.table.assign(group="x"))
    assert first.listing_sha256() != changed.listing_sha256()


def test_names_that_occur_once_are_the_names_of_the_clips(tables, tmp_path):
    path = rewrite(tables, tmp_path, lambda table: table[table["fold"].isin(["1", "4"])][3:5])
    assert index_foreground(path, cache=tmp_path).table["clip_id"].tolist() == ["bark0", "siren1"]


@pytest.mark.parametrize(
    ("folds", "given", "expected"),
    [
        (range(1, 11), (), (7, 8, 9, 10)),  # UrbanSound8K's ten
        (range(5), (), (3, 4)),
        ((1, 2, 3, 10), (), (3, 10)),
        ((1, 2), (), (2,)),
        ((1, 2, 3), (1,), (1,)),
    ],
)
def test_folds_for_testing(tmp_path, folds, given, expected):
    rows = "".join(f"{fold}.wav,a,{fold}.0\n" for fold in folds)
    (tmp_path / "t.csv").write_text("file_name,label,fold\n" + rows)
    found = index_background(tmp_path / "t.csv", cache=tmp_path, test_folds=given)
    assert found.test_folds == expected
    assert found.table.set_index("recording_id")["split"].eq("test").sum() == len(expected)


def test_a_split_counts_before_a_fold_unless_folds_are_given(tmp_path):
    (tmp_path / "t.csv").write_text("file,label,split,fold\na.wav,x,val,2\nb.wav,y,eval,1\n")
    first = index_foreground(tmp_path / "t.csv", cache=tmp_path)
    assert first.table[["split", "fold"]].to_numpy().tolist() == [["train", 2], ["test", 1]]
    assert first.test_folds == ()
    second = index_foreground(tmp_path / "t.csv", cache=tmp_path, test_folds=(2,))
    assert second.table["split"].tolist() == ["test", "train"]


def test_sources_come_from_distinctive_names_where_there_is_no_column(tmp_path):
    names = ["7061-6-0-0.wav", "1-100032-A-0.wav", "12__me__rain.wav", "345.wav", "a.wav"]
    rows = "".join(f"{name},x,train\n" for name in names)
    (tmp_path / "t.csv").write_text("file,label,split\n" + rows)
    table = index_background(tmp_path / "t.csv", cache=tmp_path).table.set_index("file")
    assert table.loc[names, "source"].tolist() == ["7061", "100032", "12", "", ""]


@pytest.mark.parametrize("text", ["12", "https://freesound.org/people/me/sounds/12/", "freesound.org/s/12"])
def test_a_source_on_freesound_is_its_id(tmp_path, text):
    (tmp_path / "t.csv").write_text(f"file,label,split,source\na.wav,x,train,{text}\n")
    assert index_background(tmp_path / "t.csv", cache=tmp_path).table["source"].tolist() == ["12"]


@pytest.mark.parametrize(
    ("side", "change", "message"),
    [
        ("foreground", lambda t: t.drop(columns="label"), "column label missing; it must have the columns file, label"),
        ("foreground", lambda t: t.drop(columns="fold"), "column split missing; it must have"),
        ("foreground", lambda t: t[:0], "the table has no rows"),
        ("foreground", set_value("file", 1, "../x.wav"), r"line 3: file '../x.wav' leads out of the folder"),
        ("foreground", set_value("file", 1, "/etc/x.wav"), "line 3: file '/etc/x.wav' is an absolute path"),
        ("foreground", set_value("file", 1, "C:\\x.wav"), "line 3: file .* is an absolute path"),
        ("foreground", set_value("file", 1, ""), "line 3: file '' is empty"),
        ("foreground", set_value("label", 1, ""), "line 3: the label is empty; give"),
        ("foreground", set_value("label", 1, "a/b"), "line 3: the label 'a/b' cannot be a folder name"),
        ("background", set_value("label", 1, "a/b,c"), "line 3: the label 'a/b' cannot be a folder name"),
        ("foreground", set_value("fold", 1, "one"), "line 3: fold is 'one'; it must be a whole number"),
        ("foreground", lambda t: t.assign(fold="3"), "has a single fold, 3; give at least two, or a column split"),
        ("background", set_value("split", 1, "holdout"), "line 3: split is 'holdout'; it must be train .or training"),
        ("background", set_value("split", 1, ""), "line 3: split is ''; it must be train"),
        ("foreground", set_value("file", 1, "fold1/bark0.wav"), r"line 3: .*bark0.wav' is listed twice \(see line 2\)"),
        ("foreground", set_value("file", 1, "./fold1//bark0.wav"), r"line 3: .* is listed twice \(see line 2\)"),
        (
            "foreground",
            set_value("file", 1, "fold1/bark0.flac"),
            "line 3: .* differs from .* in its type only",
        ),
        (
            "foreground",
            set_value("group", 1, "dog 5"),
            r"the group 'dog 5' is in train \(line 3\) and in test \(l",
        ),
        ("background", set_value("source", 1, "tape 6"), r"the source 'tape 6' is in train \(line 3\) and in test"),
        ("foreground", set_value("file", 1, f"{'x' * 220}.wav"), "has 220 bytes; at most 200 fit"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused_in_one_line(tables, tmp_path, side, change, message):
    path = rewrite(tables, tmp_path, change, side=side)
    index = index_foreground if side == "foreground" else index_background
    with pytest.raises(InvalidInputError, match=f"^{path}[:,].*{message}") as caught:
        index(path, cache=tmp_path)
    assert "\n" not in str(caught.value)


def test_clips_that_would_have_one_name_are_refused(tmp_path):
    rows = "".join(f"{file}.wav,x,train\n" for file in ("a/b_c", "a_b/c", "d/b_c", "e/c"))
    (tmp_path / "t.csv").write_text("file,label,split\n" + rows)
    with pytest.raises(InvalidInputError, match="'a/b_c.wav' and 'a_b/c.wav' would both be called 'a_b_c'"):
        index_foreground(tmp_path / "t.csv", cache=tmp_path)


def test_names_that_differ_in_capitals_only_are_not_one_file_on_other_disks(tmp_path):
    (tmp_path / "t.csv").write_text("file,label,split\na/Dog.wav,x,train\nb/dog.wav,y,test\n")
    assert index_foreground(tmp_path / "t.csv", cache=tmp_path).table["clip_id"].tolist() == ["a_Dog", "b_dog"]


def test_a_single_class_is_reported(tables, tmp_path, caplog):
    path = rewrite(tables, tmp_path, lambda table: table.assign(label="bark"))
    index_foreground(path, cache=tmp_path)
    assert caplog.messages == [f"{path}: has a single class, bark, so nothing can be learned from the labels"]


def test_hidden_files_are_left_out_and_reported(tables, tmp_path, caplog):
    path = rewrite(tables, tmp_path, set_value("file", 1, "fold1/._bark0.wav"))
    assert len(index_foreground(path, cache=tmp_path).table) == 19
    assert f"{path}: 1 hidden file is skipped, such as fold1/._bark0.wav" in caplog.messages


def test_a_missing_table_and_a_missing_file(tmp_path):
    with pytest.raises(NotFoundError, match=r"x.csv: no such file; it must have the columns file, label"):
        index_foreground(tmp_path / "x.csv", cache=tmp_path)
    (tmp_path / "t.csv").write_text("file,label,split\ngone.wav,x,train\n")
    problems = index_foreground(tmp_path / "t.csv", cache=tmp_path).problems()
    assert [(problem.where, problem.code) for problem in problems] == [("gone.wav", "missing")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background_table": None}, "fsd50k and background_table: give exactly one of them"),
        ({"esc50": Path("ESC-50")}, "esc50 and foreground_table: give exactly one of them"),
        ({"name": "ESC-50"}, "the name is 'ESC-50'; it must be .* and not be ESC-50"),
        ({"name": "a/b"}, "the name is 'a/b'; it must be 1 to 60 ASCII letters"),
        ({"test_folds": (9,)}, "has no fold 9 to test on; its folds are 1, 2, 3, 4, 5"),
        ({"test_folds": (1, 2, 3, 4, 5)}, "all its folds are for testing"),
    ],
)
def test_choices_that_break_a_rule_are_refused(tables, tmp_path, changes, message):
    given = {"foreground_table": tables.foreground, "background_table": tables.background, **changes}
    with pytest.raises(InvalidInputError, match=message):
        open_corpus_paths(CorpusPaths(**given), cache=tmp_path)


def test_a_name_and_folds_need_a_table(tiny, tables):
    for given in ({"name": "x"}, {"test_folds": (1,)}):
        with pytest.raises(InvalidInputError, match="can be given only with a table"):
            CorpusPaths(esc50=tiny.esc50, fsd50k=tiny.fsd50k, **given)
    paths = CorpusPaths(esc50=tiny.esc50, background_table=tables.background, test_folds=(1,))
    with pytest.raises(InvalidInputError, match="no table has a column fold"):
        open_corpus_paths(paths, cache=tiny.root)


def test_either_table_may_be_combined_with_the_other_named_corpus(tiny, tables):
    own = open_corpus_paths(CorpusPaths(foreground_table=tables.foreground, fsd50k=tiny.fsd50k), cache=tiny.root)
    assert (own.name, own.prefixes.foreground_file) == ("yard with FSD50K", "foreground_file")
    assert own.background.part_of_split == {"train": "dev", "test": "eval"}
    other = open_corpus_paths(CorpusPaths(esc50=tiny.esc50, background_table=tables.background), cache=tiny.root)
    assert other.name == "ESC-50 with places"
    both = open_corpus_paths(CorpusPaths(esc50=tiny.esc50, fsd50k=tiny.fsd50k), cache=tiny.root)
    assert (both.name, both.prefixes.foreground_file) == ("ESC-50", "esc50_file")


def test_recipes_find_files_by_their_paths_without_types(tables):
    with tables.foreground.open() as file:
        files = [row["file"] for row in csv.DictReader(file)]
    assert len({drop_type(name) for name in files}) == len(files) == 20


@pytest.mark.parametrize(
    ("labels", "splits", "message"),
    [
        ("aabb", ["train"] * 4, "lists no clips for testing, so nothing can be measured"),
        ("aabb", ["test"] * 4, "lists no clips for training, so nothing can be measured"),
        ("aaab", ["train", "train", "test", "test"], "classes for testing that training lacks cannot be learned: b"),
        ("abab", ["train", "train", "test", "test"], ""),
    ],
)
def test_clips_that_cannot_be_measured_are_named(tmp_path, caplog, labels, splits, message):
    table = pd.DataFrame({"file": [f"{k}.wav" for k in range(4)], "label": list(labels), "split": splits})
    table.to_csv(tmp_path / "odd.csv", index=False)
    index_foreground(tmp_path / "odd.csv", cache=tmp_path)
    assert message in caplog.text
    assert bool(message) == bool(caplog.text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file;label;fold\na.wav;x;1\n", "separated by semicolons; save the table with commas"),
        ("file\tlabel\tfold\na.wav\tx\t1\n", "separated by tabs; save the table with commas"),
        ("File, label,fold\na.wav,x,1\n", r"it has 'File', ' label'; names must be exact"),
        ("file,label,fold\na.wav, ,1\nb.wav,x,2\n", r"odd\.csv, line 2: the label is empty; give every row a label"),
    ],
)
def test_messages_say_what_is_wrong_with_a_table(tmp_path, text, message):
    (tmp_path / "odd.csv").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        index_foreground(tmp_path / "odd.csv", cache=tmp_path)
