import os
import subprocess
import sys

import filelock
import pytest

from bgknown.apwd.sources.manifest import read_table
from bgknown.apwd.sources.prepare import prepare
from bgknown.errors import BrokenInputError, NotFoundError, StorageError
from tests.bgknown.apwd.made_sources import make_small, options
from tests.conftest import contents, noise, write_wav
from tests.stopping import count, fill_disk_after, stop_when


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A finished tree of the tiny corpora; not to be changed."""
    root = tmp_path_factory.mktemp("prepared")
    corpora = make_small(root / "corpora")
    return corpora, root / "source", prepare(options(corpora, root / "source"))


@pytest.fixture
def small(tmp_path):
    return make_small(tmp_path / "corpora")


def test_a_finished_tree_is_left_alone(small, tmp_path):
    out = tmp_path / "out"
    prepare(options(small, out))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    report = prepare(options(small, out, jobs=2))
    assert (report.prepared, report.kept, report.was_finished) == (0, 10, True)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_finished_tree_that_lost_a_file_says_so(small, tmp_path):
    prepare(options(small, tmp_path / "out"))
    path = tmp_path / "out/dev/background/rain/7000.wav"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageError, match=r"lacks 1 of its files, or they are cut .* dev/background/rain/7000.wav"):
        prepare(options(small, tmp_path / "out"))


def test_other_options_are_refused_in_one_line(small, tmp_path):
    prepare(options(small, tmp_path / "out"))
    with pytest.raises(StorageError, match='style is "apwd" in the folder but "audiodiffcaps" was requested') as caught:
        prepare(options(small, tmp_path / "out", style="audiodiffcaps"))
    assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match="configuration.events.chime is .*selection_sha256"):
        prepare(options(small, tmp_path / "out", events={"chime": "drum"}))


def test_other_options_are_refused_in_an_unfinished_folder_too(small, tmp_path):
    small.recording("dev", 7000).unlink()
    with pytest.raises(BrokenInputError):
        prepare(options(small, tmp_path / "out"))
    with pytest.raises(StorageError, match="style is"):
        prepare(options(small, tmp_path / "out", style="audiodiffcaps"))


def test_a_folder_of_something_else_is_refused(small, tmp_path):
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(StorageError, match="not empty and does not hold unfinished work"):
        prepare(options(small, tmp_path))
    with pytest.raises(StorageError, match="is a file; give a folder"):
        prepare(options(small, tmp_path / "letter.txt"))
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "sources.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StorageError, match=r"holds a sources.csv but no source.json"):
        prepare(options(small, tmp_path / "tables"))


def test_a_locked_folder_is_refused(small, tmp_path):
    (tmp_path / "out" / ".work").mkdir(parents=True)
    with (
        filelock.FileLock(tmp_path / "out" / ".work" / "lock"),
        pytest.raises(StorageError, match="another run is writing there"),
    ):
        prepare(options(small, tmp_path / "out"))


def test_a_tree_that_is_not_finished_cannot_be_read(small, tmp_path):
    small.recording("dev", 7000).unlink()
    with pytest.raises(BrokenInputError):
        prepare(options(small, tmp_path / "out"))
    with pytest.raises(NotFoundError, match="its preparation is not finished"):
        read_table(tmp_path / "out")
    with pytest.raises(NotFoundError, match="not a source tree of bgknown"):
        read_table(tmp_path)


def test_sources_of_rewritten_inputs_are_prepared_again(small, tmp_path, prepared):
    small.recording("dev", 7000).unlink()
    with pytest.raises(BrokenInputError):
        prepare(options(small, tmp_path / "out"))
    path = tmp_path / "out/dev/background/rain/7001.wav"
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    make_small(small.root)
    report = prepare(options(small, tmp_path / "out"))
    assert (report.prepared, report.kept) == (10, 0)  # the corpora were written anew
    assert contents(tmp_path / "out") == contents(prepared[1])


def test_a_file_that_does_not_match_the_journal_is_prepared_again(small, tmp_path):
    small.recording("dev", 7000).unlink()
    with pytest.raises(BrokenInputError):
        prepare(options(small, tmp_path / "out"))
    path = tmp_path / "out/dev/background/rain/7001.wav"
    good = path.read_bytes()
    path.write_bytes(good[:-2] + b"xx")
    report = prepare(options(small, tmp_path / "out", skip_broken=True))
    assert (report.prepared, report.kept) == (1, 8)
    assert path.read_bytes() == good


def test_a_source_replaced_under_the_same_size_and_time_is_prepared_again(small, tmp_path):
    small.recording("dev", 7000).unlink()
    with pytest.raises(BrokenInputError):
        prepare(options(small, tmp_path / "out"))
    path = small.recording("dev", 7001)
    before = path.stat()
    write_wav(path, noise(12.5, 99, 0.3))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    report = prepare(options(small, tmp_path / "out", skip_broken=True))
    assert (report.prepared, report.kept) == (1, 8)
    prepare(options(small, tmp_path / "fresh", skip_broken=True))
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_full_disk_is_one_line_and_the_next_run_resumes(small, tmp_path, monkeypatch, prepared):
    fill_disk_after(monkeypatch, 6)
    with pytest.raises(StorageError, match="the disk is full"):
        prepare(options(small, tmp_path / "out"))
    monkeypatch.undo()
    journal = tmp_path / "out" / ".work" / "journal.jsonl"
    journal.write_text(journal.read_text()[:-30])
    report = prepare(options(small, tmp_path / "out"))
    assert 0 < report.kept < 6
    assert contents(tmp_path / "out") == contents(prepared[1])


def test_too_little_space_is_reported_before_anything_is_written(small, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(StorageError, match="free, the sources need up to 0.0. GB"):
        prepare(options(small, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


PROGRAM = """
import sys
from pathlib import Path
from bgknown.apwd.sources.prepare import PrepareOptions, prepare
fsd50k, esc50, cache, out = map(Path, sys.argv[1:])
prepare(PrepareOptions(fsd50k=fsd50k, esc50=esc50, cache=cache, out=out, jobs=2,
                       backgrounds={"rain": ("Rain",)}, events={"chime": "bell"}))
"""


@pytest.mark.slow
def test_a_preparation_that_is_killed_again_and_again_ends_with_the_same_bytes(prepared, tmp_path):
    corpora, expected, _ = prepared
    out = tmp_path / "out"
    folders = map(str, (corpora.fsd50k, corpora.esc50, corpora.root / "cache", out))
    command = [sys.executable, "-c", PROGRAM, *folders]
    for files in (1, 6, 11):
        stop_when(command, lambda files=files: sum(count(out / split, "*.wav") for split in ("dev", "eval")) >= files)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert contents(out) == contents(expected)
    assert not (out / ".work").exists()
