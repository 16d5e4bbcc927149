import logging
import os

import pytest
import soundfile

from bgknown.corpora import esc50, fsd50k, headers
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs import caches
from tests.conftest import RATE_HZ, noise

BOTH = pytest.mark.parametrize("reader", [esc50, fsd50k], ids=["esc50", "fsd50k"])


def index(reader, tiny):
    root = tiny.esc50 if reader is esc50 else tiny.fsd50k
    return reader.index(root, cache=tiny.root / "cache")


def table_of(reader, tiny):
    return tiny.esc50 / "meta/esc50.csv" if reader is esc50 else tiny.fsd50k / "FSD50K.ground_truth/dev.csv"


@BOTH
def test_published_facts_are_next_to_the_reader(reader):
    facts = reader.FACTS
    assert facts.name
    assert facts.licence.startswith("CC")
    assert facts.url.startswith("https://")
    assert "20" in facts.citation
    assert sum(facts.counts.values()) in {2_000, 51_197}


@BOTH
def test_the_index_has_one_row_per_listed_clip(reader, tiny):
    found = index(reader, tiny)
    assert len(found.table) == sum(found.parts.values()) == 10
    assert found.table[found.key].is_unique
    assert set(headers.FACT_COLUMNS) <= set(found.table.columns)
    assert (found.table["problem"] == "").all()
    assert found.problems() == []


@BOTH
def test_the_fingerprints_do_not_depend_on_place_or_time(reader, tiny, tmp_path):
    first = index(reader, tiny)
    tiny.root.rename(tmp_path / "elsewhere")
    tiny.root = tmp_path / "elsewhere"
    for path in tiny.root.rglob("*.wav"):
        os.utime(path, (1, 1))
    second = index(reader, tiny)
    assert first.headers_sha256() == second.headers_sha256()
    assert first.listing_sha256() == second.listing_sha256()


@BOTH
def test_a_smaller_corpus_is_used_with_one_warning(reader, tiny, caplog):
    with caplog.at_level(logging.WARNING):
        index(reader, tiny).warn_of_size()
    assert len(caplog.records) == 1
    assert f"{sum(reader.FACTS.counts.values()) - 10:,} fewer than the published corpus" in caplog.text


@BOTH
@pytest.mark.parametrize("suffix", [".flac", ".ogg"])
def test_files_are_found_by_their_stem(reader, tiny, suffix):
    folder = tiny.esc50 / "audio" if reader is esc50 else tiny.fsd50k / "FSD50K.dev_audio"
    path = sorted(folder.iterdir())[0]
    audio, rate_hz = soundfile.read(path)
    soundfile.write(path.with_suffix(suffix), audio, rate_hz)
    path.unlink()
    found = index(reader, tiny).table
    row = found[found["file"].str.endswith(suffix)].iloc[0]
    assert row["file"].endswith(path.stem + suffix)
    assert row["frames"] == len(audio)


@BOTH
def test_missing_folder_and_wrong_folder_have_different_messages(reader, tiny):
    name = reader.FACTS.name
    with pytest.raises(NotFoundError, match="no such folder; give the folder of " + name):
        reader.index(tiny.root / "nowhere", cache=tiny.root / "cache")
    with pytest.raises(NotFoundError, match=rf"this is not the folder of {name}.*did you mean .*{name}\?"):
        reader.index(tiny.root, cache=tiny.root / "cache")


@BOTH
def test_a_missing_audio_folder_is_one_error(reader, tiny):
    folder = tiny.esc50 / "audio" if reader is esc50 else tiny.fsd50k / "FSD50K.eval_audio"
    folder.rename(tiny.root / "away")
    with pytest.raises(NotFoundError, match="the corpus's audio must be there"):
        index(reader, tiny)


@BOTH
def test_missing_columns_are_named(reader, tiny):
    path = table_of(reader, tiny)
    path.write_text(path.read_text().replace("fold", "FOLD").replace("fname", "FNAME"))
    with pytest.raises(InvalidInputError, match=f"column {'fold' if reader is esc50 else 'fname'} missing"):
        index(reader, tiny)


@BOTH
def test_an_empty_table_is_refused(reader, tiny):
    path = table_of(reader, tiny)
    path.write_text(path.read_text().split("\n")[0] + "\n")
    with pytest.raises(InvalidInputError, match="has no rows"):
        index(reader, tiny)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1-100-A-0.wav,1,", "1-100-A-0.wav,9,", r"line 2: fold is 9; it must be in 1..5"),
        ("1-100-A-0.wav,1,0,", "1-100-A-0.wav,1,77,", r"line 2: target is 77"),
        (
            "1-100-A-0.wav",
            "../1-100-A-0.wav",
            "line 2: filename '../1-100-A-0.wav' leads out of the folder; it must be a plain file name",
        ),
        ("1-101-A-1.wav", "1-100-A-0.wav", "line 3: the clip 1-100-A-0 is listed twice"),
        (",bell,", ",a/b,", "line 2: the label 'a/b' cannot be a folder name"),
    ],
)
def test_bad_values_of_esc50_are_named_with_their_line(tiny, old, new, message):
    path = tiny.esc50 / "meta/esc50.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InvalidInputError, match=message):
        index(esc50, tiny)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("7000,", "../7000,", "line 2: fname '../7000' leads out of the folder; it must be a plain file name"),
        ("7000,", "8000,", "recording 8000 is listed twice; no recording may be in both dev and eval"),
        ("Rain,Water", ",Water", "line 2: the label is empty; give every row a label"),
    ],
)
def test_bad_values_of_fsd50k_are_named(tiny, old, new, message):
    path = tiny.fsd50k / "FSD50K.ground_truth/dev.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InvalidInputError, match=message):
        index(fsd50k, tiny)


def test_listed_but_absent_and_unreadable_files_are_problems(tiny):
    tiny.recording("dev", 7001).unlink()
    tiny.recording("dev", 7002).write_bytes(b"")
    codes = {problem.where: (problem.code, problem.what) for problem in index(fsd50k, tiny).problems()}
    assert codes == {
        "FSD50K.dev_audio/7001.wav": ("missing", "FSD50K: no such file"),
        "FSD50K.dev_audio/7002.wav": ("unreadable", "FSD50K: the file is empty (0 bytes)"),
    }


def test_headers_are_read_once(tiny, monkeypatch):
    first = index(esc50, tiny).table
    monkeypatch.setattr(headers, "read_header", lambda path: pytest.fail(f"{path} read again"))
    assert index(esc50, tiny).table.equals(first)


def test_a_changed_file_is_read_again(tiny):
    index(esc50, tiny)
    soundfile.write(tiny.clip("1-100-A-0"), noise(3.0, 0), RATE_HZ)
    assert index(esc50, tiny).table.set_index("clip_id").loc["1-100-A-0", "frames"] == 3 * RATE_HZ


def test_damaged_cache_is_made_again(tiny):
    first = index(esc50, tiny).table
    for path in (tiny.root / "cache" / "headers").iterdir():
        path.write_bytes(b"\x00\xff nonsense")
    assert index(esc50, tiny).table.equals(first)


def test_a_cache_that_cannot_be_written_is_only_a_warning(tiny, caplog):
    (tiny.root / "cache").write_text("a file is in the way")
    assert len(index(esc50, tiny).table) == 10
    assert "the header cache could not be written" in caplog.text


def test_the_cache_can_be_named_and_deleted(tiny, monkeypatch):
    monkeypatch.setenv("BGKNOWN_CACHE", str(tiny.root / "named"))
    assert headers.default_cache() == tiny.root / "named"
    esc50.index(tiny.esc50, cache=headers.default_cache())
    named = tiny.root / "named"
    (named / "miniature" / ".ESC-50-killed" / "audio").mkdir(parents=True)
    (named / "miniature" / ".ESC-50-killed" / "audio" / "x.wav").touch()
    for name in ("mine.txt", "headers/mine.h", "miniature/painting.jpg"):
        (named / name).write_text("kept")
    assert caches.clear_corpora(named) > 0
    left = [path.relative_to(named).as_posix() for path in named.rglob("*") if path.is_file()]
    assert sorted(left) == ["headers/mine.h", "mine.txt", "miniature/painting.jpg"]
