import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import filelock
import numpy as np
import pandas as pd
import pytest
import soundfile

from bgknown import files
from bgknown.audio import RATE_HZ, read_pcm16, to_pcm16
from bgknown.build import dry_run, take
from bgknown.dataset import MANIFEST_COLUMNS, open_dataset
from bgknown.errors import BrokenInputError, InvalidInputError, StorageError
from bgknown.recipe import CLIP_FRAMES
from bgknown.render import scaper
from tests.conftest import contents, noise, write_wav

CLIPS = [f"{fold}-{100 * fold + target}-A-{target}" for fold in range(1, 6) for target in (0, 1)]


def test_the_dataset_is_as_designed(built):
    _, out = built
    data = open_dataset(out)
    assert list(data.table.columns) == MANIFEST_COLUMNS
    assert data.table["clip_id"].tolist() == CLIPS
    assert sorted(path.name for path in out.iterdir()) == [
        "audio",
        "dataset.json",
        "jams",
        "manifest.csv",
        "recipe.csv",
    ]
    assert data.description["counts"] == {"rows": 10, "train": 6, "test": 4, "skipped": 0}
    for path in sorted((out / "audio").rglob("*.wav")):
        info = soundfile.info(path)
        assert (info.frames, info.samplerate, info.channels, info.subtype) == (220_500, 44_100, 1, "PCM_16")


def test_the_snr_is_the_recipes_and_is_measured(built):
    table = open_dataset(built[1]).table
    assert (table["achieved_snr_db"] - table["snr_db"]).abs().max() < 0.001
    assert table["snr_db"].between(0, 3).all()
    assert table["snr_db"].nunique() == 10


def test_the_mixture_minus_reference_a_is_the_scaled_clip(built):
    corpora, out = built
    for row in open_dataset(out).table.to_dict("records"):
        mix, a = (read_pcm16(out / row[f"{name}_file"]).astype(int) for name in ("mix", "a"))
        clip, _ = soundfile.read(corpora.esc50 / row["esc50_file"])
        window = np.ones(CLIP_FRAMES)
        window[:441] = np.sin(np.linspace(0, np.pi / 2, 441))
        window[-441:] = window[:441][::-1]
        foreground = clip * window * 10 ** (row["event_gain_db"] / 20) * row["scale"] * 32_768
        assert np.abs(mix - a - foreground).max() <= 1.0 + 1e-3


def test_references_are_the_crops_of_the_recipe(built):
    corpora, out = built
    for row in open_dataset(out).table.to_dict("records"):
        recording, _ = soundfile.read(corpora.fsd50k / row["fsd50k_file"])
        gain = 10 ** (row["background_gain_db"] / 20) * row["scale"] * 32_768
        for name in "abc":
            start = row[f"{name}_start"]
            expected = recording[start : start + CLIP_FRAMES] * gain
            assert np.abs(read_pcm16(out / row[f"{name}_file"]) - expected).max() <= 0.51


def test_scaper_renders_the_jams_to_the_same_mixture(built):
    """With its own file reading, from the original corpora, without anything of this project's mixing."""
    corpora, out = built
    core = scaper.load()
    before = core.np, core.sox
    core.np, core.sox = scaper._NUMPY, scaper._STAND_IN
    try:
        for row in open_dataset(out).table.to_dict("records")[:4]:
            jams = str(out / row["jams_file"])
            roots = {"fg_path": str(corpora.esc50), "bg_path": str(corpora.fsd50k)}
            mixture, _, _, layers = core.generate_from_jams(jams, **roots)
            assert np.array_equal(to_pcm16(mixture[:, 0] * row["scale"]), read_pcm16(out / row["mix_file"]))
            assert np.array_equal(to_pcm16(layers[0][:, 0] * row["scale"]), read_pcm16(out / row["a_file"]))
    finally:
        core.np, core.sox = before


def test_one_factor_keeps_all_four_from_clipping(tiny, tmp_path):
    for part, first in (("dev", 7000), ("eval", 8000)):
        for place in range(4):  # 30 dB louder outside the only quiet ten seconds
            path = tiny.recording(part, first + place)
            audio, _ = soundfile.read(path)
            audio[::2] *= 0.02
            audio[: 5 * RATE_HZ] *= 0.03
            write_wav(path, audio)
    tiny.build(tmp_path / "out", ref_db=-12.0)
    table = open_dataset(tmp_path / "out").table
    assert (table["scale"] < 1).any()
    for row in table.to_dict("records"):
        peaks = {
            name: np.abs(read_pcm16(tmp_path / "out" / row[f"{name}_file"]).astype(int)).max()
            for name in ("mix", "a", "b", "c")
        }
        assert max(peaks.values()) <= 32_767
        if row["scale"] < 1:
            assert max(peaks.values()) == 32_767
    assert (table["achieved_snr_db"] - table["snr_db"]).abs().max() < 0.05


def test_reference_gain_source_leaves_references_as_they_are(tiny, tmp_path):
    tiny.build(tmp_path / "out", reference_gain="source")
    for row in open_dataset(tmp_path / "out").table.to_dict("records"):
        recording, _ = soundfile.read(tiny.fsd50k / row["fsd50k_file"], dtype="int16")
        a = read_pcm16(tmp_path / "out" / row["a_file"])
        expected = recording[row["a_start"] : row["a_start"] + CLIP_FRAMES] * row["scale"]
        assert np.abs(a - expected).max() <= 0.51
        assert abs(row["achieved_snr_db"] - row["snr_db"]) < 0.001


def test_flac_holds_the_same_samples(built, tmp_path):
    corpora, wav = built
    corpora.build(tmp_path / "flac", container="flac")
    for row in open_dataset(tmp_path / "flac").table.to_dict("records"):
        assert row["mix_file"].endswith(".flac")
        assert np.array_equal(
            read_pcm16(tmp_path / "flac" / row["c_file"]), read_pcm16(wav / row["c_file"].replace(".flac", ".wav"))
        )


def test_two_processes_give_the_bytes_of_one(built, tmp_path):
    corpora, one = built
    corpora.build(tmp_path / "two", jobs=2)
    assert contents(tmp_path / "two") == contents(one)


def test_the_same_corpora_elsewhere_give_the_same_bytes(built, tmp_path):
    corpora, here = built
    shutil.copytree(corpora.root, tmp_path / "copied")
    for path in (tmp_path / "copied").rglob("*.wav"):
        os.utime(path, (1, 1))
    elsewhere = type(corpora)(tmp_path / "copied")
    elsewhere.build(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(here)


def test_no_place_of_this_machine_is_in_any_file(built):
    corpora, out = built
    for name, data in contents(out).items():
        assert str(corpora.root.parent).encode() not in data, name
        assert os.uname().nodename.encode() not in data, name


def test_a_recipe_rebuilds_the_same_audio_and_manifest(built, tmp_path):
    corpora, out = built
    corpora.build(tmp_path / "again", recipe=out / "recipe.csv")
    first, second = contents(out), contents(tmp_path / "again")
    assert {name for name in first if first[name] != second[name]} == {"dataset.json"}
    assert json.loads(second["dataset.json"])["draw"] is None


def test_limit_takes_rows_of_the_whole_recipe_from_both_splits(built, tmp_path):
    corpora, out = built
    corpora.build(tmp_path / "some", limit=4)
    some, whole = (pd.read_csv(folder / "manifest.csv") for folder in (tmp_path / "some", out))
    assert set(some["split"]) == {"train", "test"}
    assert set(some["category"]) == {"bell", "drum"}
    assert some.merge(whole).shape == some.shape == (4, len(MANIFEST_COLUMNS))


def test_a_smaller_limit_is_a_part_of_a_larger(built):
    recipe = pd.read_csv(built[1] / "recipe.csv")
    taken = [set(take(recipe, limit)["clip_id"]) for limit in range(1, 12)]
    assert [len(rows) for rows in taken] == [*range(1, 11), 10]
    assert all(small <= large for small, large in itertools.pairwise(taken))


@pytest.mark.parametrize(("duration_s", "frames"), [(3.6, 158_760), (7.2, 220_500), (0.2, 8_820)])
def test_clips_of_any_length_give_five_seconds(tiny, tmp_path, duration_s, frames):
    write_wav(tiny.clip("1-100-A-0"), noise(duration_s, 0))
    tiny.build(tmp_path / "out")
    row = open_dataset(tmp_path / "out").table.loc["1-100-A-0"]
    mix, a = (read_pcm16(tmp_path / "out" / row[f"{name}_file"]).astype(int) for name in ("mix", "a"))
    assert mix.size == CLIP_FRAMES
    assert row["event_frames"] == frames
    assert abs(row["achieved_snr_db"] - row["snr_db"]) < 0.05
    assert not (mix - a)[frames:].any()


def test_other_rates_and_stereo_are_converted(tiny, tmp_path):
    audio = noise(16.0, 5, 0.3, rate_hz=48_000)
    write_wav(tiny.recording("dev", 7000), np.stack([audio, audio], axis=1), 48_000)
    write_wav(tiny.clip("1-100-A-0"), noise(5.0, 6, 0.3, rate_hz=16_000), 16_000)
    tiny.build(tmp_path / "out")
    table = open_dataset(tmp_path / "out").table
    assert "FSD50K.dev_audio/7000.wav" in set(table["fsd50k_file"])
    assert (table["achieved_snr_db"] - table["snr_db"]).abs().max() < 0.05


def test_silent_stretches_of_a_background_are_avoided(tiny, tmp_path):
    for place in range(4):
        audio, _ = soundfile.read(tiny.recording("dev", 7000 + place))
        audio[: 6 * RATE_HZ] = 0
        write_wav(tiny.recording("dev", 7000 + place), audio)
    tiny.build(tmp_path / "out")
    table = open_dataset(tmp_path / "out").table
    assert (table[table["split"] == "train"]["a_start"] > RATE_HZ).all()


# --- stopping and going on ---


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
    for rows in (1, 4, 8):
        process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        wait_for_rows(process, out, rows)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "manifest.csv").exists()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert contents(out) == contents(expected)
    assert not (out / ".work").exists()
    assert "10 rendered" not in done.stdout


def wait_for_rows(process, out, rows):
    for _ in range(600):
        if len(list(out.glob("jams/*.jams"))) >= rows or process.poll() is not None:
            return
        time.sleep(0.05)


@pytest.mark.slow
def test_an_interrupt_is_one_line_and_keeps_what_is_done(tiny, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "bgknown", "build", *tiny.arguments(), "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_rows(process, out, 1)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; what is finished is kept" in stderr
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
def test_a_full_disk_leaves_only_whole_files_and_the_build_goes_on(built, tmp_path, monkeypatch, calls):
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


def test_too_little_space_is_said_before_anything_is_rendered(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(StorageError, match=r"0\.00 GB free, 10 rows need 0\.02 GB"):
        tiny.build(tmp_path / "out")
    assert not contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "draw.seed is 0 there and 1 here"),
        ({"reference_gain": "source"}, 'reference_gain is "mixture" there and "source" here'),
        ({"container": "flac"}, 'container is "wav" there and "flac" here'),
        ({"limit": 3}, "limit is null there and 3 here"),
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
    with pytest.raises(StorageError, match="corpora.fsd50k.clips.dev is 5 there and 4 here"):
        tiny.build(tmp_path / "out")


def test_a_folder_with_other_things_is_refused(tiny, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    with pytest.raises(StorageError, match="not empty and holds no unfinished build"):
        tiny.build(tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is a file"):
        tiny.build(tmp_path / "file")


def test_two_builds_at_once_are_refused(tiny, tmp_path):
    (tmp_path / "out" / ".work").mkdir(parents=True)
    with (
        filelock.FileLock(tmp_path / "out" / ".work" / "lock"),
        pytest.raises(StorageError, match="another build is writing"),
    ):
        tiny.build(tmp_path / "out")


def test_a_finished_dataset_that_lacks_files_is_said_so(tiny, tmp_path):
    tiny.build(tmp_path / "out")
    (tmp_path / "out" / "audio" / "b" / "1-100-A-0.wav").unlink()
    with pytest.raises(StorageError, match=r"lacks 1 of its files \(the first: audio/b/1-100-A-0.wav\)"):
        tiny.build(tmp_path / "out")


def test_a_dry_run_writes_nothing(tiny, tmp_path):
    report = dry_run(tiny.open(), tiny.options(), tmp_path / "out")
    assert len(report.table) == 10
    assert not (tmp_path / "out").exists()


# --- broken inputs ---


def damage_silent(tiny):
    write_wav(tiny.clip("1-100-A-0"), np.zeros(5 * RATE_HZ))


def damage_nan(tiny):
    audio = noise(5.0, 0)
    audio[1234] = np.nan
    write_wav(tiny.clip("1-100-A-0"), audio, subtype="FLOAT")


def damage_inf(tiny):
    audio = noise(5.0, 0)
    audio[7] = -np.inf
    write_wav(tiny.clip("1-100-A-0"), audio, subtype="FLOAT")


def damage_truncated(tiny):
    data = tiny.clip("1-100-A-0").read_bytes()
    tiny.clip("1-100-A-0").write_bytes(data[: len(data) // 2])


def damage_zero_bytes(tiny):
    tiny.clip("1-100-A-0").write_bytes(b"")


def damage_absent(tiny):
    tiny.clip("1-100-A-0").unlink()


def damage_no_audio(tiny):
    tiny.clip("1-100-A-0").write_text("this is no audio file")


def damage_too_short(tiny):
    write_wav(tiny.clip("1-100-A-0"), noise(0.015, 0))


DAMAGES = {
    damage_silent: ("snr_undefined", "the clip is silent"),
    damage_nan: ("not_finite", "NaN or infinite samples: 1, the first at sample 1234"),
    damage_inf: ("not_finite", "the first at sample 7"),
    damage_truncated: ("unreadable", "truncated"),
    damage_zero_bytes: ("unreadable", "0 bytes"),
    damage_absent: ("missing", "no such file"),
    damage_no_audio: ("unreadable", "not readable as audio"),
    damage_too_short: ("too_short", "has 662 samples, at least 882"),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_broken_clip_is_named_and_the_other_rows_are_kept(built, tiny, tmp_path, damage):
    original = tiny.clip("1-100-A-0").read_bytes()
    damage(tiny)
    code, words = DAMAGES[damage]
    with pytest.raises(
        BrokenInputError, match=rf"(?s)1 input is broken:\n  1-100-A-0: {code}: .*{words}.*9 of 10 rows are kept"
    ):
        tiny.build(tmp_path / "out")
    kept = contents(tmp_path / "out")
    assert len(kept) == 9 * 5
    assert not [name for name in kept if "1-100-A-0" in name or name == "manifest.csv"]
    tiny.clip("1-100-A-0").write_bytes(original)
    report = tiny.build(tmp_path / "out")
    assert (report.rendered, report.kept) == (1, 9)
    assert contents(tmp_path / "out") == contents(built[1])


def test_skip_broken_goes_on_and_counts(tiny, tmp_path):
    damage_silent(tiny)
    damage_other = tiny.clip("5-501-A-1")
    damage_other.unlink()
    with pytest.raises(BrokenInputError, match="2 inputs are broken"):
        tiny.build(tmp_path / "out")
    report = tiny.build(tmp_path / "out", skip_broken=True)
    assert (report.rendered, report.kept) == (0, 8)
    description = open_dataset(tmp_path / "out").description
    assert description["counts"] == {"rows": 8, "train": 5, "test": 3, "skipped": 2}
    assert [(problem["where"], problem["code"]) for problem in description["skipped"]] == [
        ("1-100-A-0", "snr_undefined"),
        ("5-501-A-1", "missing"),
    ]
    assert len(pd.read_csv(tmp_path / "out" / "recipe.csv")) == 10
    assert tiny.build(tmp_path / "out", skip_broken=True).kept == 8


def test_nothing_left_to_build_is_an_error(tiny, tmp_path):
    for clip_id in CLIPS:
        tiny.clip(clip_id).write_bytes(b"")
    with pytest.raises(BrokenInputError, match="nothing is left to build: all 10 rows are broken"):
        tiny.build(tmp_path / "out", skip_broken=True)
    assert not contents(tmp_path / "out")


@pytest.mark.parametrize("kind", ["absent", "empty", "nan"])
def test_a_broken_recording_is_named_and_left_out_of_the_draw(built, tiny, tmp_path, kind):
    path = tiny.recording("eval", 8002)
    original, stamp = path.read_bytes(), path.stat()
    if kind == "absent":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        audio, _ = soundfile.read(path)
        audio[:] = np.nan
        write_wav(path, audio, subtype="FLOAT")
    code = {"absent": "missing", "empty": "unreadable", "nan": "not_finite"}[kind]
    with pytest.raises(
        BrokenInputError, match=f"(?s)FSD50K.eval_audio/8002.wav: {code}: FSD50K.*10 of 10 rows are kept"
    ):
        tiny.build(tmp_path / "out")
    assert "manifest.csv" not in contents(tmp_path / "out")
    path.write_bytes(original)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    report = tiny.build(tmp_path / "out")
    assert report.kept >= 6
    assert contents(tmp_path / "out") == contents(built[1])


def test_nan_in_reference_c_only_is_found_when_the_row_is_built(tiny, tmp_path):
    recipe = pd.read_csv(build_recipe(tiny, tmp_path))
    row = recipe.iloc[0]
    path = tiny.fsd50k / row["fsd50k_file"]
    audio, _ = soundfile.read(path)
    audio[row["c_start"] + 10] = np.nan
    write_wav(path, audio, subtype="FLOAT")
    with pytest.raises(BrokenInputError, match=f"{row['clip_id']}: not_finite: FSD50K {row['fsd50k_file']}"):
        tiny.build(tmp_path / "out", recipe=tmp_path / "recipe.csv")


def build_recipe(tiny, folder):
    tiny.build(folder / "first")
    return shutil.copy(folder / "first" / "recipe.csv", folder / "recipe.csv")


def test_a_recipe_with_a_quiet_crop_is_refused_by_row(tiny, tmp_path):
    recipe = pd.read_csv(build_recipe(tiny, tmp_path))
    row = recipe.iloc[3]
    path = tiny.fsd50k / row["fsd50k_file"]
    audio, _ = soundfile.read(path)
    audio[row["a_start"] : row["a_start"] + CLIP_FRAMES] *= 1e-4
    write_wav(path, audio, subtype="PCM_24")
    with pytest.raises(
        BrokenInputError, match=rf"{row['clip_id']}: quiet_background: .* crop \(a\) has -\d\d\.\d LUFS, at least -60"
    ):
        tiny.build(tmp_path / "out", recipe=tmp_path / "recipe.csv")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("c_start", 10**7, "goes beyond"), ("fsd50k_file", "../x/7000.wav", "leaves the corpus")],
)
def test_a_recipe_that_breaks_a_rule_builds_nothing(tiny, tmp_path, column, value, message):
    recipe = pd.read_csv(build_recipe(tiny, tmp_path))
    recipe.loc[2, column] = value
    recipe.to_csv(tmp_path / "recipe.csv", index=False)
    with pytest.raises(InvalidInputError, match=message):
        tiny.build(tmp_path / "out", recipe=tmp_path / "recipe.csv")
    assert not (tmp_path / "out").exists()
