"""Pages of datasets, as files: what they hold, what they refuse, and that the dataset stays as it is."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from bgknown import build_dataset, open_dataset
from bgknown.cli import main
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from bgknown.mixtures.verify import verify
from bgknown.pages import dataset_page, listening
from bgknown.pages.dataset_page import write_dataset_page
from bgknown.pages.options import PageOptions
from bgknown.pages.rows import choose_rows, count_snr
from tests.bgknown.apwd.conftest import pairs as pairs  # noqa: PLC0414  (a fixture)
from tests.bgknown.corpora.made_tables import make_tables
from tests.conftest import contents

OLD = Path(__file__).parents[2] / "compatibility" / "0.1.0"
JAMS = sorted((OLD / "dataset" / "jams").glob("*.jams"))


def make_page(folder, **options):
    return write_dataset_page(PageOptions(folder=folder, **{"jobs": 1, **options}))


def read_blocks(page):
    found = re.findall(r'<script type="application/json" id="data-([\w-]+)">(.*?)</script>', page.read_text())
    return {name: json.loads(text) for name, text in found}


def copy_dataset(source, target):
    """A copy of a dataset; its audio is linked, so a test may delete it but not write to it."""

    def copy_file(one, other):
        return os.link(one, other) if one.endswith(".wav") else shutil.copy2(one, other)

    return Path(shutil.copytree(source, target, copy_function=copy_file))


@pytest.fixture
def copy(built, tmp_path):
    """A copy of a dataset that a test may change."""
    return copy_dataset(built[1], tmp_path / "copy")


def edit_manifest(folder, **columns):
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    table.assign(**columns).to_csv(folder / "manifest.csv", index=False, lineterminator="\n")


def test_a_page_shows_every_row_and_its_remainder_is_exact(built, tmp_path):
    _, folder = built
    report = make_page(folder, out=tmp_path / "pages" / "one.html")
    data, blocks = open_dataset(folder), read_blocks(report.page)
    assert (report.rows, report.total, report.faults, report.checks.faults) == (10, 10, (), ())
    assert blocks["rows"]["id"] == data.table["clip_id"].tolist()
    assert blocks["rows"]["achieved"] == data.table["achieved_snr_db"].tolist()
    assert {source["labels"] for source in blocks["rows"]["recordings"]} == {"Rain,Water"}
    assert "label" not in blocks["rows"]
    assert blocks["rows"]["width"] == {"all": [60] * 5}
    (base,) = blocks["page"]["base"]
    assert (report.page.parent / base).resolve() == folder.resolve()
    assert not Path(base).is_absolute()
    for clip_id in data.table["clip_id"]:
        remainder, _ = soundfile.read(report.remainders / f"{clip_id}.flac", dtype="float32")
        np.testing.assert_array_equal(remainder, data.audio(clip_id) - data.audio(clip_id, "a"))
    assert report.remainder_bytes == sum(path.stat().st_size for path in report.remainders.iterdir())
    assert report.page_bytes == report.page.stat().st_size


def test_a_dataset_of_an_earlier_version(tmp_path):
    report = make_page(OLD / "dataset", out=tmp_path / "page.html")
    rows = read_blocks(report.page)["rows"]
    assert (report.rows, report.faults) == (2, ())
    assert rows["suffix"] == ".flac"
    labels = [json.loads(path.read_text())["annotations"][0]["data"][0]["value"]["label"] for path in JAMS]
    assert rows["label"] == labels  # there is no column of labels
    assert not {"same", "draw"} & set(rows)
    assert [source["url"] for source in rows["clips"]] == [f"https://freesound.org/s/{n}/" for n in (300, 400)]


def test_two_processes_make_the_same_page(built, tmp_path):
    pages = [make_page(built[1], out=tmp_path / "page.html", jobs=jobs, sample=5).page.read_bytes() for jobs in (1, 2)]
    assert pages[0] == pages[1]


def test_a_page_in_the_dataset_is_not_a_fault_and_changes_nothing(copy):
    before = contents(copy)
    report = make_page(copy, out=copy)
    assert report.page == copy / "index.html"
    assert read_blocks(report.page)["page"]["base"] == [""]
    assert {name: data for name, data in contents(copy).items() if not name.startswith("index")} == before
    assert verify(copy, jobs=1)[1] == []
    again = make_page(copy, out=copy, verify=True)  # over the one that is there
    assert (again.checks.full, again.checks.faults) == (True, ())
    assert "found no fault in any file" in again.page.read_text()


def test_the_default_place_is_next_to_the_dataset(copy, monkeypatch):
    monkeypatch.chdir(copy)
    done = CliRunner().invoke(main, ["page", ".", "--sample", "2", "--jobs", "1"])
    assert done.exit_code == 0, done.output
    assert f"page        {copy}.html" in done.output
    assert "rows        2 of 10" in done.output
    assert copy.with_name("copy.html").is_file()
    assert copy.with_name("copy_remainders").is_dir()


def test_where_a_page_must_not_go(copy, tmp_path):
    for inside in ("audio", "jams", "audio/mix"):
        with pytest.raises(InvalidInputError, match="among the dataset's files"):
            make_page(copy, out=copy / inside)
    other = tmp_path / "mine.html"
    other.write_text("<h1>mine</h1>")
    with pytest.raises(InvalidInputError, match="is not a page of bgknown; give another --out"):
        make_page(copy, out=other)
    assert other.read_text() == "<h1>mine</h1>"
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--out"):
        make_page(copy, out=tmp_path / "file")
    with pytest.raises(NotFoundError, match="no such folder"):
        make_page(tmp_path / "none")
    with pytest.raises(NotFoundError, match="no dataset"):
        make_page(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample": 0}, "--sample is 0; it must be at least 1"),
        ({"inline_audio": -1}, "--inline-audio is -1; it must be at least 1"),
        ({"sample": 1, "inline_audio": 1}, "give one of them"),
        ({"jobs": 0}, "jobs is 0"),
        ({"jams": "x"}, "--jams is for APwD pairs"),
    ],
)
def test_options_that_are_refused(built, tmp_path, options, message):
    with pytest.raises(InvalidInputError, match=message):
        make_page(built[1], out=tmp_path / "page.html", **options)
    assert list(tmp_path.iterdir()) == []


def test_audio_in_the_page_needs_nothing_else(built, tmp_path):
    report = make_page(built[1], inline_audio=2, out=tmp_path / "mail.html")
    blocks = read_blocks(report.page)
    assert [path.name for path in tmp_path.iterdir()] == ["mail.html"]
    assert len(blocks["rows"]["id"]) == 2
    assert blocks["page"]["base"] == []
    assert all(text.startswith("data:audio/") for name in ("audio-0", "audio-1") for text in blocks[name])
    assert len(blocks["audio-0"]) == 5
    assert str(built[1]) not in report.page.read_text()


def test_without_mp3_the_audio_is_ogg(monkeypatch):
    silence = np.zeros(4_410, np.float32)
    assert listening.encode_address(silence).startswith("data:audio/mpeg;base64,")
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"OGG": "", "WAV": ""})
    assert listening.encode_address(silence).startswith("data:audio/ogg;base64,")


def test_faults_are_shown_and_broken_audio_is_reported(copy, tmp_path):
    data = open_dataset(copy)
    first, second = data.table["clip_id"][:2]
    (copy / data.table.loc[first, "a_file"]).unlink()
    path = copy / data.table.loc[second, "mix_file"]
    path.unlink()
    path.write_bytes(b"RIFF")
    edit_manifest(copy, category="gong")
    report = make_page(copy, out=tmp_path / "page.html")
    assert len(report.faults) == 2
    assert report.faults[0].startswith(f"audio/a/{first}.wav")
    assert any("category is gong, the recipe says" in fault for fault in report.checks.faults)
    text = report.page.read_text()
    assert "Audio that could not be read (2)" in text
    assert str(copy) not in text
    assert len(list(report.remainders.iterdir())) == 8
    assert read_blocks(report.page)["rows"]["width"][:3] == [[60, 0, 60, 60, 0], [0, 60, 60, 60, 0], [60] * 5]
    full = make_page(copy, out=tmp_path / "full.html", verify=True)
    assert any("sha256" in fault for fault in full.checks.faults)
    for file in (copy / "audio").rglob("*.wav"):
        file.unlink()
    with pytest.raises(StorageError, match="no audio can be read, so no page was written"):
        make_page(copy, out=tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


def test_an_interrupted_page_leaves_nothing_behind(built, tmp_path, monkeypatch):
    calls = []

    def interrupt(row):
        calls.append(row)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(row)

    real = dataset_page.draw_row
    monkeypatch.setattr(dataset_page, "draw_row", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_page(built[1], out=tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_sources_without_gain_are_subtracted_with_it(tiny, tmp_path):
    tiny.build(tmp_path / "set", reference_gain="source", container="flac", limit=3)
    report = make_page(tmp_path / "set")
    assert "mix − g·a" in report.page.read_text()
    assert read_blocks(report.page)["rows"]["suffix"] == ".flac"
    data = open_dataset(tmp_path / "set")
    for row in data.rows():
        remainder, _ = soundfile.read(report.remainders / f"{row.clip_id}.flac", dtype="float32")
        gain = np.float32(10.0 ** (row.background_gain_db / 20.0))
        expected = data.audio(row.clip_id) - gain * data.audio(row.clip_id, "a")
        np.testing.assert_allclose(remainder, expected, atol=1 / 32_768)
        late = remainder[row.event_frames :]
        assert late.size == 0 or np.abs(late).max() < 0.01


def test_draws_and_a_grid_of_snrs(tiny, tmp_path):
    from bgknown.mixtures.build import build  # noqa: PLC0415
    from bgknown.mixtures.draw import DrawOptions  # noqa: PLC0415
    from bgknown.mixtures.options import BuildOptions  # noqa: PLC0415

    draw = DrawOptions(draws=2, snr_grid_db=(-10.0, 0.0))
    build(tiny.open(), BuildOptions(draw=draw, cache=tiny.root / "cache", jobs=1, limit=2), tmp_path / "set")
    report = make_page(tmp_path / "set")
    rows = read_blocks(report.page)["rows"]
    assert sorted(set(rows["draw"])) == [0, 1]
    assert sorted(set(rows["asked"])) == [-10.0, 0.0]
    assert report.rows == 8


NEW = {
    "group": "g",
    "fsd50k_labels": "Rain,Water",
    "same_class": "1",
    "esc50_licence": "CC-BY-NC-3.0",
    "esc50_uploader": "ann",
    "esc50_title": "a bell",
    "fsd50k_licence": "",
    "fsd50k_uploader": "",
    "fsd50k_title": "",
}
"""Optional columns of a manifest."""


def write_attribution(folder, corpora=("ESC-50", "FSD50K")):
    table = pd.read_csv(folder / "manifest.csv", dtype=str)
    sides = [column for column in table if column.endswith("_file")][:2]
    rows = [
        {
            "corpus": corpus,
            "file": file,
            "source": "7",
            "title": f"{corpus} title",
            "uploader": "bob",
            "licence": "CC0-1.0",
            "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/",
            "url": "https://freesound.org/s/7/",
        }
        for corpus, side in zip(corpora, sides, strict=True)
        for file in sorted(set(table[side]))
    ]
    pd.DataFrame(rows).to_csv(folder / "ATTRIBUTION.csv", index=False)


def test_authors_and_licences(copy, tmp_path):
    edit_manifest(copy, **NEW)
    write_attribution(copy)
    report = make_page(copy, out=tmp_path / "page.html")
    rows = read_blocks(report.page)["rows"]
    clip, recording = rows["clips"][0], rows["recordings"][0]
    assert (clip["title"], clip["uploader"], clip["licence"]) == ("a bell", "ann", "CC-BY-NC-3.0")
    assert (recording["title"], recording["uploader"], recording["licence"]) == ("FSD50K title", "bob", "CC0-1.0")
    assert (recording["labels"], recording["url"]) == ("Rain,Water", "https://freesound.org/s/7/")
    assert rows["same"] == ["1"] * 10
    assert "label" not in rows  # the JAMS were not needed
    sources = len(rows["clips"]) + len(rows["recordings"])
    assert f"Sources by licence: CC0-1.0 {sources}." in report.page.read_text()


def test_a_dataset_made_from_tables(tmp_path):
    build_dataset(tmp_path / "yard", **make_tables(tmp_path / "tables").given())
    edit_manifest(tmp_path / "yard", background_labels="Rain,Water")
    report = make_page(tmp_path / "yard", sample=6)
    rows, text = read_blocks(report.page)["rows"], report.page.read_text()
    assert (report.checks.faults, report.faults) == ((), ())
    assert "<title>BgKnown" in text
    assert "1.5 s each" in text
    assert (rows["duration"], rows["width"]) == ({"all": 1.5}, {"all": [18] * 5})
    clip = rows["clips"][0]
    assert (clip["title"], clip["licence"], clip["uploader"]) == ("bark at noon", "CC0-1.0", "me 0")
    assert {source["labels"] for source in rows["recordings"]} == {"Rain,Water"}
    assert "label" not in rows
    assert all("url" not in source for source in rows["clips"])  # a name such as 7.wav is not a Freesound id here


def test_a_sample_has_all_groups_and_grows():
    names = [f"r{place}" for place in range(60)]
    groups = [("common", "train")] * 50 + [("rare", "test")] * 10
    few, more = (choose_rows(names, groups, count) for count in (4, 20))
    assert {groups[place] for place in few} == set(groups)
    assert set(few) < set(more)
    assert few == sorted(few)
    assert choose_rows(names, groups, None) == list(range(60))
    assert len(choose_rows([f"r{place}" for place in range(4_000)], [0] * 4_000, None)) == 3_000


def test_histograms_count_every_row():
    snr_db, is_test = np.array([-10.0001, 0.0, 0.0, 10.0]), np.array([True, False, True, False])
    bars = count_snr(snr_db, is_test)
    assert (sum(bar.train for bar in bars), sum(bar.test for bar in bars)) == (2, 2)
    assert len(bars) <= 24
    assert next(bar for bar in bars if bar.low_db == 0.0).test == 1
    (only,) = count_snr(np.array([3.0]), np.array([False]))
    assert (only.train, only.low_db <= 3.0 < only.high_db) == (1, True)


def test_a_page_of_pairs(pairs, tmp_path):
    pairs.build(tmp_path / "set")
    report = make_page(tmp_path / "set", jams=pairs.jams, out=tmp_path / "folder")
    rows = read_blocks(report.page)["rows"]
    assert report.page == tmp_path / "folder" / "index.html"
    assert (report.rows, report.remainders, report.checks.faults) == (14, None, ())
    place = rows["id"].index("rain_dev_two")
    assert rows["changes"][place] == [["event_added", "thunder"], ["event_removed", "dog"]]
    first, second = rows["scapes"][place]
    assert [event[0] for event in first["events"]] == ["dog"]
    assert [event[0] for event in second["events"]] == ["thunder"]
    assert second["events"][0][1:] == [0.2, 0.4, 7.0]
    assert (first["backgrounds"], first["duration"], first["level"]) == (["rain"], 1.0, -36.0)
    assert rows["width"] == {"all": [12, 12]}


def test_pairs_without_jams_without_audio_and_with_one_side(pairs, tmp_path):
    pairs.build(tmp_path / "set")
    text = make_page(tmp_path / "set").page.read_text()
    assert "Give the folder of the JAMS" in text
    pairs.build(tmp_path / "texts", source=None)
    report = make_page(tmp_path / "texts", verify=True)
    assert "there is no audio to listen to" in report.page.read_text()
    assert read_blocks(report.page)["page"]["signals"] == []
    with pytest.raises(NotFoundError, match="--jams must be the folder that the set was built from"):
        make_page(tmp_path / "set", jams=tmp_path)
    pairs.build(tmp_path / "wide", bits=32, limit=2)
    assert "Not every browser plays WAV files of 32 bits" in make_page(tmp_path / "wide").page.read_text()
    for path in pairs.jams.rglob("*_s2.jams"):
        path.unlink()
    pairs.build(tmp_path / "one-sided")
    report = make_page(tmp_path / "one-sided", jams=pairs.jams)
    assert report.faults == ()
    assert read_blocks(report.page)["rows"]["scapes"][0][1] is None
