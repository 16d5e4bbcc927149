"""Packing, against reading each file by itself."""

import errno
import hashlib
import json
import os
import sys

import numpy as np
import pytest
import soundfile

from bgknown.audio.files import read_header, read_whole, to_pcm16
from bgknown.errors import BrokenInputError, InvalidInputError, NotFoundError, StorageError
from bgknown.jobs import files, resumable
from pretrain.corpus import open_corpus
from pretrain.pack import PackOptions, pack
from tests.conftest import contents
from tests.stopping import stop_when

NAMES = ("a/one.wav", "a/deep/two.flac", "a/three.ogg", "b/four.mp3", "b/five.WAV", "b/six.wav")


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """Files of all types, at several rates, mono and stereo; and some that are no audio."""
    root = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rate_hz = (16_000, 44_100, 22_050)[number % 3]
        samples = 0.1 * rng.standard_normal((rate_hz * (1 + number) // 4, 1 + number % 2))
        soundfile.write(path, samples, rate_hz, format=path.suffix[1:].upper())
    (root / "a" / "notes.txt").write_text("no audio")
    return root


def run(root, out, *, folders=("a", "b"), jobs=2, **options):
    return pack(PackOptions(audio=tuple(root / folder for folder in folders), out=out, jobs=jobs, **options))


def test_a_corpus_holds_each_file_s_samples_and_hash(audio, tmp_path):
    report = run(audio, tmp_path / "corpus")
    corpus = open_corpus(tmp_path / "corpus")
    assert corpus.files == sorted(NAMES)
    assert (report.clips, report.kept, report.problems) == (6, 0, ())
    assert report.hours == pytest.approx(corpus.lengths.sum() / 16_000 / 3_600, abs=1e-4)
    hashes = [line.rsplit(",", 1)[1] for line in (tmp_path / "corpus" / "index.csv").read_text().splitlines()[1:]]
    for number, name in enumerate(corpus.files):
        expected = to_pcm16(read_whole(audio / name, read_header(audio / name), 16_000, np.float64))
        start, length = corpus.starts[number], corpus.lengths[number]
        assert np.array_equal(corpus.audio[start : start + length], expected)
        assert hashes[number] == hashlib.sha256((audio / name).read_bytes()).hexdigest()


def test_processes_and_repetition_change_nothing(audio, tmp_path, monkeypatch):
    run(audio, tmp_path / "two")
    run(audio, tmp_path / "one", jobs=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not (tmp_path / "one" / ".work").exists()
    before = contents(tmp_path / "one")
    assert run(audio, tmp_path / "one").kept == 6
    assert contents(tmp_path / "one") == before
    monkeypatch.chdir(audio)
    pack(PackOptions(audio=(audio / "b", audio / "a" / "..", audio / "a"), out=tmp_path / "three"))
    assert (tmp_path / "three" / "index.csv").read_bytes() == (tmp_path / "one" / "index.csv").read_bytes()


def test_one_folder_s_names_count_from_it(audio, tmp_path):
    run(audio, tmp_path / "corpus", folders=("a",))
    assert open_corpus(tmp_path / "corpus").files == ["deep/two.flac", "one.wav", "three.ogg"]


def test_patterns_and_samples_choose(audio, tmp_path):
    run(audio, tmp_path / "matched", match=("a/*", "b/s*"))
    assert open_corpus(tmp_path / "matched").files == ["a/deep/two.flac", "a/one.wav", "a/three.ogg", "b/six.wav"]
    for seed in (0, 0, 1):
        run(audio, tmp_path / f"sample{seed}", sample=3, seed=seed)
    chosen = [set(open_corpus(tmp_path / f"sample{seed}").files) for seed in (0, 1)]
    assert all(len(files) == 3 for files in chosen)
    assert chosen[0] != chosen[1]
    run(audio, tmp_path / "larger", sample=4)
    assert chosen[0] < set(open_corpus(tmp_path / "larger").files)


def test_other_rates(audio, tmp_path):
    run(audio, tmp_path / "corpus", rate_hz=8_000)
    corpus = open_corpus(tmp_path / "corpus")
    assert corpus.rate_hz == 8_000
    assert corpus.lengths[corpus.files.index("a/one.wav")] == 2_000


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"folders": ("none",)}, NotFoundError, "none: no such folder"),
        ({"match": ("x*",)}, NotFoundError, "no files that match x*; there are a/deep/two.flac, b/five.WAV, b/six.wav"),
        ({"sample": 7}, InvalidInputError, "--sample 7: there are 6 files"),
        ({"sample": -1}, InvalidInputError, "--sample must be 0 or more"),
        ({"rate_hz": 10}, InvalidInputError, "--rate at least 1,000 Hz"),
        ({"jobs": 0}, InvalidInputError, "jobs is 0"),
    ],
)
def test_refused_options_leave_nothing_behind(audio, tmp_path, options, error, message):
    with pytest.raises(error) as caught:
        run(audio, tmp_path / "corpus", **options)
    assert message in str(caught.value)
    assert not (tmp_path / "corpus").exists()


@pytest.fixture
def broken(audio, tmp_path):
    """The same files, three of them broken."""
    root = tmp_path / "audio"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((audio / name).read_bytes())
    (root / "a" / "one.wav").write_bytes(b"RIFF")
    (root / "b" / "six.wav").write_bytes((root / "b" / "six.wav").read_bytes()[:-999])
    soundfile.write(root / "b" / "five.WAV", np.array([0.0, np.nan]), 16_000, subtype="FLOAT", format="WAV")
    return root


def test_broken_files_are_listed_and_the_others_kept(broken, audio, tmp_path):
    with pytest.raises(BrokenInputError) as caught:
        run(broken, tmp_path / "corpus")
    told = str(caught.value)
    for line in ("a/one.wav: unreadable", "b/six.wav: unreadable", "b/five.WAV: not_finite", "3 of 6 files are kept"):
        assert line in told
    assert not (tmp_path / "corpus" / "index.csv").exists()
    report = run(broken, tmp_path / "corpus", skip_broken=True)
    assert (report.clips, report.kept, len(report.problems)) == (3, 3, 3)
    run(broken, tmp_path / "fresh", skip_broken=True)
    assert contents(tmp_path / "corpus") == contents(tmp_path / "fresh")
    description = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert description["counts"]["broken"] == len(description["skipped"]) == 3


def test_repaired_files_are_packed_in_their_place(broken, audio, tmp_path):
    with pytest.raises(BrokenInputError):
        run(broken, tmp_path / "corpus")
    for name in ("b/five.WAV", "b/six.wav", "a/one.wav"):
        (broken / name).write_bytes((audio / name).read_bytes())
        if name != "a/one.wav":
            with pytest.raises(BrokenInputError):
                run(broken, tmp_path / "corpus")
    run(broken, tmp_path / "corpus")
    run(audio, tmp_path / "whole")
    for name in ("audio.i16", "index.csv"):
        assert (tmp_path / "corpus" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_nothing_whole_is_an_error(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.wav").write_bytes(b"")
    with pytest.raises(BrokenInputError, match="nothing is left: all 1 files are broken"):
        run(tmp_path, tmp_path / "corpus", folders=("audio",), skip_broken=True)


def test_other_folders_and_options_are_refused(audio, tmp_path):
    run(audio, tmp_path / "corpus")
    with pytest.raises(
        StorageError, match="holds another configuration: configuration.sample is 0 in the folder but 2 was requested"
    ):
        run(audio, tmp_path / "corpus", sample=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    with pytest.raises(StorageError, match="not empty and does not hold unfinished work"):
        run(audio, tmp_path / "mine")


@pytest.mark.parametrize("write", [0, 1, 2, 3, 4])
def test_a_full_disk_keeps_what_is_packed(audio, tmp_path, monkeypatch, write):
    monkeypatch.setattr("pretrain.pack_journal.FLUSH", 2)
    calls = []
    whole = files.os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 1 + write:  # the first is of the workspace
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full: free some space and run the same command again"):
        run(audio, tmp_path / "corpus", jobs=1)
    monkeypatch.undo()
    assert not (tmp_path / "corpus" / "index.csv").exists()
    report = run(audio, tmp_path / "corpus")
    assert report.kept == min(6, 2 * write)
    run(audio, tmp_path / "fresh")
    assert contents(tmp_path / "corpus") == contents(tmp_path / "fresh")


def test_run_that_died_between_its_last_two_files_resumes(audio, tmp_path, monkeypatch):
    whole = resumable.write_whole

    def dies(path, *parts, **options):
        if path.name == "index.csv":
            raise StorageError("the power is gone")
        whole(path, *parts, **options)

    monkeypatch.setattr(resumable, "write_whole", dies)
    with pytest.raises(StorageError, match="the power is gone"):
        run(audio, tmp_path / "corpus")
    monkeypatch.undo()
    assert run(audio, tmp_path / "corpus").kept == 6
    run(audio, tmp_path / "fresh")
    assert contents(tmp_path / "corpus") == contents(tmp_path / "fresh")


@pytest.mark.slow
def test_packing_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    for number in range(120):
        samples = 0.1 * rng.standard_normal(4_000 + number)
        soundfile.write(tmp_path / "audio" / f"{number:03}.wav", samples, 22_050)
    run(tmp_path, tmp_path / "whole", folders=("audio",))
    out = tmp_path / "corpus"
    program = (
        "import sys; from pathlib import Path; from pretrain import pack, pack_journal; pack_journal.FLUSH = 5\n"
        "pack.pack(pack.PackOptions(audio=(Path(sys.argv[1]),), out=Path(sys.argv[2]), jobs=2))"
    )
    journal = out / ".work" / "journal.jsonl"
    for lines in (5, 30, 70):
        stop_when(
            [sys.executable, "-c", program, str(tmp_path / "audio"), str(out)],
            lambda lines=lines: journal.is_file() and journal.read_text().count("sha256") >= lines,
        )
    assert run(tmp_path, out, folders=("audio",)).kept >= 30
    assert contents(out) == contents(tmp_path / "whole")


def test_a_folder_is_entered_once_whatever_links_to_it(audio, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "one.wav").write_bytes((audio / "a" / "one.wav").read_bytes())
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "deep" / "up").symlink_to(tmp_path / "in")
    run(tmp_path, tmp_path / "corpus", folders=("in",), jobs=1)
    assert open_corpus(tmp_path / "corpus").files == ["one.wav"]


def test_a_name_that_is_not_utf_8_is_one_line(audio, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.wav")).write_bytes((audio / "a" / "one.wav").read_bytes())
    with pytest.raises(InvalidInputError, match=r"caf\\udce9.wav': the name is not UTF-8; rename the file"):
        run(tmp_path, tmp_path / "corpus", folders=("in",), jobs=1)


def test_a_folder_that_cannot_be_read_is_one_line(audio, tmp_path, monkeypatch):
    whole = os.scandir

    def closed(path="."):
        if str(path).endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(StorageError, match="deep: permission denied"):
        run(audio, tmp_path / "corpus", jobs=1)


def test_a_file_that_was_replaced_since_it_was_packed_is_packed_again(tmp_path):
    rng, paths = np.random.default_rng(1), [tmp_path / "audio" / f"{number}.wav" for number in range(4)]
    paths[0].parent.mkdir()
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(800), 16_000)
    (tmp_path / "audio" / "9.wav").write_bytes(b"broken")
    options = {"folders": ("audio",), "jobs": 1}
    with pytest.raises(BrokenInputError):
        run(tmp_path, tmp_path / "out", **options)
    before = paths[2].stat()
    soundfile.write(paths[2], 0.1 * rng.standard_normal(800), 16_000)
    os.utime(paths[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert paths[2].stat().st_size == before.st_size
    copy = paths[0].read_bytes()  # other bytes would make a difference, another inode does not
    paths[0].unlink()
    paths[0].write_bytes(copy)
    report = run(tmp_path, tmp_path / "out", skip_broken=True, **options)
    assert report.kept == 2
    run(tmp_path, tmp_path / "fresh", skip_broken=True, **options)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
