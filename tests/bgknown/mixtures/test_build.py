import itertools
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from bgknown.audio.files import RATE_HZ, read_pcm16, to_pcm16
from bgknown.mixtures.dataset import open_dataset
from bgknown.mixtures.manifest import MANIFEST_COLUMNS
from bgknown.mixtures.recipe import CLIP_FRAMES
from bgknown.mixtures.selection import take_rows
from bgknown.mixtures.verify import verify
from bgknown.render import scaper
from tests.conftest import contents, noise, write_wav

CLIPS = [f"{fold}-{100 * fold + target}-A-{target}" for fold in range(1, 6) for target in (0, 1)]


def test_the_dataset_is_as_designed(built):
    _, out = built
    data = open_dataset(out)
    assert list(data.table.columns) == MANIFEST_COLUMNS
    assert data.table["clip_id"].tolist() == CLIPS
    assert sorted(path.name for path in out.iterdir()) == [
        "ATTRIBUTION.csv",
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


@pytest.mark.parametrize("loud", ["b", "c"])
def test_one_factor_keeps_all_four_from_clipping(built, tiny, tmp_path, loud):
    """Where a reference is 30 dB louder than (a), which Scaper's own repair of clipping would never see."""
    recipe = pd.read_csv(built[1] / "recipe.csv")
    row = recipe.iloc[0]
    path = tiny.fsd50k / row["fsd50k_file"]
    audio, _ = soundfile.read(path)
    changed = audio * 0.03
    start, inside_a = row[f"{loud}_start"], slice(row["a_start"], row["a_start"] + CLIP_FRAMES)
    changed[start : start + CLIP_FRAMES] = audio[start : start + CLIP_FRAMES]
    changed[inside_a] = audio[inside_a] * 0.03
    write_wav(path, changed, subtype="PCM_24")
    tiny.build(tmp_path / "out", recipe=built[1] / "recipe.csv")
    found = open_dataset(tmp_path / "out").table.loc[row["clip_id"]]
    assert found["scale"] < 0.7
    gain = 10 ** (found["background_gain_db"] / 20) * found["scale"] * 32_768
    stored, _ = soundfile.read(path)
    peaks = {}
    for name in "abc":
        pcm = read_pcm16(tmp_path / "out" / found[f"{name}_file"])
        expected = stored[row[f"{name}_start"] : row[f"{name}_start"] + CLIP_FRAMES] * gain
        assert np.abs(pcm - expected).max() <= 0.51
        peaks[name] = np.abs(pcm.astype(int)).max()
    assert peaks[loud] == 32_767
    assert abs(found["achieved_snr_db"] - found["snr_db"]) < 0.05


def test_every_row_of_a_loud_build_just_reaches_full_scale(tiny, tmp_path):
    tiny.build(tmp_path / "out", ref_db=0.0)
    table = open_dataset(tmp_path / "out").table
    assert (table["scale"] < 1).all()
    for row in table.to_dict("records"):
        pcm = [read_pcm16(tmp_path / "out" / row[f"{name}_file"]).astype(int) for name in ("mix", "a", "b", "c")]
        assert max(np.abs(signal).max() for signal in pcm) == 32_767


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


def test_no_file_contains_a_path_of_this_machine(built):
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


def test_a_limit_takes_as_many_classes_as_it_can():
    rows = [
        {
            "clip_id": f"{split}{category}{number}",
            "category": f"class{category}",
            "split": split,
            "esc50_file": f"audio/{split}{category}{number}.wav",
        }
        for split in ("train", "test")
        for category in range(12)
        for number in range(3)
    ]
    recipe = pd.DataFrame(rows)
    for limit in (2, 6, 12):
        taken = take_rows(recipe, limit)
        assert taken["category"].nunique() == limit
        assert taken["split"].value_counts().tolist() == [limit / 2] * 2
    assert take_rows(recipe, 24).groupby("category")["split"].nunique().eq(2).all()


def test_a_smaller_limit_is_a_part_of_a_larger(built):
    recipe = pd.read_csv(built[1] / "recipe.csv")
    taken = [set(take_rows(recipe, limit)["clip_id"]) for limit in range(1, 12)]
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


def test_the_direct_renderer_gives_scapers_audio(built, tmp_path):
    corpora, expected = built
    corpora.build(tmp_path / "out", engine="direct")
    found, wanted = contents(tmp_path / "out"), contents(expected)
    assert found.keys() == wanted.keys()
    assert all(found[name] == wanted[name] for name in found if name.startswith("audio/"))
    for name in found:
        if name.startswith("jams/"):  # the common factor may differ in its last digit
            there, here = json.loads(wanted[name]), json.loads(found[name])
            assert here["sandbox"]["bgknown"].pop("scale") == pytest.approx(there["sandbox"]["bgknown"].pop("scale"))
            assert here == there
    assert json.loads(found["dataset.json"])["configuration"]["renderer"] == "direct 1.6.5"
    assert verify(tmp_path / "out", jobs=1)[1] == []
