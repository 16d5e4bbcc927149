import json
import shutil

import pandas as pd
import pytest
import soundfile

from bgknown.apwd import verify as verifying
from bgknown.apwd.scenes import read_published_scenes
from bgknown.apwd.verify import verify
from bgknown.audio.files import RATE_HZ
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.mixtures.verify import verify as verify_bgknown
from tests.bgknown.apwd.conftest import make_pairs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    made = make_pairs(root / "made")
    made.build(root / "set")
    return made, root / "set"


@pytest.fixture
def copy(finished, tmp_path):
    """A finished set that a test may damage, with its pairs."""
    made, out = finished
    shutil.copytree(out, tmp_path / "set")
    return made, tmp_path / "set"


def check(root, **given):
    return verify(root, jobs=1, scenes=read_published_scenes(), **given)


def test_a_sound_set(finished):
    made, out = finished
    checked = check(out, jams=made.jams, source=made.source, against_scaper=9)
    assert (checked.pairs, checked.files, checked.faults, checked.against_scaper) == (14, 28, [], (9, 0))


def change(out, column, value):
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    table.loc[0, column] = value
    table.to_csv(out / "manifest.csv", index=False)


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("text", "add the birds", "manifest.csv: pair rain_dev_added: text is 'add the birds', the JAMS give"),
        ("changes", "event_added:cat", "changes is 'event_added:cat', the JAMS give 'event_added:dog'"),
        ("classes_s2", "", "classes_s2 is '', the JAMS give 'dog'"),
        ("s1_sha256", "0" * 64, "rain_dev_added_s1.wav: sha256 is "),
        ("jams_s1_sha256", "0" * 64, "jams_s1_sha256 is '000"),
        ("scene", "sea", "dataset.json: counts.sea/dev is None, the manifest has 1"),
    ],
)
def test_a_changed_row_is_found(column, value, fault, copy):
    made, out = copy
    change(out, column, value)
    assert any(fault in line for line in check(out, jams=made.jams).faults)


def test_files_that_are_damaged_missing_or_too_many(copy):
    _, out = copy
    paths = sorted(out.rglob("*.wav"))
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-100])
    soundfile.write(paths[2], soundfile.read(paths[2])[0][::2], RATE_HZ // 2, subtype="PCM_16")
    shutil.copy(paths[3], paths[3].with_name("stray.wav"))
    faults = check(out).faults
    names = [path.relative_to(out).as_posix() for path in paths]
    assert f"{names[0]}: No such file or directory" in faults
    assert f"{names[1]}: the file is truncated: its header declares more data than the file contains" in faults
    assert f"{names[2]}: is 22050 Hz with 1 channels; it must be 44100 Hz mono" in faults
    assert any(line.endswith("stray.wav: is in the folder but not in the manifest") for line in faults)
    assert len(faults) == 5  # the third one's sha256 too


def test_a_jams_that_changed_or_went(copy, tmp_path):
    made, out = copy
    jams = tmp_path / "jams"
    shutil.copytree(made.jams, jams)
    path = next(jams.rglob("rain_dev_added_s2.jams"))
    path.write_text(path.read_text() + " ")
    next(jams.rglob("rain_dev_two_s1.jams")).unlink()
    faults = check(out, jams=jams).faults
    assert len(faults) == 2
    assert "jams_s2_sha256" in faults[0]
    assert "rain_dev_two: unreadable: rain_dev_two_s1.jams: No such file or directory" in faults[1]


def test_texts_of_a_table_are_not_held_against_the_templates(finished, tmp_path):
    made, out = finished
    names = pd.read_csv(out / "manifest.csv")["pair"]
    (tmp_path / "texts.csv").write_text("pair,text\n" + "".join(f"{name},do it\n" for name in names))
    made.build(tmp_path / "set", source=None, text_tables=(tmp_path / "texts.csv",))
    assert check(tmp_path / "set", jams=made.jams).faults == []


def test_audio_that_is_not_scapers_is_found(finished, copy, monkeypatch):
    made, out = copy
    path = next(out.rglob("rain_dev_added_s1.wav"))
    pcm, _ = soundfile.read(path, dtype="int16")
    pcm[1000] += 5
    soundfile.write(path, pcm, RATE_HZ, subtype="PCM_16")
    every = {"jams": made.jams, "source": made.source, "against_scaper": 100}
    faults = check(out, **every).faults
    assert any("differs from what Scaper renders by up to 5 steps" in line for line in faults)
    pcm[1000] -= 4
    soundfile.write(path, pcm, RATE_HZ, subtype="PCM_16")
    assert check(out, **every).against_scaper == (28, 1)  # one step is told, and is no fault
    soundfile.write(path, pcm[:-1], RATE_HZ, subtype="PCM_16")
    assert any("has 44,099 samples, Scaper renders 44,100" in line for line in check(out, **every).faults)


def test_the_files_for_scaper_are_drawn_by_the_seed(finished):
    rows = [{"s1": f"{number}a", "s2": f"{number}b"} for number in range(20)]
    first = verifying._choose_files(rows, 5, 0)
    assert len(first) == 5
    assert first == verifying._choose_files(rows, 5, 0)
    assert first != verifying._choose_files(rows, 5, 1)


def test_what_cannot_be_checked(finished, tmp_path):
    _, out = finished
    with pytest.raises(InvalidInputError, match="give --jams and --source"):
        check(out, against_scaper=1)
    with pytest.raises(NotFoundError, match="missing"):
        check(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"name": "BgKnown ESC-50"}))
    with pytest.raises(InvalidInputError, match="describes 'BgKnown ESC-50', not 'APwD pairs'"):
        check(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"name": "APwD pairs", "format": 9}))
    with pytest.raises(InvalidInputError, match="damaged, or not of format 1"):
        check(tmp_path)


def test_the_other_verify_points_here(finished):
    _, out = finished
    with pytest.raises(InvalidInputError, match=r"describes APwD pairs, not BgKnown; `bgknown apwd verify`"):
        verify_bgknown(out, jobs=1)


def test_a_manifest_that_is_damaged(copy):
    _, out = copy
    text = (out / "manifest.csv").read_text()
    (out / "manifest.csv").write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(InvalidInputError, match="line 16: the pair rain_dev_added has two rows"):
        check(out)
    (out / "manifest.csv").write_text("pair\nx\n")
    with pytest.raises(InvalidInputError, match="the set is damaged"):
        check(out)
