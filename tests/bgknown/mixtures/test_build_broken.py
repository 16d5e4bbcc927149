import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from bgknown.audio.files import RATE_HZ
from bgknown.errors import BrokenInputError, InvalidInputError, StorageError
from bgknown.mixtures.build import dry_run
from bgknown.mixtures.dataset import open_dataset
from bgknown.mixtures.recipe import CLIP_FRAMES
from tests.conftest import contents, noise, write_wav

CLIPS = [f"{fold}-{100 * fold + target}-A-{target}" for fold in range(1, 6) for target in (0, 1)]


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


def test_skip_broken_leaves_broken_inputs_out_and_counts_them(tiny, tmp_path):
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


def test_a_mixture_that_16_bits_cannot_hold_is_a_broken_row(tiny, tmp_path):
    recipe = pd.read_csv(build_recipe(tiny, tmp_path))
    recipe["ref_db"] = -50.0
    recipe.loc[0, "snr_db"] = -40.0
    recipe.to_csv(tmp_path / "recipe.csv", index=False)
    clip_id = recipe["clip_id"][0]
    with pytest.raises(BrokenInputError, match=f"{clip_id}: snr_not_held: the 16-bit mixture has an SNR of"):
        tiny.build(tmp_path / "out", recipe=tmp_path / "recipe.csv")


def test_skipped_inputs_are_reported_again_and_hinted_at_once_repaired(tiny, tmp_path):
    original = tiny.clip("1-100-A-0").read_bytes()
    damage_zero_bytes(tiny)
    first = tiny.build(tmp_path / "out", skip_broken=True)
    again = tiny.build(tmp_path / "out")
    assert (first.was_finished, again.was_finished) == (False, True)
    assert again.problems == first.problems != []
    tiny.clip("1-100-A-0").write_bytes(original)
    with pytest.raises(StorageError, match="it was made without 1 broken inputs, which may be repaired now"):
        tiny.build(tmp_path / "out")


def test_dry_run_reports_broken_clips(tiny, tmp_path):
    damage_zero_bytes(tiny)
    report = dry_run(tiny.open(), tiny.options(), tmp_path / "out")
    assert [problem.where for problem in report.problems] == ["audio/1-100-A-0.wav"]


def test_nothing_left_to_build_is_an_error(tiny, tmp_path):
    for clip_id in CLIPS:
        tiny.clip(clip_id).write_bytes(b"")
    with pytest.raises(BrokenInputError, match="nothing is left: all 10 rows are broken"):
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
        BrokenInputError,
        match=rf"{row['clip_id']}: quiet_background: .* crop \(a\) is at -\d\d\.\d LUFS, below the minimum of -60",
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
