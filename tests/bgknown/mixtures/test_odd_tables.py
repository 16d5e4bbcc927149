"""Tables that name their corpora or their sources in ways that could be taken for something else."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bgknown
from bgknown.cli import main
from bgknown.errors import InvalidInputError, StorageError
from bgknown.mixtures.dataset import open_dataset
from bgknown.mixtures.leaks import trace_sources
from bgknown.mixtures.verify import verify
from tests.bgknown.corpora.made_tables import make_tables


def rewrite(path, change, *, name=None):
    """A changed copy of a table next to it."""
    table = change(pd.read_csv(path, dtype=str, keep_default_na=False))
    other = path.with_name(name or path.name)
    table.to_csv(other, index=False)
    return other


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Tables of one name, with files of one name but other sources, and their dataset; not to be changed.

    The last files are called as if they were formulas.
    """
    tables = make_tables(tmp_path_factory.mktemp("tables"))
    clips = pd.read_csv(tables.foreground, dtype=str)
    clips = clips[clips["file"].str.endswith("0.wav")].reset_index(drop=True)
    names = [f"{place}.wav" for place in clips.index[:-1]] + ["-1+1.wav"]
    for name, file in zip(names, clips["file"], strict=True):
        shutil.copy(tables.foreground.parent / file, tables.foreground.parent / name)
    clips["file"] = names
    foreground = tables.foreground.with_name("table.csv")
    clips.to_csv(foreground, index=False)
    (tables.background.parent / "7.wav").rename(tables.background.parent / "=7.wav")
    change = {"uploader": "ann", "title": "=1+1"}
    background = rewrite(
        tables.background, lambda table: table.assign(**change).replace("7.wav", "=7.wav"), name="Table.csv"
    )
    out = tables.root / "dataset"
    given = tables.given(foreground_table=foreground, background_table=background)
    return given, bgknown.build_dataset(out, **given)


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the dataset's folder."""
    return shutil.copytree(made[1].root, tmp_path / "copy")


def test_tables_of_one_name_are_told_apart(made):
    data, faults = verify(made[1].root, jobs=1)
    assert faults == []
    assert data.name == "BgKnown table clips with Table backgrounds"
    table = pd.read_csv(data.root / "ATTRIBUTION.csv", dtype=str, keep_default_na=False)
    assert set(table["corpus"]) == {"table clips", "Table backgrounds"}
    assert not table.duplicated(["corpus", "file"]).any()


def test_files_that_are_called_like_formulas_keep_their_sources(made):
    sources = trace_sources(made[1])
    assert sources.backgrounds["=7.wav"] == "tape 7"
    assert set(sources.credits) == {
        *(("table clips", file) for file in sources.clips),
        *(("Table backgrounds", file) for file in sources.backgrounds),
    }


@pytest.mark.parametrize("column", ["title", "uploader", "licence"])
def test_an_edited_attribution_is_found(copy, column):
    rewrite(copy / "ATTRIBUTION.csv", lambda table: table.assign(**{column: "x"}))
    found = verify(copy, jobs=1)[1]
    faults = [fault for fault in found if not fault.startswith("ATTRIBUTION.csv: was edited")]
    assert len(faults) == len(found) - 1 > 0
    assert all(f"has the {column} 'x', the manifest says" in fault for fault in faults)


def test_a_manifest_that_lost_its_credits_is_found(copy):
    rewrite(copy / "manifest.csv", lambda table: table.drop(columns=["same_class", "background_uploader"]))
    assert any("has the uploader 'ann', the manifest says ''" in fault for fault in verify(copy, jobs=1)[1])


@pytest.mark.parametrize("name", ["ATTRIBUTION.csv", "recipe.csv"])
def test_a_finished_folder_that_lacks_a_table_is_not_called_complete(made, copy, name):
    (copy / name).unlink()
    with pytest.raises(StorageError, match=rf"lacks 1 of its files, or they are cut short \(the first: {name}\)"):
        bgknown.build_dataset(copy, **made[0])


def test_a_finished_folder_says_that_credits_have_changed(made, copy, caplog):
    bgknown.build_dataset(copy, **made[0])
    assert "have changed" not in caplog.text
    path = made[0]["background_table"]
    before = path.read_bytes()
    try:
        rewrite(path, lambda table: table.assign(uploader="bo"))
        bgknown.build_dataset(copy, **made[0])
    finally:
        path.write_bytes(before)
    assert "titles or labels of the corpora have changed since it was built (rows concerned: 10)" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found["corpora"]["foreground"].update(name=["x"]), "corpora.foreground.name is"),
        (lambda found: found["configuration"].update(duration_s=1e9), r"dataset.json: .* the duration is 1e\+09 s"),
    ],
)
def test_damaged_descriptions_are_named(copy, change, message):
    path = copy / "dataset.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))
    with pytest.raises(InvalidInputError, match=message):
        open_dataset(copy)


@pytest.mark.parametrize(("source", "left"), [("", 3), ("tape", 4)])
def test_ids_in_names_count_where_no_source_is_given(tmp_path, source, left):
    """A given source is believed; an empty one is read from the name, in the draw as in verify."""
    tables = make_tables(tmp_path)
    for path, old, new in (
        (tables.foreground, "fold1/bark0.wav", "fold1/1-100-A-0.wav"),
        (tables.background, "0.wav", "100__ann__rain.wav"),
    ):
        (path.parent / old).rename(path.parent / new)
        rewrite(path, lambda table, old=old, new=new: table.replace(old, new))
    rewrite(tables.background, lambda table: table.assign(source=[source and f"tape {k}" for k in table.index]))
    data = bgknown.build_dataset(tmp_path / "out", **tables.given())
    assert verify(data.root, jobs=1)[1] == []
    assert data.description["backgrounds"]["train"]["left"] == left


def test_a_split_without_recordings_is_named(tmp_path):
    tables = make_tables(tmp_path)
    rewrite(tables.background, lambda table: table.assign(split="train"))
    arguments = [*tables.arguments(), "--test-folds", "5", "--dry-run", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, ["build", *arguments])
    assert result.exit_code == 1
    assert "places lists no recordings for test, and there are test clips; give some rows that split" in result.output
    rewrite(tables.background, lambda table: table.assign(split=["train"] * 5 + ["test"] * 4))
    assert "fold 5 of yard is for testing" in CliRunner().invoke(main, ["build", *arguments]).output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duration_s": "1"}, "duration_s is '1'; it must be a number"),
        ({"duration_s": None}, "duration_s is None; it must be a number"),
        ({"name": 3}, "name is 3; it must be a text"),
        ({"test_folds": 1}, "test_folds is 1; it must be a list"),
        ({"test_folds": [True]}, "test_folds.1 is True; it must be a whole number"),
        ({"licences": "cc0"}, "licences is 'cc0'; it must be a list of texts"),
        ({"licences": [3]}, "licences.1 is 3; it must be a text"),
        ({"draws": 1.5}, "draws is 1.5; it must be a whole number"),
        ({"snr_grid_db": ["a"]}, "snr_grid_db.1 is 'a'; it must be a number"),
        ({"seed": "x"}, "seed is 'x'; it must be a whole number"),
        ({"keep_sources": "yes"}, "keep_sources is 'yes'; it must be true or false"),
    ],
)
def test_arguments_of_other_types_are_refused_before_anything_is_written(made, tmp_path, change, message):
    with pytest.raises(InvalidInputError, match=f"^build_dataset: .*{message}"):
        bgknown.build_dataset(tmp_path / "out", **{**made[0], **change})
    assert not (tmp_path / "out").exists()


def test_numbers_of_numpy_are_numbers(made, tmp_path):
    numbers = {"duration_s": np.float64(1.5), "seed": np.int64(0), "test_folds": np.array([4, 5]), "draws": np.int32(1)}
    data = bgknown.build_dataset(tmp_path / "out", **{**made[0], **numbers})
    assert data.id == made[1].id
