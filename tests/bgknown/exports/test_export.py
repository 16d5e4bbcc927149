"""What all formats share: bytes, resuming, refusals, columns, licences and cards."""

import errno
import json
import shutil
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

import bgknown
from bgknown.cli import main
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from bgknown.exports import parts
from bgknown.exports.columns import list_table_columns
from bgknown.exports.licences import find_licences
from bgknown.exports.parts import split_rows
from bgknown.exports.source import open_source
from bgknown.jobs.units import read_units
from tests.bgknown.exports.conftest import export, keep_rows, list_expected, read_export
from tests.conftest import contents
from tests.stopping import count, stop_when

FORMATS = ("parquet", "webdataset", "croissant", "soundata", "mteb")
STREAMED = ("parquet", "webdataset", "croissant", "mteb")
OF_CLIPS = ("parquet", "webdataset", "croissant", "soundata")
"""Formats that hold both kinds of dataset."""


@pytest.fixture(params=FORMATS)
def format(request) -> str:
    return request.param


@pytest.fixture
def folder(format, clips, pair_set) -> Path:
    """A dataset that the format can hold."""
    return pair_set if format == "mteb" else clips


def copy(folder: Path, to: Path) -> Path:
    """A copy that a test may change; its audio is linked."""
    to.mkdir()
    for path in folder.iterdir():
        if path.is_dir():
            (to / path.name).symlink_to(path)
        else:
            shutil.copy(path, to)
    return to


def add_columns(folder: Path, **columns: list[str]) -> None:
    """Replace columns of the manifest, or add them before its last one."""
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    for name, values in columns.items():
        if name in table:
            table[name] = values
        else:
            table.insert(len(table.columns) - 1, name, values)
    table.to_csv(folder / "manifest.csv", index=False, lineterminator="\n")


def test_the_same_bytes_again_and_a_finished_export_is_left_alone(folder, format, tmp_path):
    first = bgknown.export_dataset(folder, tmp_path / "first", format=format, shard_mb=1)
    bgknown.export_dataset(folder, tmp_path / "second", format=format, shard_mb=1)
    whole = contents(tmp_path / "first")
    assert contents(tmp_path / "second") == whole
    assert not (tmp_path / "first" / ".work").exists()
    sizes = {name: len(data) for name, data in whole.items() if name != "export.json"}
    assert first.files == sizes
    states = {path: path.stat() for path in (tmp_path / "first").rglob("*")}
    again = bgknown.export_dataset(folder, tmp_path / "first", format=format, shard_mb=1)
    assert (again.was_finished, again.files) == (True, sizes)
    assert {path: path.stat() for path in (tmp_path / "first").rglob("*")} == states


@pytest.mark.parametrize("format", STREAMED)
def test_an_export_resumes_after_a_full_disk(folder, format, tmp_path, monkeypatch):
    export_ = {"format": format, "shard_mb": 1}
    bgknown.export_dataset(folder, tmp_path / "whole", **export_)
    out = tmp_path / "out"
    whole_write, room = parts.HashedStream.write, [700_000]

    def write(stream, data):
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole_write(stream, data)

    if format != "mteb":
        room[0] = 3_000_000
    with monkeypatch.context() as patch:
        patch.setattr(parts.HashedStream, "write", write)
        with pytest.raises(StorageError, match="the disk is full: free some space and run the same command again"):
            bgknown.export_dataset(folder, out, **export_)
    kept = {unit.name for unit in read_units(out / ".work" / "journal.jsonl")}
    assert kept
    assert {path.name for path in (out / ".work").iterdir()} == {"journal.jsonl", "build.json", "lock"}
    assert not (out / "README.md").exists()
    states = {name: (out / name).stat().st_ino for name in kept}
    with pytest.raises(StorageError, match=r"configuration.shard_mb is 1 in the folder but 2 was requested"):
        bgknown.export_dataset(folder, out, format=format, shard_mb=2)
    bgknown.export_dataset(folder, out, **export_)
    assert contents(out) == contents(tmp_path / "whole")
    assert {name: (out / name).stat().st_ino for name in kept} == states


def test_an_interrupt_leaves_whole_files_and_resumes(clips, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "bgknown", "export", str(clips), "--out", str(out), "--format", "webdataset"]
    status, told = stop_when([*command, "--shard-mb", "1"], lambda: count(out, "*.tar") >= 1, by=signal.SIGINT)
    if status != 0:  # on a fast machine it may have been finished
        assert (status, told.strip()) == (
            130,
            "interrupted; finished work is kept, and the same command resumes where it left off",
        )
        assert not (out / "README.md").exists()
    bgknown.export_dataset(clips, out, format="webdataset", shard_mb=1)
    bgknown.export_dataset(clips, tmp_path / "whole", format="webdataset", shard_mb=1)
    assert contents(out) == contents(tmp_path / "whole")


def test_folders_with_other_content_are_refused(clips, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    with pytest.raises(StorageError, match=r"holds a README.md but no export.json, so it was not made by bgknown"):
        bgknown.export_dataset(clips, tmp_path / "mine")
    with pytest.raises(StorageError, match="the folder is not empty"):
        bgknown.export_dataset(clips, clips)
    bgknown.export_dataset(clips, tmp_path / "out", format="soundata")
    with pytest.raises(StorageError, match='configuration.format is "soundata" in the folder but "croissant"'):
        bgknown.export_dataset(clips, tmp_path / "out", format="croissant")
    (tmp_path / "out" / "bgknown_esc_50.py").unlink()
    with pytest.raises(StorageError, match="lacks 1 of its files, .*bgknown_esc_50.py"):
        bgknown.export_dataset(clips, tmp_path / "out", format="soundata")


@pytest.mark.parametrize("format", OF_CLIPS)
def test_a_changed_dataset_is_refused(clips, tmp_path, format):
    bgknown.export_dataset(clips, tmp_path / "out", format=format)
    changed = copy(clips, tmp_path / "changed")
    keep_rows(changed, ["1-100-A-0", "4-400-A-0"])
    with pytest.raises(StorageError, match=r"inputs.manifest.csv is .* in the folder but .* was requested"):
        bgknown.export_dataset(changed, tmp_path / "out", format=format)
    (changed / "audio").unlink()
    shutil.copytree(clips / "audio", changed / "audio")
    path = changed / "audio" / "b" / "4-400-A-0.wav"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InvalidInputError, match=f"{path}: is not the file that the manifest lists; `bgknown verify`"):
        bgknown.export_dataset(changed, tmp_path / "other", format=format)
    path.unlink()
    with pytest.raises(StorageError, match=str(path)):
        bgknown.export_dataset(changed, tmp_path / "other", format=format)
    left = {path.name for path in (tmp_path / "other").rglob("*")}
    assert "README.md" not in left
    assert not any(name.endswith(".part") for name in left)


def test_too_little_space_is_refused_at_once(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2, 1, 1))
    with pytest.raises(StorageError, match=r"the disk has 0.00 GB free, the shards need up to 0.01 GB"):
        bgknown.export_dataset(clips, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_folders_and_options(tmp_path, clips, pair_set):
    with pytest.raises(NotFoundError, match="holds neither a dataset of `bgknown build` nor a set"):
        bgknown.export_dataset(tmp_path, tmp_path / "out")
    (tmp_path / "begun" / ".work").mkdir(parents=True)
    with pytest.raises(NotFoundError, match="its build is not finished"):
        bgknown.export_dataset(tmp_path / "begun", tmp_path / "out")
    with pytest.raises(InvalidInputError, match="did you mean parquet"):
        bgknown.export_dataset(clips, tmp_path / "out", format="parket")
    with pytest.raises(InvalidInputError, match="the size of a shard is 0 MB; it must be at least 1 MB"):
        bgknown.export_dataset(clips, tmp_path / "out", shard_mb=0)
    texts = copy(pair_set, tmp_path / "texts")
    table = pd.read_csv(texts / "manifest.csv", dtype=str, keep_default_na=False)
    table.assign(s1="", s2="").to_csv(texts / "manifest.csv", index=False)
    with pytest.raises(InvalidInputError, match="has no audio files .*--manifest-only.*build it with --source"):
        bgknown.export_dataset(texts, tmp_path / "out")


@pytest.mark.parametrize("column", ["split", "scene"])
def test_names_that_lead_out_of_the_export_are_refused(pair_set, tmp_path, column):
    folder = copy(pair_set, tmp_path / "pairs")
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    table.loc[2, column] = "../x"
    table.to_csv(folder / "manifest.csv", index=False)
    with pytest.raises(
        InvalidInputError, match=rf"manifest.csv: the {column} '\.\./x' cannot be in the name of a file"
    ):
        bgknown.export_dataset(folder, tmp_path / "out", format="mteb")


@pytest.mark.parametrize("format", OF_CLIPS)
def test_pairs_with_one_side_are_exported(pair_set, tmp_path, format):
    folder = copy(pair_set, tmp_path / "pairs")
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    table.assign(s2="", s2_sha256="", jams_s2="").to_csv(folder / "manifest.csv", index=False, lineterminator="\n")
    report = bgknown.export_dataset(folder, tmp_path / "out", format=format)
    assert report.rows == len(table)


def test_every_column_is_exported_with_its_type(clips, tmp_path):
    folder = copy(clips, tmp_path / "clips")
    add_columns(
        folder,
        group=["7", "7", "8", "9"],
        fsd50k_labels=["Rain,Water", "Rain", "Dog", ""],
        something_new=["x", "", "1", "0"],
    )
    source = open_source(folder)
    kinds = {column.name: column.kind for column in list_table_columns(source.table)}
    assert list(kinds) == (folder / "manifest.csv").read_text().split("\n", 1)[0].split(",")
    assert kinds["fold"] == kinds["a_start"] == "integer"
    assert kinds["snr_db"] == kinds["achieved_snr_db"] == "number"
    assert kinds["something_new"] == kinds["fsd50k_labels"] == "text"
    rows = list_expected(source)
    assert [row["something_new"] for row in rows] == ["x", "", "1", "0"]
    assert [row["fsd50k_labels"] for row in rows] == ["Rain,Water", "Rain", "Dog", ""]
    card = (export(source, tmp_path / "out", "parquet") / "README.md").read_text()
    assert "| `fsd50k_labels` | string | labels of that recording, joined by commas |" in card
    assert "| `something_new` | string |  |" in card


def read_header(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_a_card_names_dataset_licences_and_citation(folder, tmp_path, format):
    source = open_source(folder)
    card = (export(source, tmp_path / "out", format) / "README.md").read_text()
    header = read_header(card)
    assert header["pretty_name"] == source.name
    assert (header["license"], header["license_name"]) == ("other", "cc-by-nc-and-others")
    assert f"| dataset id | `{source.dataset_id}` |" in card
    assert ("recipe_sha256" in source.description) == ("| recipe, SHA-256 |" in card)
    assert f"`{source.description.get('recipe_sha256', '')}`" in card or source.is_pairs
    assert "- ESC-50: CC BY-NC (the ESC-10 part: CC BY)" in card
    assert "K. J. Piczak" in card
    assert f"bgknown {bgknown.__version__}" in card
    loading = card.split("```python\n")[1].split("```")[0]
    compile(loading, "card", "exec")
    assert read_export(tmp_path / "out")["inputs"]["dataset_id"] == source.dataset_id


@pytest.mark.parametrize(
    ("licences", "card"),
    [
        (["CC0-1.0"] * 4, "cc0-1.0"),
        (["CC-BY-3.0"] * 4, "cc-by-3.0"),
        (["CC0-1.0", "CC-BY-4.0", "CC0-1.0", "CC0-1.0"], "other several-licences"),
        (["CC0-1.0", "CC-BY-NC-3.0", "CC0-1.0", "CC0-1.0"], "other cc-by-nc-and-others"),
        (["CC0-1.0", "", "CC0-1.0", "CC0-1.0"], "other several-licences"),
        (["CC-Sampling+-1.0"] * 4, "other several-licences"),
    ],
)
def test_the_licence_of_a_card_is_that_of_the_sources(clips, tmp_path, licences, card):
    folder = copy(clips, tmp_path / "clips")
    (folder / "ATTRIBUTION.csv").unlink()  # earlier datasets have none, and their manifests may have licences
    add_columns(folder, esc50_licence=licences, fsd50k_licence=licences)
    found = find_licences(open_source(folder))
    assert f"{found.card_id} {found.card_name}".startswith(card) if " " in card else found.card_id == card


@pytest.mark.parametrize("format", OF_CLIPS)
def test_attribution_is_counted_and_goes_with_the_audio(clips, tmp_path, format):
    folder = copy(clips, tmp_path / "clips")
    lines = ["corpus,file,source,title,uploader,licence,licence_url,url"]
    lines += [f"ESC-50,audio/{n}.wav,{n},t,u,CC-BY-NC-3.0,x,y" for n in range(3)]
    lines += ["FSD50K,FSD50K.dev_audio/7000.wav,7000,t,u,CC0-1.0,x,y", "FSD50K,FSD50K.dev_audio/7001.wav,7001,t,u,,,"]
    lines.append("FSD50K,FSD50K.dev_audio/7002.wav,7002,t,u,'-,,")  # escaped for spreadsheets
    (folder / "ATTRIBUTION.csv").write_text("\n".join(lines) + "\n")
    out = export(open_source(folder), tmp_path / "out", format)
    card = (out / "README.md").read_text()
    assert "| ESC-50 | CC-BY-NC-3.0 | 3 |" in card
    assert "| FSD50K | CC0-1.0 | 1 |\n" in card
    assert "| FSD50K | not known | 1 |" in card
    assert "| FSD50K | - | 1 |" in card
    assert read_header(card)["license"] == "other"
    assert (out / "ATTRIBUTION.csv").read_bytes() == (folder / "ATTRIBUTION.csv").read_bytes()


def test_other_corpora_without_licences(clips, tmp_path):
    folder = copy(clips, tmp_path / "clips")
    (folder / "ATTRIBUTION.csv").unlink()
    description = json.loads((folder / "dataset.json").read_text())
    for corpus in description["corpora"].values():
        corpus |= {"licence": "", "citation": "", "name": "Mine"}
    (folder / "dataset.json").write_text(json.dumps({**description, "name": 'BgKnown "Mine" \\ é'}))
    for format in ("parquet", "soundata", "croissant"):
        out = export(open_source(folder), tmp_path / format, format)
        header = read_header((out / "README.md").read_text())
        assert (header["license"], header["pretty_name"]) == ("unknown", 'BgKnown "Mine" \\ é')
    assert "Not known: the tables" in (tmp_path / "parquet" / "README.md").read_text()
    compile((tmp_path / "soundata" / "bgknown_mine.py").read_text(), "loader", "exec")


def test_the_command_reports_one_line_and_the_card(clips, tmp_path):
    done = CliRunner().invoke(main, ["export", str(clips), "--format", "soundata", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert done.output.startswith("BgKnown ESC-50 as soundata: 4 rows, 4 files, 0.0 MB exported\ncard   ")
    again = CliRunner().invoke(main, ["export", str(clips), "--format", "soundata", "--out", str(tmp_path / "out")])
    assert "was already complete; nothing was done" in again.output
    wrong = CliRunner().invoke(main, ["export", str(clips), "--format", "mteb", "--out", str(tmp_path / "mteb")])
    assert (wrong.exit_code, wrong.output.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("sizes", "limit", "groups"), [([], 5, []), ([9], 5, [[0]]), ([2, 3, 1], 5, [[0, 1], [2]]), ([6, 1], 5, [[0], [1]])]
)
def test_rows_are_split_by_size(sizes, limit, groups):
    assert split_rows(sizes, limit) == groups
