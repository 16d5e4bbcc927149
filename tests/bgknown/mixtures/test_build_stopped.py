import errno
import os
import re
import shutil
import signal
import subprocess
import sys

import filelock
import pytest

from bgknown.errors import BrokenInputError, StorageError
from bgknown.jobs import files, resumable
from bgknown.mixtures import heard_rows
from bgknown.mixtures.build import dry_run
from bgknown.mixtures.verify import verify
from tests.conftest import contents, noise, write_wav
from tests.stopping import count, stop_when


def test_a_finished_build_is_left_alone(tiny, tmp_path):
    tiny.build(tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    report = tiny.build(tmp_path / "out")
    assert (report.rendered, report.kept) == (0, 10)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.slow
def test_a_build_that_is_killed_again_and_again_ends_with_the_same_bytes(built, tmp_path):
    corpora, expected = built
    out = tmp_path / "out"
    command = [sys.executable, "-m", "bgknown", "build", *corpora.arguments(), "--out", str(out), "--jobs", "2"]
    for rows in (1, 3, 5):
        stop_when(command, lambda rows=rows: count(out / "jams", "*.jams") >= rows)
        assert not (out / "manifest.csv").exists()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert contents(out) == contents(expected)
    assert not (out / ".work").exists()
    assert "10 rendered" not in done.stdout


@pytest.mark.slow
def test_an_interrupt_is_one_line_and_keeps_what_is_done(tmp_path):
    out = tmp_path / "out"
    # 120 rows: a machine that is busy may have done a few more than the first before the signal comes
    command = [sys.executable, "-m", "bgknown", "build", "--miniature", "--out", str(out), "--jobs", "2"]
    status, stderr = stop_when(command, lambda: count(out / "jams", "*.jams") >= 1, by=signal.SIGINT)
    assert status == 130
    assert "interrupted; finished work is kept" in stderr
    assert "Traceback" not in stderr
    assert not (out / "manifest.csv").exists()


def test_a_journal_cut_short_costs_only_its_last_row(built, tmp_path, monkeypatch):
    corpora, expected = built
    stop_after(monkeypatch, 25)
    with pytest.raises(StorageError):
        corpora.build(tmp_path / "out")
    monkeypatch.undo()
    journal = tmp_path / "out" / ".work" / "journal.jsonl"
    journal.write_text(journal.read_text()[:-40])
    report = corpora.build(tmp_path / "out")
    assert 0 < report.kept < 5
    assert contents(tmp_path / "out") == contents(expected)


def stop_after(monkeypatch, calls):
    """Let the disk be full from the n-th flush on."""
    real, count = os.fsync, iter(range(calls))

    def fsync(descriptor):
        if next(count, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)


@pytest.mark.parametrize("calls", [0, 1, 3, 9, 24, 51, 53, 57, 60])
def test_full_disk_leaves_only_whole_files_and_the_build_resumes(built, tmp_path, monkeypatch, calls):
    corpora, expected = built
    out = tmp_path / "out"
    stop_after(monkeypatch, calls)
    with pytest.raises(StorageError, match="the disk is full: free some space and run the same command again"):
        corpora.build(out)
    monkeypatch.undo()
    whole = contents(expected)
    assert all(whole[name] == data for name, data in contents(out).items())
    assert "manifest.csv" not in contents(out)
    corpora.build(out)
    assert contents(out) == whole


def test_too_little_space_is_reported_before_anything_is_rendered(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(StorageError, match=r"0\.00 GB free, the rows need up to 0\.02 GB"):
        tiny.build(tmp_path / "out")
    assert not contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "draw.seed is 0 in the folder but 1 was requested"),
        ({"reference_gain": "source"}, 'reference_gain is "mixture" in the folder but "source" was requested'),
        ({"container": "flac"}, 'container is "wav" in the folder but "flac" was requested'),
        ({"limit": 3}, "limit is null in the folder but 3 was requested"),
    ],
)
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
def test_another_configuration_is_refused(tiny, tmp_path, monkeypatch, changes, message, finished):
    if not finished:
        stop_after(monkeypatch, 12)
        with pytest.raises(StorageError):
            tiny.build(tmp_path / "out")
        monkeypatch.undo()
    else:
        tiny.build(tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(StorageError, match=f"holds another configuration: .*{message}"):
        tiny.build(tmp_path / "out", **changes)
    assert contents(tmp_path / "out") == before


def test_other_corpora_are_another_configuration(tiny, tmp_path):
    tiny.build(tmp_path / "out")
    table = tiny.fsd50k / "FSD50K.ground_truth" / "dev.csv"
    table.write_text("\n".join(table.read_text().split("\n")[:-2]) + "\n")
    with pytest.raises(StorageError, match="corpora.fsd50k.clips.dev is 5 in the folder but 4 was requested"):
        tiny.build(tmp_path / "out")


def test_a_folder_with_other_things_is_refused(tiny, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    with pytest.raises(StorageError, match="not empty and does not hold unfinished work"):
        tiny.build(tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is a file"):
        tiny.build(tmp_path / "file")


def test_a_workspace_that_is_not_ours_is_left_alone(tiny, tmp_path):
    (tmp_path / "out" / ".work").mkdir(parents=True)
    (tmp_path / "out" / ".work" / "notes.txt").write_text("precious")
    with pytest.raises(StorageError, match="not empty and does not hold unfinished work"):
        tiny.build(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / ".work").iterdir()] == ["notes.txt"]


def test_a_build_that_another_overtook_while_it_waited_changes_nothing(built, tiny, tmp_path, monkeypatch):
    """Between the first look at the folder and the lock, another configuration has been finished there."""
    real = filelock.FileLock.acquire

    def overtaken(lock, *arguments, **options):
        monkeypatch.setattr(filelock.FileLock, "acquire", real)
        shutil.copytree(built[1], tmp_path / "out", dirs_exist_ok=True)
        return real(lock, *arguments, **options)

    monkeypatch.setattr(filelock.FileLock, "acquire", overtaken)
    with pytest.raises(StorageError, match="draw.seed is 0 in the folder but 7 was requested"):
        tiny.build(tmp_path / "out", seed=7)
    assert contents(tmp_path / "out") == contents(built[1])
    assert not (tmp_path / "out" / ".work").exists()


@pytest.mark.parametrize("while_heard", [True, False])
def test_a_worker_that_outlives_its_run_can_put_nothing_under_a_final_name(tiny, tmp_path, monkeypatch, while_heard):
    given = []

    def keep(work, items, **_):
        given.extend((work, item) for item in items)
        raise StorageError("stopped")

    options = {} if while_heard else {"limit": 10}  # then rows are made after the draw
    monkeypatch.setattr(resumable, "in_batches", keep)
    with pytest.raises(StorageError, match="stopped"):
        tiny.build(tmp_path / "out", **options)
    monkeypatch.undo()
    tiny.build(tmp_path / "out", **options)
    (tmp_path / "out" / "jams" / "1-100-A-0.jams").unlink()
    work, task = next(
        (work, item)
        for work, item in given
        if "1-100-A-0" in (item.check.starts if while_heard else [item.task.row.clip_id])
    )
    with pytest.raises(StorageError):
        work([task])
    assert not (tmp_path / "out" / ".work").exists()
    assert not (tmp_path / "out" / "jams" / "1-100-A-0.jams").exists()


def test_a_changed_source_or_a_lost_file_is_rendered_again(tiny, tmp_path):
    tiny.clip("5-501-A-1").rename(tiny.root / "away.wav")
    with pytest.raises(BrokenInputError):
        tiny.build(tmp_path / "out")
    (tiny.root / "away.wav").rename(tiny.clip("5-501-A-1"))
    write_wav(tiny.clip("1-100-A-0"), noise(5.0, 99))
    (tmp_path / "out" / "audio" / "c" / "3-300-A-0.wav").unlink()
    report = tiny.build(tmp_path / "out")
    assert (report.rendered, report.kept) == (3, 7)
    tiny.build(tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_row_rendered_over_does_not_count_as_its_older_self(built, tiny, tmp_path):
    """A source is swapped for another and put back, while another row keeps the build from ending."""
    out, broken, swapped = tmp_path / "out", tiny.clip("5-501-A-1"), tiny.clip("1-100-A-0")
    originals = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (broken, swapped)}
    broken.write_bytes(b"")
    with pytest.raises(BrokenInputError):
        tiny.build(out)
    write_wav(swapped, noise(5.0, 99))
    with pytest.raises(BrokenInputError):
        tiny.build(out)
    for path, (data, mtime_ns) in originals.items():
        path.write_bytes(data)
        os.utime(path, ns=(mtime_ns, mtime_ns))
    report = tiny.build(out)
    assert (report.rendered, report.kept) == (2, 8)
    assert verify(out, jobs=1)[1] == []
    assert contents(out) == contents(built[1])


@pytest.mark.parametrize(
    "left", [["lock"], ["lock", "scratch-deadbeef/x"], ["lock", "build.json.part", "journal.jsonl"]]
)
def test_kill_in_the_first_moments_does_no_harm(built, tiny, tmp_path, left):
    for name in left:
        path = tmp_path / "out" / ".work" / name.replace("build.json.part", "scratch-0/.build.json.1.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    tiny.build(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(built[1])
    assert not (tmp_path / "out" / ".work").exists()


def test_a_kill_in_the_last_moment_is_cleaned_up_after(tiny, tmp_path):
    tiny.build(tmp_path / "out")
    (tmp_path / "out" / ".work").mkdir()
    (tmp_path / "out" / ".work" / "lock").touch()
    assert tiny.build(tmp_path / "out").was_finished
    assert not (tmp_path / "out" / ".work").exists()


@pytest.mark.parametrize("name", ["build.json", "plan.json", "journal.jsonl"])
@pytest.mark.parametrize("text", ["3", "{}", "\0[" * 99_999])
def test_a_damaged_workspace_is_made_again(built, tiny, tmp_path, monkeypatch, name, text):
    stop_after(monkeypatch, 12)
    with pytest.raises(StorageError):
        tiny.build(tmp_path / "out")
    monkeypatch.undo()
    (tmp_path / "out" / ".work" / name).write_text(text)
    report = tiny.build(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(built[1])
    assert (report.kept > 0) is (name != "journal.jsonl")


def test_a_journal_line_with_another_value_is_rendered_again(built, tiny, tmp_path, monkeypatch):
    stop_after(monkeypatch, 25)
    with pytest.raises(StorageError):
        tiny.build(tmp_path / "out")
    monkeypatch.undo()
    journal = tmp_path / "out" / ".work" / "journal.jsonl"
    journal.write_text(re.sub(r'"event_frames": \d+', '"event_frames": 1000', journal.read_text(), count=1))
    tiny.build(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(built[1])


def test_work_that_0_1_0_left_unfinished_is_rendered_again(built, tiny, tmp_path, monkeypatch):
    """Its journal has no checksums, and its rows do not round the scale."""

    def stop(*_, **__):
        raise StorageError("stopped")

    monkeypatch.setattr(resumable.Job, "finish", stop)
    with pytest.raises(StorageError):
        tiny.build(tmp_path / "out")
    monkeypatch.undo()
    for name in ("build.json", "plan.json", "journal.jsonl"):
        path = tmp_path / "out" / ".work" / name
        path.write_text(re.sub(r', "check": "[0-9a-f]{16}"', "", path.read_text()))
    report = tiny.build(tmp_path / "out")
    assert (report.rendered, report.kept) == (10, 0)
    assert contents(tmp_path / "out") == contents(built[1])


def test_a_manifest_of_something_else_is_refused(tiny, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.csv").write_text("mine")
    with pytest.raises(StorageError, match="holds a manifest.csv but no dataset.json, so it was not made by bgknown"):
        tiny.build(tmp_path / "out")


def test_a_build_that_fails_before_it_renders_leaves_no_folder(tiny, tmp_path):
    for place in range(4):
        tiny.recording("eval", 8000 + place).unlink()
    with pytest.raises(BrokenInputError, match="no background is left in FSD50K's eval set"):
        tiny.build(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows_of_recordings_that_are_not_used_after_all_are_made_again(tiny, tmp_path, monkeypatch):
    """Refusing a recording changes what other clips draw, whose rows have been made already."""
    write_wav(tiny.recording("dev", 7000), noise(20.0, 7000, peak=1e-5))
    made = []
    real = heard_rows.HeardRows.listen

    def listen(rows, checks):
        made.append(sum(len(check.starts) for check in checks))
        return real(rows, checks)

    monkeypatch.setattr(heard_rows.HeardRows, "listen", listen)
    report = tiny.build(tmp_path / "out")
    assert report.rendered == 10 < sum(made)
    assert tiny.build(tmp_path / "given", recipe=tmp_path / "out" / "recipe.csv").table.equals(report.table)
    audio = {name: data for name, data in contents(tmp_path / "out").items() if name.startswith(("audio", "jams"))}
    assert audio == {name: data for name, data in contents(tmp_path / "given").items() if name in audio}


def test_two_builds_at_once_are_refused(tiny, tmp_path):
    (tmp_path / "out" / ".work").mkdir(parents=True)
    with (
        filelock.FileLock(tmp_path / "out" / ".work" / "lock"),
        pytest.raises(StorageError, match="another run is writing"),
    ):
        tiny.build(tmp_path / "out")


def test_finished_dataset_that_lacks_files_is_reported(tiny, tmp_path):
    tiny.build(tmp_path / "out")
    (tmp_path / "out" / "audio" / "b" / "1-100-A-0.wav").unlink()
    with pytest.raises(
        StorageError, match=r"lacks 1 of its files, or they are cut short \(the first: audio/b/1-100-A-0.wav\)"
    ):
        tiny.build(tmp_path / "out")


def test_a_dry_run_writes_nothing(tiny, tmp_path):
    report = dry_run(tiny.open(), tiny.options(), tmp_path / "out")
    assert len(report.table) == 10
    assert not (tmp_path / "out").exists()
