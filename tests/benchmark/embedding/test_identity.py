"""What makes audio the same: its content; and what only says that its content need not be looked at again."""

import csv
import io
import itertools
import json
import os
import shutil
from dataclasses import replace as replace_field

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from benchmark import record
from benchmark.cli import main
from benchmark.embedding import clips as reading
from benchmark.embedding.clips import Clip
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.embedding.hashes import hash_contents
from benchmark.embedding.store import NEWEST, open_store
from benchmark.embedding.store_index import IndexLine, read_line, write_line
from benchmark.record import warn_of_earlier
from benchmark.results.rows import ResultRow, add_rows
from benchmark.tasks.bgknown import prepare
from benchmark.tasks.contract import TaskOptions
from bgknown.jobs.files import FileState, hash_file, read_state
from tests.benchmark.embedding.test_embed import Bands, loaded, plain
from tests.conftest import noise, write_table, write_wav


def replace(path, seed):
    """Other audio of the same size and time of change."""
    before = path.stat()
    data = noise(soundfile.info(path).frames / 16_000, seed, rate_hz=16_000)
    write_wav(path, data, 16_000)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def unpack_again(folder):
    """The same files as new ones, with other inodes and times."""
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


@pytest.fixture
def clips(tmp_path):
    found = []
    for number in range(6):
        path = tmp_path / "audio" / f"{number}.wav"
        write_wav(path, noise(0.1, number, rate_hz=16_000), 16_000)
        found.append(Clip(path=path))
    return found


@pytest.fixture
def settings(tmp_path):
    return EmbedSettings(cache=tmp_path / "cache", batch_size=4)


def test_audio_replaced_under_the_same_size_and_time_is_embedded_again(clips, settings):
    before = embed_clips(loaded(), clips, settings).copy()
    replace(clips[4].path, seed=99)
    after = embed_clips(loaded(), clips, settings)
    assert np.allclose(after, plain(clips, Bands()), rtol=1e-5)
    assert not np.allclose(after[4], before[4], rtol=1e-3)
    assert np.array_equal(np.delete(after, 4, axis=0), np.delete(before, 4, axis=0))


def test_audio_put_in_place_by_a_rename_is_embedded_again(clips, settings):
    embed_clips(loaded(), clips, settings)
    path, new = clips[3].path, clips[3].path.with_name("new.wav")
    shutil.copy2(path, new)
    replace(new, seed=98)
    new.replace(path)
    assert np.allclose(embed_clips(loaded(), clips, settings), plain(clips, Bands()), rtol=1e-5)


def test_a_corpus_that_was_unpacked_again_is_not_embedded_again(clips, settings, monkeypatch):
    before = embed_clips(loaded(), clips, settings).copy()
    unpack_again(clips[0].path.parent)
    encoder = Bands()
    assert np.array_equal(embed_clips(loaded(encoder), clips, settings), before)
    assert encoder.seen == 1  # the look at one clip
    monkeypatch.setattr("benchmark.embedding.hashes._hash", lambda path: pytest.fail("the new states are known by now"))
    embed_clips(loaded(), clips, settings)


def test_a_corpus_copied_elsewhere_is_hashed_and_not_embedded_again(clips, settings, tmp_path):
    before = embed_clips(loaded(), clips, settings).copy()
    shutil.copytree(tmp_path / "audio", tmp_path / "elsewhere")
    encoder = Bands()
    moved = [Clip(path=tmp_path / "elsewhere" / clip.path.name) for clip in clips]
    assert np.array_equal(embed_clips(loaded(encoder), moved, settings), before)
    assert encoder.seen == 1


def test_where_inodes_and_change_times_say_nothing_the_hash_decides(clips, settings, monkeypatch):
    """As on some network file systems, where each mount or even each look gives others."""
    number = itertools.count(1)

    def unsteady(path):
        state = read_state(path)
        return FileState(size=state.size, mtime_ns=state.mtime_ns, inode=next(number), ctime_ns=next(number))

    monkeypatch.setattr(reading, "read_state", unsteady)
    before = embed_clips(loaded(), clips, settings).copy()
    encoder = Bands()
    assert np.array_equal(embed_clips(loaded(encoder), clips, settings), before)
    assert encoder.seen == 1
    replace(clips[2].path, seed=97)
    assert np.allclose(embed_clips(loaded(), clips, settings), plain(clips, Bands()), rtol=1e-5)


def test_hashes_are_taken_again_only_of_files_that_changed(clips, tmp_path, monkeypatch):
    paths, taken = [clip.path for clip in clips], []
    monkeypatch.setattr("benchmark.embedding.hashes.hash_file", lambda path: taken.append(path.name) or hash_file(path))
    for _ in range(2):
        assert hash_contents(paths, cache=tmp_path / "cache") == [hash_file(path) for path in paths]
    assert len(taken) == len(paths)
    taken.clear()
    replace(paths[5], seed=96)
    assert hash_contents(paths, cache=tmp_path / "cache") == [hash_file(path) for path in paths]
    assert taken == ["5.wav"]
    assert hash_contents([tmp_path / "missing.wav"], cache=tmp_path / "cache") == [""]


@pytest.mark.parametrize(
    "name", ["../../../outside", "/outside", "again-x", f"again-{'0' * 32}/../../..", "\udcff", "again-" + "0" * 33]
)
def test_newest_names_a_folder_of_the_store_or_nothing(tmp_path, name):
    store = open_store(tmp_path / "cache", "a" * 64, 2, {"name": "x"})
    (tmp_path / "outside").mkdir()
    (store.folder / f"again-{'0' * 32}").mkdir()
    text = f"{tmp_path}/outside" if name == "/outside" else name
    (store.folder / NEWEST).write_bytes(text.encode(errors="surrogateescape"))
    again = open_store(tmp_path / "cache", "a" * 64, 2, {"name": "x"})
    assert again.folder == store.folder
    clip, state = Clip(path=tmp_path / "1.wav"), FileState(size=1, mtime_ns=1)
    again.append(np.ones((1, 2), np.float32), [(clip, state, "s")])
    again.close()
    assert list((tmp_path / "outside").iterdir()) == []


def test_newest_may_be_no_link(tmp_path):
    store = open_store(tmp_path / "cache", "a" * 64, 2, {"name": "x"})
    (tmp_path / "outside").mkdir()
    (store.folder / f"again-{'0' * 32}").symlink_to(tmp_path / "outside")
    (store.folder / NEWEST).write_text(f"again-{'0' * 32}")
    assert open_store(tmp_path / "cache", "a" * 64, 2, {"name": "x"}).folder == store.folder


def test_about_of_another_shape_is_listed_and_written_again(tmp_path):
    store = open_store(tmp_path, "a" * 64, 2, {"name": "tones", "precision": "float32", "weights_sha256": ""})
    for text in ("[]", "{}", '{"name": 1}', '{"weights_sha256": []}', "[" * 100_000, "\0"):
        (store.folder / "about.json").write_text(text)
        listed = CliRunner().invoke(main, ["cache", "--cache", str(tmp_path)])
        assert (listed.exit_code, listed.exception) == (0, None)
        open_store(tmp_path, "a" * 64, 2, {"name": "tones"})
        assert json.loads((store.folder / "about.json").read_text()) == {"name": "tones"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A task of eight clips of two tones, and the options of a run."""
    monkeypatch.setattr(record, "find_commit", lambda: "1234567")
    rows = []
    for number in range(8):
        tone = 0.3 * np.sin(2 * np.pi * (400 + 900 * (number % 2) + 10 * number) * np.arange(1_600) / 16_000)
        write_wav(tmp_path / "clips" / f"{number}.wav", tone, 16_000)
        rows.append({"file": f"{number}.wav", "label": "ab"[number % 2], "split": "test" if number > 5 else "train"})
    write_table(tmp_path / "clips" / "clips.csv", rows)
    (tmp_path / "protocol.toml").write_text("seeds = 1\nmax_epochs = 2\nlr = 1e-3\n")

    def run(folder="clips"):
        arguments = ["--encoder", "melpower", "--task", tmp_path / folder / "clips.csv", "--device", "cpu"]
        common = ["--protocol", tmp_path / "protocol.toml", "--cache", tmp_path / "cache", "--out", tmp_path / "out"]
        done = CliRunner().invoke(main, ["run", *map(str, [*arguments, *common])])
        assert done.exit_code == 0, done.output
        return "--again" in done.output  # it says how to measure again what it has kept

    assert not run()
    assert run()
    return run


def test_a_finished_run_is_measured_again_when_its_audio_was_replaced(place, tmp_path):
    path = tmp_path / "clips" / "3.wav"
    before = path.stat()
    path.write_bytes((tmp_path / "clips" / "5.wav").read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not place()
    assert place()


def test_a_finished_run_is_kept_when_its_audio_was_unpacked_again_or_moved(place, tmp_path):
    unpack_again(tmp_path / "clips")
    assert place()
    shutil.rmtree(tmp_path / "cache")  # what remembers hashes is only a shortcut, too
    assert place()
    (tmp_path / "clips").rename(tmp_path / "moved")
    assert place(folder="moved")


@pytest.mark.parametrize("name", ["config.json", "predictions.csv"])
def test_a_run_whose_files_are_damaged_is_measured_again(place, tmp_path, name):
    (path,) = (tmp_path / "out" / "runs").glob(f"*/{name}")
    whole = path.read_bytes()
    for damaged in (whole.replace(b"1", b"0", 1), b"", b"[]", whole[:-20], b"[" * 100_000):
        path.write_bytes(damaged)
        assert not place()
        assert path.read_bytes() != damaged
    assert place()


def test_rows_of_0_1_0_under_the_earlier_id_are_pointed_out_and_kept(built, tmp_path, caplog):
    data = prepare(built[1], TaskOptions(cache=tmp_path))
    manifest = hash_file(built[1] / "manifest.csv")
    row = ResultRow(encoder="x", task="bgknown", setting="mix", metric="accuracy", mean=1.0, protocol="paper")
    add_rows(tmp_path, [replace_field(row, dataset_sha256=manifest)])
    warn_of_earlier(tmp_path, data)
    assert (
        f"1 rows of bgknown were measured with 0.1.0, which gave this dataset another id ({manifest[:8]}" in caplog.text
    )
    caplog.clear()
    add_rows(tmp_path / "new", [replace_field(row, dataset_sha256=data.sha256)])
    warn_of_earlier(tmp_path / "new", data)
    warn_of_earlier(tmp_path / "none", data)
    assert caplog.text == ""


LINE = IndexLine(
    part=f"part-{'0' * 32}.f32",
    row=7,
    crc32=2**32 - 1,
    sha256="e" * 64,
    crop="2.5s at 0.25",
    state=FileState(size=2**40, mtime_ns=-1, inode=2**63, ctime_ns=1),
    path='/a, "b"\\n\n\r\udcff.wav',
)


def test_a_line_of_the_index_comes_back_as_it_was_whatever_the_path():
    data = write_line(LINE)
    assert data.count(b"\n") == 1
    assert read_line(data[:-1]) == LINE


@pytest.mark.parametrize(
    "path", ["/a (1)/x-y_z.wav", "/a,b.wav", '/a"b.wav', "/é ü.wav", "/ a.wav ", "/a'b;c\t.wav", ""]
)
@pytest.mark.parametrize("crop", ["whole", "2.5s at 0.25", "5.0s at 1e-05 of 0123456789abcdef"])
def test_lines_are_csv_whatever_the_path(path, crop):
    data = write_line(replace_field(LINE, path=path, crop=crop))
    content, _, _ = data[:-1].rpartition(b",")
    text = io.StringIO()
    facts = [LINE.part, LINE.row, LINE.crc32, LINE.sha256, crop, *LINE.state.facts(), path]
    csv.writer(text, lineterminator="").writerow(facts)
    assert content == text.getvalue().encode()


def test_no_single_change_of_a_line_gives_another_line():
    data = write_line(LINE)[:-1]
    for place in range(len(data)):
        for other in (bytes([data[place] ^ 1]), b"", b"\0", b",", bytes([data[place]]) * 2):
            changed = data[:place] + other + data[place + 1 :]
            assert changed == data or read_line(changed) is None


@pytest.mark.parametrize(
    ("part", "row", "path", "known"),
    [
        (LINE.part, "0", "/x.wav", True),
        (LINE.part, "0", "/x.FLAC", True),
        (LINE.part, "0", "/x.mp3", False),  # of which 0.1.0 may have read a part
        (LINE.part, "-1", "/x.wav", False),
        (LINE.part, "9" * 5_000, "/x.wav", False),
        (f"../{LINE.part}", "0", "/x.wav", False),
    ],
)
def test_lines_of_0_1_0_are_taken_for_what_they_say_of_content(part, row, path, known):
    line = read_line(f"{part},{row},1,{'e' * 64},whole,9,1,{path},.".encode())
    assert (line is not None) is known
    assert line is None or not line.sure
