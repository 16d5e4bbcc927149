"""The loader for soundata, used by the real soundata."""

import importlib.util
import shutil

import numpy as np
import soundata
import soundfile

from bgknown.exports.source import open_source
from tests.bgknown.exports.conftest import export, list_expected


def load(folder, home):
    """The dataset of the exported loader."""
    path = next(folder.glob("*.py"))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Dataset(data_home=str(home))


def test_soundata_reads_equal_values(source, tmp_path, capsys):
    data = load(export(source, tmp_path / "out", "soundata"), source.root)
    assert isinstance(data, soundata.core.Dataset)
    nothing = {"metadata": {}, "clips": {}}
    assert data.validate(verbose=False) == (nothing, nothing)
    expected = list_expected(source)
    assert data.clip_ids == [row[source.key] for row in expected]
    for row, clip in zip(expected, data.load_clips().values(), strict=True):
        assert isinstance(clip, soundata.core.Clip)
        found = {name: getattr(clip, name) for name in row if name != "clip_id"}
        assert {"clip_id": clip.clip_id, **found} == {"clip_id": row[source.key], **row}
        for signal in source.signals:
            samples, rate_hz = getattr(clip, signal)
            original, _ = soundfile.read(source.root / row[f"{signal}_file"], dtype="float32")
            assert rate_hz == 44_100
            assert np.array_equal(samples, original)
        assert clip.to_jams().validate()
        assert "Clip(" in repr(clip)
    data.cite()
    data.license()
    shown = capsys.readouterr().out
    assert "Takeuchi" in shown
    assert "CC BY-NC" in shown


def test_tags_and_events_are_those_of_the_clip(clips, tmp_path):
    source = open_source(clips)
    data = load(export(source, tmp_path / "out", "soundata"), clips)
    for row in list_expected(source):
        clip = data.clip(row["clip_id"])
        assert clip.tags.labels == clip.events.labels == [row["category"]]
        assert clip.events.intervals.tolist() == [[0.0, row["event_frames"] / 44_100]]


def test_changed_and_missing_files_are_found(clips, tmp_path):
    source = open_source(clips)
    folder = export(source, tmp_path / "out", "soundata")
    home = tmp_path / "home"
    shutil.copytree(clips, home)
    (home / "audio" / "a" / "1-100-A-0.wav").unlink()
    (home / "jams" / "4-400-A-0.jams").write_text("{}")
    missing, changed = load(folder, home).validate(verbose=False)
    assert missing["clips"] == {"1-100-A-0": [str(home / "audio" / "a" / "1-100-A-0.wav")]}
    assert changed["clips"] == {"4-400-A-0": [str(home / "jams" / "4-400-A-0.jams")]}
