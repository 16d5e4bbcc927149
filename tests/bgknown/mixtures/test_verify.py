import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from bgknown.errors import InvalidInputError
from bgknown.jobs.files import hash_bytes
from bgknown.mixtures.verify import verify

CLIP = "1-100-A-0"


@pytest.fixture
def root(built, tmp_path):
    return shutil.copytree(built[1], tmp_path / "copy")


def faults(root):
    return verify(root, jobs=1)[1]


def edit(root, **values):
    """Change the manifest and its hash, so that only what it says can be noticed."""
    table = pd.read_csv(root / "manifest.csv")
    for column, value in values.items():
        table[column] = table[column].astype(object)
        table.loc[table["clip_id"] == CLIP, column] = value
    table.to_csv(root / "manifest.csv", index=False)
    description = json.loads((root / "dataset.json").read_text())
    description["tables_sha256"]["manifest.csv"] = hash_bytes((root / "manifest.csv").read_bytes())
    (root / "dataset.json").write_text(json.dumps(description))


def rewrite(root, name, change):
    """Change a file's samples and enter its new sha256, so that only the measurement can notice."""
    path = root / "audio" / name / f"{CLIP}.wav"
    pcm, rate_hz = soundfile.read(path, dtype="int16")
    soundfile.write(path, change(pcm), rate_hz, subtype="PCM_16")
    edit(root, **{f"{name}_sha256": hash_bytes(path.read_bytes())})


def test_a_good_dataset_has_no_faults(root):
    assert faults(root) == []
    assert verify(root, jobs=2)[1] == []


@pytest.mark.parametrize("name", ["mix", "a", "b", "c"])
def test_one_changed_bit_is_found(root, name):
    path = root / "audio" / name / f"{CLIP}.wav"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    found = faults(root)
    assert len(found) == 1
    assert found[0].startswith(f"audio/{name}/{CLIP}.wav: sha256 is ")


def test_a_missing_and_a_stray_file_are_found(root):
    (root / "audio" / "b" / f"{CLIP}.wav").rename(root / "audio" / "b" / "stray.wav")
    assert faults(root) == [
        f"audio/b/{CLIP}.wav: No such file or directory",
        "audio/b/stray.wav: is in the folder but not in the manifest",
    ]


def test_a_louder_mixture_is_measured(root):
    rewrite(root, "mix", lambda pcm: np.clip(pcm.astype(float) * 1.1, -32767, 32767).astype(np.int16))
    assert any("its SNR measures" in fault and "the manifest says" in fault for fault in faults(root))
    assert any("its SNR measures" in fault and "the recipe asks for" in fault for fault in faults(root))


def test_a_quieter_background_is_measured(root):
    rewrite(root, "a", lambda pcm: (pcm * 0.9).astype(np.int16))
    assert any(f"audio/a/{CLIP}.wav: measures -30.9" in fault for fault in faults(root))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pcm: pcm[:-1], "has 220,499 samples, must have 220,500"),
        (lambda pcm: np.append(pcm[1:], np.int16(-32_768)), r"is clipped \(1 samples"),
    ],
)
def test_a_file_of_the_wrong_length_or_clipped_is_found(root, change, message):
    rewrite(root, "c", change)
    assert any(re.search(message, fault) for fault in faults(root))


def test_another_format_is_found(root):
    path = root / "audio" / "c" / f"{CLIP}.wav"
    soundfile.write(path, np.zeros(100), 16_000)
    assert any(f"audio/c/{CLIP}.wav: is 16000 Hz" in fault for fault in faults(root))


def test_a_wrong_scale_is_found(root):
    edit(root, scale=0.5)
    assert any(f"row {CLIP}: scale is 0.5, but the loudest sample is" in fault for fault in faults(root))


def test_manifest_against_recipe(root):
    edit(root, a_start=17, category="cat")
    found = faults(root)
    assert any(f"manifest.csv: row {CLIP}: a_start is 17, the recipe says" in fault for fault in found)
    assert any(f"manifest.csv: row {CLIP}: category is cat, the recipe says bell" in fault for fault in found)
    assert any(f"jams/{CLIP}.jams: category is bell, the manifest says cat" in fault for fault in found)


def test_an_edit_that_the_recipe_says_nothing_of_is_found(root):
    for name, column in (("ATTRIBUTION.csv", "source"), ("manifest.csv", "fsd50k_labels")):
        table = pd.read_csv(root / name, dtype=str, keep_default_na=False)
        table.loc[0, column] = "other"
        table.to_csv(root / name, index=False, lineterminator="\n")
    found = faults(root)
    assert [fault.split(": sha256")[0] for fault in found] == [
        f"{name}: was edited" for name in ("ATTRIBUTION.csv", "manifest.csv")
    ]
    (root / "ATTRIBUTION.csv").unlink()
    assert "ATTRIBUTION.csv: No such file or directory" in faults(root)


def test_a_dataset_that_does_not_say_the_hashes_of_its_tables_has_no_faults(root):
    description = json.loads((root / "dataset.json").read_text())
    assert set(description.pop("tables_sha256")) == {"recipe.csv", "ATTRIBUTION.csv", "manifest.csv"}
    (root / "dataset.json").write_text(json.dumps(description))
    assert faults(root) == []


def test_rows_that_are_missing_or_strange_are_found(root):
    table = pd.read_csv(root / "manifest.csv")
    table.loc[table["clip_id"] == CLIP, "clip_id"] = "9-9-A-9"
    table.to_csv(root / "manifest.csv", index=False)
    found = faults(root)
    assert f"manifest.csv: the recipe's row {CLIP} is missing" in found
    assert "manifest.csv: row 9-9-A-9 is not in the recipe" in found


def test_a_changed_recipe_is_found(root):
    text = (root / "recipe.csv").read_text()
    (root / "recipe.csv").write_text(text.replace(",-30.0\n", ",-29.0\n", 1))
    assert any("its rows are not those that dataset.json names" in fault for fault in faults(root))
    (root / "recipe.csv").unlink()
    assert any(fault.endswith("recipe.csv: no such file; `bgknown plan` writes a recipe") for fault in faults(root))


def test_wrong_counts_are_found(root):
    description = json.loads((root / "dataset.json").read_text())
    description["counts"]["train"] = 7
    (root / "dataset.json").write_text(json.dumps(description))
    assert faults(root) == ["dataset.json: counts.train is 7, the manifest has 6"]


def test_a_background_in_both_splits_and_a_shared_id_are_found(root):
    table = pd.read_csv(root / "manifest.csv")
    table["fsd50k_file"] = "FSD50K.dev_audio/100.wav"
    table.to_csv(root / "manifest.csv", index=False)
    found = faults(root)
    assert "manifest.csv: the background FSD50K.dev_audio/100.wav is in both splits" in found
    assert f"manifest.csv: row {CLIP}: the background shares the clip's Freesound id 100" in found


def test_a_path_that_leaves_the_dataset_is_refused(root):
    edit(root, mix_file="../../secret.wav")
    with pytest.raises(InvalidInputError, match=r"manifest\.csv, line 2: mix_file '../../secret.wav' leads out of"):
        faults(root)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("scale", "0"),
        ("scale", "abc"),
        ("scale", ""),
        ("scale", "1.5"),
        ("event_frames", "0"),
        ("event_frames", "1000000000"),
        ("event_frames", "-5"),
        ("background_gain_db", "x"),
        ("achieved_snr_db", ""),
        ("snr_db", ""),
        ("fold", "one"),
    ],
)
def test_a_cell_that_makes_no_sense_is_one_line(root, column, value):
    edit(root, **{column: value})
    with pytest.raises(InvalidInputError, match=f"manifest.csv, line 2: {column} is '?{value}"):
        faults(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("configuration"), "configuration is missing"),
        (lambda d: d.pop("counts"), "counts is missing"),
        (lambda d: d.pop("skipped"), "skipped is missing"),
        (lambda d: d.pop("recipe_sha256"), "recipe_sha256 is missing"),
        (lambda d: d.pop("corpora"), "corpora is missing"),
        (lambda d: d.update(skipped=["x"]), r"skipped\.1 is 'x'; it must be a table"),
        (
            lambda d: d["configuration"].update(container="mp3"),
            "configuration.container is 'mp3'; it must be one of",
        ),
    ],
)
def test_a_description_that_lacks_something_is_one_line(root, change, message):
    description = json.loads((root / "dataset.json").read_text())
    change(description)
    (root / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(InvalidInputError, match=f"dataset.json: the dataset is damaged: {message}"):
        faults(root)


def test_another_scaper_or_container_than_described_is_found(root):
    edit(root, scaper_version="9.9")
    assert f"manifest.csv: row {CLIP}: scaper_version is '9.9', must be '1.6.5'" in faults(root)
    description = json.loads((root / "dataset.json").read_text())
    description["configuration"]["container"] = "flac"
    description["counts"]["skipped"] = 5
    (root / "dataset.json").write_text(json.dumps(description))
    found = faults(root)
    assert "dataset.json: counts.skipped is 5, 0 are listed" in found
    assert sum("mix_file is 'audio/mix/" in fault and "flac" in fault for fault in found) == 10


def test_a_reference_b_of_another_row_is_found(root):
    other = root / "audio" / "b" / "1-101-A-1.wav"
    path = root / "audio" / "b" / f"{CLIP}.wav"
    path.write_bytes(other.read_bytes())
    edit(root, b_sha256=hash_bytes(path.read_bytes()))
    assert any(f"audio/b/{CLIP}.wav: its overlap with reference a differs" in fault for fault in faults(root))


def test_saturation_is_found_where_nothing_was_scaled(root):
    rewrite(root, "c", lambda pcm: np.clip(pcm.astype(int) * 30, -32_767, 32_767).astype(np.int16))
    assert f"audio/c/{CLIP}.wav: is clipped (reaches full scale although nothing was scaled)" in faults(root)


def test_duplicate_row_is_found(root):
    table = pd.read_csv(root / "manifest.csv")
    pd.concat([table, table.iloc[:1]]).to_csv(root / "manifest.csv", index=False)
    assert f"manifest.csv: clip {CLIP} has two rows" in faults(root)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sandbox", lambda jams: jams["sandbox"]["bgknown"].update(b_start=1)),
        ("sandbox", lambda jams: jams["sandbox"]["bgknown"].update(scale=0.1)),
        ("event_span", lambda jams: jams["annotations"][0]["data"][1]["value"].update(event_duration=1.0)),
        ("background_span", lambda jams: jams["annotations"][0]["data"][0]["value"].update(source_time=0.5)),
        ("snr_db", lambda jams: jams["annotations"][0]["data"][1]["value"].update(snr=9.0)),
    ],
)
def test_a_jams_that_says_something_else_is_found(root, name, change):
    path = root / "jams" / f"{CLIP}.jams"
    jams = json.loads(path.read_text())
    change(jams)
    path.write_text(json.dumps(jams))
    edit(root, jams_sha256=hash_bytes(path.read_bytes()))
    found = faults(root)
    assert len(found) == 1
    assert found[0].startswith(f"jams/{CLIP}.jams: {name} is ")


def test_a_damaged_jams_is_found(root):
    (root / "jams" / f"{CLIP}.jams").write_text("{}")
    assert any(f"jams/{CLIP}.jams: not the JAMS of such a mixture (KeyError" in fault for fault in faults(root))
