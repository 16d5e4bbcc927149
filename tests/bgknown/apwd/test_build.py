import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from bgknown.apwd import rendering
from bgknown.apwd.build import PairBuildOptions, describe_pairs
from bgknown.apwd.changes import parse_codes
from bgknown.apwd.scenes import read_published_scenes
from bgknown.apwd.text import UNCHANGED
from bgknown.audio.files import RATE_HZ
from bgknown.errors import BrokenInputError, InvalidInputError, NotFoundError, StorageError
from bgknown.jobs.files import hash_bytes
from bgknown.render import passes, scaper
from tests.bgknown.apwd.conftest import CHANGES, DURATION_S, make_pairs
from tests.bgknown.apwd.reading import read_text
from tests.conftest import contents
from tests.stopping import count, fill_disk_after, stop_when


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Pairs and the set that is built of them; not to be changed."""
    root = tmp_path_factory.mktemp("finished")
    made = make_pairs(root / "made")
    made.build(root / "set")
    return made, root / "set"


def test_the_manifest_says_what_the_jams_say(finished):
    made, out = finished
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    assert list(table["pair"]) == sorted(f"rain_{split}_{name}" for split in ("dev", "eval") for name in CHANGES)
    for row in table.to_dict("records"):
        _, split, name = row["pair"].split("_", 2)
        assert (row["split"], row["scene"], row["changes"]) == (split, "rain", CHANGES[name][0])
        said = read_text(row["text"], read_published_scenes(), ["dog", "thunder", "rain"])
        changes = parse_codes(row["changes"], "row")
        assert {(deed, label) for deed, label, _, _ in said} == {
            (change.kind.partition("_")[2], change.label) for change in changes
        }
        assert row["other_changes"] == ""
        for side, events in zip(("s1", "s2"), CHANGES[name][1:], strict=True):
            assert row[f"classes_{side}"] == ";".join(sorted({label for label, _ in events} - {"rain"}))
            assert row[f"{side}_sha256"] == hash_bytes((out / row[side]).read_bytes())
            assert row[f"jams_{side}_sha256"] == hash_bytes((made.jams / row[f"jams_{side}"]).read_bytes())
            assert row[side] == f"audio/rain/{split}/{row['pair']}_{side}.wav"


def test_the_audio_is_scapers(finished):
    made, out = finished
    for path in sorted(out.rglob("*.wav")):
        jams = next(made.jams.rglob(f"{path.stem}.jams"))
        split = made.source / path.parent.name
        expected = passes.round_to_16_bits(scaper.render_jams(jams, split / "foreground", split / "background"))
        found, rate_hz = soundfile.read(path, dtype="int16")
        np.testing.assert_array_equal(found, expected)
        assert (rate_hz, found.size) == (RATE_HZ, DURATION_S * RATE_HZ)


def test_the_description_holds_no_time_and_no_path(finished):
    made, out = finished
    description = json.loads((out / "dataset.json").read_text())
    assert description["name"] == "APwD pairs"
    assert description["counts"] == {"pairs": 14, "rain/dev": 7, "rain/eval": 7, "skipped": 0}
    assert str(made.root) not in (out / "dataset.json").read_text()


@pytest.mark.parametrize("jobs", [1, 2])
def test_any_number_of_processes_gives_the_same_bytes(jobs, finished, tmp_path):
    made, out = finished
    made.build(tmp_path / "out", jobs=jobs)
    assert contents(tmp_path / "out") == contents(out)


def test_scaper_itself_gives_the_same_audio(finished, tmp_path):
    made, out = finished
    made.build(tmp_path / "out", engine="scaper")
    assert {k: v for k, v in contents(tmp_path / "out").items() if k != "dataset.json"} == {
        k: v for k, v in contents(out).items() if k != "dataset.json"
    }


@pytest.mark.parametrize(("container", "bits", "subtype"), [("wav", 32, "PCM_32"), ("flac", 16, "PCM_16")])
def test_other_forms_hold_the_same_audio(container, bits, subtype, finished, tmp_path):
    made, out = finished
    table = made.build(tmp_path / "out", container=container, bits=bits).table
    for row in table.to_dict("records"):
        path = tmp_path / "out" / row["s1"]
        assert (path.suffix, soundfile.info(path).subtype) == (f".{container}", subtype)
        found = soundfile.read(path, dtype=f"int{bits}")[0]
        reference = soundfile.read((out / row["s1"]).with_suffix(".wav"), dtype="int16")[0]
        rounded = found if bits == 16 else np.minimum((found.astype(np.int64) + 32_768) >> 16, 32_767)
        np.testing.assert_array_equal(rounded, reference)


def test_manifest_only_needs_neither_sources_nor_audio(finished, tmp_path):
    made, out = finished
    report = made.build(tmp_path / "out", source=None)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"manifest.csv", "dataset.json"}
    full = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    columns = ["pair", "split", "scene", "text", "changes", "classes_s1", "classes_s2", "jams_s1", "jams_s1_sha256"]
    pd.testing.assert_frame_equal(report.table[columns], full[columns])
    assert (report.table[["s1", "s2", "s1_sha256"]] == "").all(axis=None)
    pd.testing.assert_frame_equal(describe_pairs(made.options(tmp_path / "x", source=None)), report.table)


def test_texts_of_a_table_replace_the_templates(finished, tmp_path):
    made, _ = finished
    names = [f"rain_{split}_{name}" for split in ("dev", "eval") for name in CHANGES]
    rows = [f"{name},x.wav,y.wav,change {name},please change {name}" for name in names]
    path = tmp_path / "captions.csv"
    path.write_text("\n".join(["key,s1_fn,s2_fn,caption_1,caption_2", *rows]))
    table = made.build(tmp_path / "out", source=None, text_tables=(path,)).table
    assert all(row.text in {f"change {row.pair}", f"please change {row.pair}"} for row in table.itertuples())
    several = pd.read_csv(tmp_path / "out" / "texts.csv")
    assert several.groupby("pair").size().eq(2).all()
    path.write_text("\n".join(["key,s1_fn,s2_fn,caption_1", f"{names[0]},x,y,z"]))
    with pytest.raises(InvalidInputError, match=r"no text for 13 of 14 pairs \(the first: rain_dev_less_rain\)"):
        made.build(tmp_path / "other", source=None, text_tables=(path,))


def test_first_soundscapes_alone_are_rendered(pairs, tmp_path, caplog):
    for path in pairs.jams.rglob("*_s2.jams"):
        path.unlink()
    table = pairs.build(tmp_path / "out").table
    assert (table[["s2", "text", "changes", "classes_s2"]] == "").all(axis=None)
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 14
    assert "no difference" not in caplog.text


def test_pair_without_a_difference_is_reported(pairs, tmp_path, caplog):
    shutil.copy(pairs.jams_of("dev_added", "s1"), pairs.jams_of("dev_added", "s2"))
    table = pairs.build(tmp_path / "out").table.set_index("pair")
    assert table.loc["rain_dev_added", "text"] == UNCHANGED
    assert "1 pairs have no difference that their JAMS show (the first: rain_dev_added)" in caplog.text


def test_clipping_is_reported(pairs, tmp_path, caplog):
    def louder(tree):
        tree["annotations"][0]["sandbox"]["scaper"]["ref_db"] = 5.0

    pairs.change("dev_added", louder)
    pairs.build(tmp_path / "out")
    assert "1 pairs clip" in caplog.text
    found = soundfile.read(next((tmp_path / "out").rglob("rain_dev_added_s1.wav")), dtype="int16")[0]
    assert (found.max(), found.min()) == (32_767, -32_768)  # saturated, not wrapped


def test_a_limit_takes_every_folder(finished, tmp_path):
    made, _ = finished
    table = made.build(tmp_path / "out", limit=4).table
    assert table.groupby("split").size().to_dict() == {"dev": 2, "eval": 2}


def test_a_finished_set_is_left_alone_and_another_one_refused(finished, tmp_path):
    made, out = finished
    copy = tmp_path / "set"
    shutil.copytree(out, copy)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    report = made.build(copy)
    assert (report.was_finished, report.rendered, report.kept) == (True, 0, 14)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    with pytest.raises(StorageError, match="configuration.audio.bits is 16 in the folder but 32 was requested"):
        made.build(copy, bits=32)
    next(copy.rglob("*.wav")).unlink()
    with pytest.raises(StorageError, match="the finished folder lacks 1 of its files"):
        made.build(copy)


@pytest.mark.parametrize("files", [0, 1, 9, 27])
def test_full_disk_is_one_line_and_the_build_resumes(files, finished, tmp_path, monkeypatch):
    made, out = finished
    fill_disk_after(monkeypatch, files)
    with pytest.raises(StorageError, match="the disk is full"):
        made.build(tmp_path / "out")
    monkeypatch.undo()
    assert not (tmp_path / "out" / "manifest.csv").exists()
    report = made.build(tmp_path / "out")
    assert report.kept == files // 2
    assert contents(tmp_path / "out") == contents(out)
    assert not (tmp_path / "out" / ".work").exists()


def test_a_source_that_changed_meanwhile_is_rendered_again(pairs, tmp_path, monkeypatch):
    fill_disk_after(monkeypatch, 20)
    with pytest.raises(StorageError):
        pairs.build(tmp_path / "out")
    monkeypatch.undo()
    for number in range(2):
        path = pairs.source / "dev" / "background" / "rain" / f"rain{number}.wav"
        before, audio = path.stat(), soundfile.read(path)[0][::-1]
        soundfile.write(path, audio, RATE_HZ, subtype="PCM_16")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
    rendering._open_recordings.cache_clear()
    assert pairs.build(tmp_path / "out").kept < 10
    pairs.build(tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.slow
def test_a_build_that_is_killed_again_and_again_ends_with_the_same_bytes(finished, tmp_path):
    made, expected = finished
    out = tmp_path / "out"
    command = [sys.executable, "-m", "bgknown", "apwd", "build", "--jams", str(made.jams)]
    command += ["--source", str(made.source), "--out", str(out), "--jobs", "2"]
    for files in (1, 6, 15):
        stop_when(command, lambda files=files: count(out / "audio", "*.wav") >= files)
    subprocess.run(command, check=True, capture_output=True)
    assert contents(out) == contents(expected)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-50])


def test_broken_pairs_are_listed_together_and_good_ones_kept(pairs, finished, tmp_path):
    truncate(pairs.jams_of("dev_added"))
    pairs.change("dev_removed", lambda tree: tree["annotations"][0]["data"][0]["value"].update(snr="loud"), "s2")
    pairs.change("dev_two", lambda tree: tree["annotations"][0]["sandbox"]["scaper"].update(ref_db=float("nan")))
    path = "../../../etc/dog/dog0.wav"
    pairs.change("eval_two", lambda tree: tree["annotations"][0]["data"][2]["value"].update(source_file=path))
    with pytest.raises(BrokenInputError) as caught:
        pairs.build(tmp_path / "out")
    text = str(caught.value)
    assert "4 inputs are broken:" in text
    assert "rain_dev_added: unreadable: rain_dev_added_s1: not a JAMS file" in text
    assert "rain_dev_removed_s2: annotations[0].data[0].value.snr is 'loud', must be a finite number" in text
    assert "scaper.ref_db is nan, must be a finite number" in text
    assert "it must not leave the source tree" in text
    assert "10 of 14 pairs are kept" in text
    assert not (tmp_path / "out" / "manifest.csv").exists()
    report = pairs.build(tmp_path / "out", skip_broken=True)
    assert (len(report.table), report.kept, len(report.problems)) == (10, 10, 4)
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert description["counts"]["skipped"] == len(description["skipped"]) == 4


def test_broken_sources_are_listed_by_soundscape(pairs, tmp_path):
    (pairs.source / "dev" / "foreground" / "dog" / "dog0.wav").unlink()
    shutil.rmtree(pairs.source / "eval" / "foreground" / "thunder")
    truncate(pairs.source / "eval" / "foreground" / "dog" / "dog0.wav")
    pairs.change("dev_less_rain", lambda tree: tree["annotations"][0]["data"][0]["value"].update(source_time=2.0))
    with pytest.raises(BrokenInputError) as caught:
        pairs.build(tmp_path / "out")
    text = str(caught.value)
    assert "rain_dev_removed_s1: missing: source dev/foreground/dog/dog0.wav: no such file" in text
    assert "rain_eval_two_s2: unknown_label: no folder eval/foreground/thunder for the label 'thunder'" in text
    assert "there are dog, rain" in text
    assert "unreadable: source eval/foreground/dog/dog0.wav: the file is truncated" in text
    assert "dev/background/rain/rain0.wav: samples 88,200 to 132,300 are required, the source has 110,250" in text


def test_nothing_left_to_build(pairs, tmp_path):
    shutil.rmtree(pairs.source / "dev" / "background")
    shutil.rmtree(pairs.source / "eval" / "background")
    with pytest.raises(BrokenInputError, match="nothing is left: all 14 pairs are broken"):
        pairs.build(tmp_path / "out", skip_broken=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jobs": 0}, "jobs is 0"),
        ({"limit": 0}, "the limit is 0"),
        ({"container": "flac", "bits": 32}, "FLAC cannot hold 32 bits"),
    ],
)
def test_options_out_of_range_are_refused(changes, message, tmp_path):
    with pytest.raises(InvalidInputError, match=message):
        PairBuildOptions(jams=tmp_path, out=tmp_path, **changes)


def test_wrong_folders(pairs, tmp_path):
    with pytest.raises(NotFoundError, match=r"not a source tree .*did you mean .*source\?"):
        pairs.build(tmp_path / "out", source=pairs.root)
    with pytest.raises(NotFoundError, match="no such folder"):
        pairs.build(tmp_path / "out", jams=pairs.root / "none")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(StorageError, match="the folder is not empty"):
        pairs.build(tmp_path / "full")
    assert not (tmp_path / "out").exists()
