"""BgKnown of a user's own tables as a task."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import bgknown
from benchmark.cli import main
from benchmark.contamination import check_training_data
from benchmark.results.leak_check import NOT_COMPARABLE
from benchmark.results.rows import read_rows
from benchmark.tasks.bgknown import FACTS, add_origins, prepare
from benchmark.tasks.bgknown_corpora import describe_task
from benchmark.tasks.contract import TaskOptions
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.mixtures.dataset import Dataset, open_dataset
from bgknown.mixtures.leaks import trace_sources
from bgknown.sounds import make_sound_list
from tests.bgknown.corpora.made_tables import make_tables


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Tables and a dataset of them; not to be changed."""
    tables = make_tables(tmp_path_factory.mktemp("tables"))
    return tables, bgknown.build_dataset(tables.root / "dataset", **tables.given(name="Yard 1", duration_s=1.0))


def read(made, tmp_path, **data):
    return prepare(made[1].root, TaskOptions(cache=tmp_path, data=data))


def test_the_task_is_called_after_the_dataset(made, tmp_path):
    facts = read(made, tmp_path).facts
    assert (facts.name, facts.classes, facts.duration_s) == ("bgknown-yard-1-1s", 2, 1.0)
    assert facts.counts == {"train": 12, "test": 8}
    assert facts.title == "BgKnown Yard 1: classes from y_mix - y_bg, with known backgrounds of 1 s"
    assert facts.licence == "yard: CC0-1.0; places: not stated"
    assert facts.protocols == ("linear",)


def test_esc50_of_five_seconds_keeps_its_facts_and_other_durations_are_another_task(built):
    data = open_dataset(built[1])
    assert describe_task(data, FACTS) is FACTS
    described = {**data.description, "configuration": {**data.description["configuration"], "duration_s": 4.0}}
    facts = describe_task(replace(data, description=described), FACTS)
    assert (facts.name, facts.classes, facts.duration_s) == ("bgknown-4s", 2, 4.0)


def test_a_single_class_is_refused(made):
    data = made[1]
    alone = replace(data, table=data.table[data.table["category"] == "bark"])
    with pytest.raises(InvalidInputError, match="has a single class; a probe needs two or more"):
        describe_task(alone, FACTS)


def test_settings_say_how_long_a_reference_is(made, tmp_path):
    about = {setting.name: setting.about for setting in read(made, tmp_path).settings}
    assert about["a"] == "y_mix - y_bg, the same 1 s of the background"


def test_clean_clips_come_from_the_folder_of_the_table(made, tmp_path):
    tables, _ = made
    without = read(made, tmp_path)
    assert "clean" not in without.signals
    assert any(
        "give the folder of the clips' table, yard, with --data foreground=DIR" in note for note in without.notes
    )
    data = read(made, tmp_path, foreground=tables.foreground.parent, esc50=tmp_path)
    clean = data.signals["clean"]
    assert [clip.path for clip in clean] == [tables.foreground.parent / file for file in data.table["foreground_file"]]
    assert {clip.duration_s for clip in clean} == {1.0}
    with pytest.raises(NotFoundError, match="20 of 20 clips .* give the folder of yard that the dataset was made from"):
        read(made, tmp_path, foreground=tmp_path)


def test_clips_of_esc50_with_other_backgrounds_are_found_in_esc50(tiny, made, tmp_path):
    given = {"esc50": tiny.esc50, "background_table": made[0].background, "duration_s": 1.5}
    out = tmp_path / "out"
    data = bgknown.build_dataset(out, **given, engine="direct", jobs=1, cache=tmp_path)
    assert data.name == "BgKnown ESC-50 with places"
    found = prepare(out, TaskOptions(cache=tmp_path, data={"esc50": tiny.esc50}))
    assert found.facts.name == "bgknown-esc-50-with-places-1.5s"
    assert len(found.signals["clean"]) == len(data)
    assert found.groups()[0] == "100"


def trace(foreground: list[str], backgrounds: list[str], *, has_fsd50k: bool = False):
    """The table of a dataset that has no ATTRIBUTION.csv, with origins."""
    table = pd.DataFrame({"foreground_file": foreground, "background_file": backgrounds, "clip_id": foreground})
    table = table.assign(split=["train", *["test"] * (len(foreground) - 1)])
    corpora = {"foreground": {}, "background": {"name": "FSD50K" if has_fsd50k else "mine"}}
    data = Dataset(root=Path("nowhere"), table=table, description={"corpora": corpora})
    return add_origins(table, trace_sources(data))


def test_origins_come_from_the_names_of_files_where_nothing_else_tells_them():
    names = ["a.wav", "fold1/x.wav", "fold5/7061-6-0-0.wav", "audio/1-5-A-0.wav"]
    found = trace(names, ["1.wav", "2.wav", "3.wav", "rain/4__me__rain.wav"])
    assert found["group"].tolist() == ["a", "x", "7061", "5"]
    assert found["clip_source"].tolist() == ["", "", "7061", "5"]
    assert found["background"].tolist() == ["1.wav", "2.wav", "3.wav", "rain/4__me__rain.wav"]
    assert found["background_source"].tolist() == ["", "", "", "4"]
    found = trace(names, ["1.wav", "2.wav", "3.wav", "4.wav"], has_fsd50k=True)
    assert found["background_source"].tolist() == ["1", "2", "3", "4"]


def test_recordings_with_numbers_for_names_are_not_sounds_of_freesound(made, tmp_path):
    data = read(made, tmp_path)
    assert set(data.backgrounds()) >= {"4.wav"}
    assert set(data.table["background_source"]) >= {"tape 4"}
    trained_on = make_sound_list([str(number) for number in range(1, 8)])
    assert check_training_data(data, trained_on, cache=tmp_path) == NOT_COMPARABLE
    known = replace(data, table=data.table.assign(background_source="7", clip_source=""))
    assert "the background of 8 of 8 test clips" in check_training_data(known, trained_on, cache=tmp_path)


def test_benchmark_run_on_tables(made, tmp_path, monkeypatch):
    tables, data = made
    monkeypatch.chdir(tmp_path)
    given = ["--data", f"bgknown={data.root}", "--data", f"foreground={tables.foreground.parent}", "--device", "cpu"]
    arguments = ["run", "--encoder", "logmel", *given, "--out", "r", "--cache", "c"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "logmel on bgknown-yard-1-1s, protocol linear: 20 clips, leak check: ok" in done.output
    rows = read_rows(tmp_path / "r" / "leaderboard.csv")
    assert {row.task for row in rows} == {"bgknown-yard-1-1s"}
    assert {"mix", "a", "a*", "clean", "a* - mix"} <= {row.setting for row in rows}
    shown = CliRunner().invoke(main, ["leaderboard", "--out", "r"])
    assert shown.exit_code == 0, shown.output
    header = next(line for line in shown.output.splitlines() if "a* - mix" in line)
    assert "shuffled* " not in header.replace("a* - shuffled*", "")  # the key figures alone, as of BgKnown ESC-50
