import json

import pandas as pd
import pytest

from bgknown.apwd.manifest import read_manifest
from bgknown.apwd.scenes import read_published_scenes
from bgknown.apwd.verify import verify
from bgknown.errors import StorageError
from tests.bgknown.apwd.conftest import make_pairs
from tests.compatibility import test_versions
from tests.stopping import fill_disk_after

OLD = test_versions.OLD / "apwd"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Pairs; not to be changed."""
    return make_pairs(tmp_path_factory.mktemp("made"))


def read_configuration(folder) -> dict:
    return json.loads((folder / "dataset.json").read_text())["configuration"]


def test_style_1_makes_the_manifest_of_the_first_version(made, tmp_path):
    made.build(tmp_path / "set", source=None, text_style=1)
    table = read_manifest(tmp_path / "set")
    pd.testing.assert_frame_equal(table, read_manifest(OLD))  # texts, codes and hashes of JAMS
    assert (table["other_changes"] == "").all()
    assert read_configuration(tmp_path / "set") == read_configuration(OLD)


def test_style_2_is_the_default_and_recorded(made, tmp_path):
    table = made.build(tmp_path / "set", source=None).table
    found = read_configuration(tmp_path / "set")
    assert (found["texts"], found["text_style"]) == ("templates 2", 2)
    assert found["scenes_sha256"] != read_configuration(OLD)["scenes_sha256"]
    old = read_manifest(OLD)
    assert list(table["changes"]) == list(old["changes"])  # these are the published shapes
    assert list(table["text"]) != list(old["text"])


def test_a_set_keeps_its_style(made, tmp_path):
    made.build(tmp_path / "set", source=None, text_style=1)
    assert made.build(tmp_path / "set", source=None).was_finished
    assert made.build(tmp_path / "set", source=None, text_style=1).was_finished
    with pytest.raises(StorageError, match="configuration.text_style is 1 in the folder but 2 was requested"):
        made.build(tmp_path / "set", source=None, text_style=2)
    made.build(tmp_path / "new", source=None)
    with pytest.raises(StorageError, match="configuration.text_style is 2 in the folder but 1 was requested"):
        made.build(tmp_path / "new", source=None, text_style=1)


@pytest.mark.parametrize("style", [1, None])
def test_a_build_resumes_in_the_style_it_was_begun_with(style, made, tmp_path, monkeypatch):
    fill_disk_after(monkeypatch, 5)
    with pytest.raises(StorageError, match="the disk is full"):
        made.build(tmp_path / "set", text_style=style)
    monkeypatch.undo()
    assert not (tmp_path / "set" / "manifest.csv").exists()
    assert made.build(tmp_path / "set").kept > 0
    assert read_configuration(tmp_path / "set").get("text_style") == (None if style == 1 else 2)


def out_of_shape(pairs):
    """Change three pairs: one background fewer, another level, and a dog that becomes two."""
    pairs.change("dev_added", lambda tree: tree["annotations"][0]["data"].pop(0), "s1")

    def louder(tree):
        tree["annotations"][0]["sandbox"]["scaper"]["ref_db"] += 6.0

    pairs.change("dev_louder", louder, "s2")

    def again(tree):
        data = tree["annotations"][0]["data"]
        twin = json.loads(json.dumps(data[-1]))
        twin["value"]["source_file"] = twin["value"]["source_file"].replace("dog1", "dog0")
        data.append(twin)

    pairs.change("dev_quieter", again, "s2")


def test_changes_outside_the_published_shapes(pairs, tmp_path, caplog):
    out_of_shape(pairs)
    table = pairs.build(tmp_path / "set", source=None).table.set_index("pair")
    rows = {name: table.loc[f"rain_dev_{name}"] for name in ("added", "louder", "quieter")}
    assert (rows["added"]["changes"], rows["added"]["other_changes"]) == ("background_louder:rain;event_added:dog", "")
    assert rows["louder"]["changes"] == "background_louder:rain;event_louder:dog"
    assert rows["louder"]["text"] in {"make everything louder", "increase the overall volume"}
    assert (rows["quieter"]["changes"], rows["quieter"]["other_changes"]) == (
        "event_quieter:dog",
        "event_added:dog:1/1",
    )
    assert rows["quieter"]["text"].endswith(" and add another dog")
    assert table["other_changes"].ne("").sum() == 1
    assert (
        "1 pairs have changes that the published codes cannot express (the first: rain_dev_quieter, "
        "event_added:dog:1/1); see the column other_changes"
    ) in caplog.text


def test_style_1_warns_of_what_its_texts_leave_out(pairs, tmp_path, caplog):
    out_of_shape(pairs)
    table = pairs.build(tmp_path / "set", source=None, text_style=1).table.set_index("pair")
    assert table.loc["rain_dev_quieter", "changes"] == "event_added:dog"  # as version 0.1.0 had it
    assert table.loc["rain_dev_quieter", "other_changes"] == "event_added:dog:1/1"
    assert "texts of style 1 do not name them, --text-style 2 does" in caplog.text
    assert verify(tmp_path / "set", jobs=1, scenes=read_published_scenes(), jams=pairs.jams).faults == []


def test_verify_compares_by_the_style_of_the_set(made, tmp_path):
    made.build(tmp_path / "set", source=None)
    check = {"jobs": 1, "scenes": read_published_scenes(), "jams": made.jams}
    assert verify(tmp_path / "set", **check).faults == []
    path = tmp_path / "set" / "manifest.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], f"{lines[-1]}event_later:dog"]) + "\n")
    fault, edited = verify(tmp_path / "set", **check).faults
    assert edited.startswith("manifest.csv: was edited")
    assert "other_changes is 'event_later:dog', the JAMS give ''" in fault


def test_an_old_set_is_compared_with_its_jams_as_it_was(made):
    assert verify(OLD, jobs=1, scenes=read_published_scenes(), jams=made.jams).faults == []
