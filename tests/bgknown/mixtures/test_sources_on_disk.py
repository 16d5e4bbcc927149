"""Sources of a dataset on disk: what was left out, labels, licences and attribution, and how verify checks them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bgknown.cli import main
from bgknown.errors import StorageError
from bgknown.mixtures.dataset import open_dataset
from bgknown.mixtures.leaks import find_leak_faults
from bgknown.mixtures.making import build_dataset
from bgknown.mixtures.verify import verify
from tests.conftest import make_tiny, noise, write_wav


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


def test_the_command_line_reports_and_refuses(leaking, tmp_path, caplog):
    def call(*arguments, status=0):
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert done.exit_code == status, done.output
        return done.output

    plan = ["plan", *leaking.arguments(), "--jobs", 1, "--out", tmp_path / "recipe.csv"]
    told = call(*plan)
    assert "FSD50K.dev_audio/7001.wav is the same audio as FSD50K.eval_audio/8001.wav" in caplog.text
    assert "train backgrounds: 3 of 5 recordings; without 1 from which clips were cut, 1 with the same audio" in told
    assert "\n1 row has the clip's class in its background (not known for 5)" in told
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
