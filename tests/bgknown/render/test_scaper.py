import importlib.metadata
import json
import logging
import warnings

import jams
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown.audio.files import RATE_HZ
from bgknown.audio.sources import SourceStore
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.render import scaper
from bgknown.render.layers import Slice
from bgknown.soundscape import Layer, Soundscape, find_exact_seconds
from tests.conftest import noise, write_wav


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A tree as Scaper wants it, for Scaper's own file reading."""
    root = tmp_path_factory.mktemp("sources")
    write_wav(root / "bg" / "Rain" / "bg.wav", noise(13.0, 1, 0.9))
    for name, duration_s in {"long": 6.5, "exact": 5.0, "short": 3.6, "tiny": 0.3}.items():
        write_wav(root / "fg" / "bell" / f"{name}.wav", noise(duration_s, len(name), 0.4))
    return root


def through_scapers_own_files(sources, row):
    """The same soundscape by Scaper with nothing replaced but what it needs to run here at all."""
    core = scaper.load()
    before = core.np, core.sox
    core.np, core.sox = scaper._NUMPY, scaper._STAND_IN
    try:
        scape = core.Scaper(5.0, str(sources / "fg"), str(sources / "bg"), random_state=0)
        scape.ref_db = row["ref_db"]
        background_s, _ = find_exact_seconds(row["start"], 5 * RATE_HZ)
        bg, fg = sources / "bg/Rain/bg.wav", sources / f"fg/bell/{row['clip']}.wav"
        scape.add_background(("const", "Rain"), ("const", str(bg)), ("const", background_s))
        duration_s = min(5.0, soundfile.info(fg).duration)
        scape.add_event(
            ("const", "bell"),
            ("const", str(fg)),
            ("const", 0.0),
            ("const", 0.0),
            ("const", duration_s),
            ("const", row["snr"]),
            None,
            None,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mixture, _, _, layers = scape.generate()
    finally:
        core.np, core.sox = before
    return mixture[:, 0], [layer[:, 0] for layer in layers]


def through_memory(sources, row, folder, background_label="Rain"):
    store = SourceStore()
    bg, fg = store.open(sources / "bg/Rain/bg.wav"), store.open(sources / f"fg/bell/{row['clip']}.wav")
    frames = min(fg.frames, 5 * RATE_HZ)
    bg_s, bg_duration_s = find_exact_seconds(row["start"], 5 * RATE_HZ)
    fg_s, fg_duration_s = find_exact_seconds(0, frames)
    soundscape = Soundscape(
        name="x",
        duration_s=5.0,
        ref_db=row["ref_db"],
        backgrounds=(Layer(label=background_label, file="bg/bg.wav", source_time_s=bg_s, duration_s=bg_duration_s),),
        events=(Layer(label="bell", file="fg.wav", source_time_s=fg_s, duration_s=fg_duration_s, snr_db=row["snr"]),),
    )
    slices = [
        Slice(start=row["start"], audio=bg.read(row["start"], row["start"] + 5 * RATE_HZ)[0], source_frames=bg.frames),
        Slice(start=0, audio=fg.read(0, frames)[0], source_frames=fg.frames),
    ]
    return scaper.render(soundscape, slices, folder)


@given(
    clip=st.sampled_from(["long", "exact", "short", "tiny"]),
    start=st.integers(0, 8 * RATE_HZ - 1),
    snr=st.floats(-10, 30),
    ref_db=st.floats(-50, -10),
)
@settings(max_examples=25, deadline=None)
def test_the_audio_is_that_of_scapers_own_file_reading(sources, tmp_path_factory, clip, start, snr, ref_db):
    row = {"clip": clip, "start": start, "snr": snr, "ref_db": ref_db}
    expected, expected_layers = through_scapers_own_files(sources, row)
    found = through_memory(sources, row, tmp_path_factory.mktemp("trees"))
    assert np.array_equal(found.mixture, expected)
    assert all(np.array_equal(ours, its) for ours, its in zip(found.layers, expected_layers, strict=True))


def test_the_last_sample_of_a_recording_is_reached(sources, tmp_path):
    row = {"clip": "exact", "start": 8 * RATE_HZ, "snr": 1.0, "ref_db": -30.0}
    found = through_memory(sources, row, tmp_path)
    audio, _ = soundfile.read(sources / "bg/Rain/bg.wav")
    crop = audio[8 * RATE_HZ :]
    assert found.layers[0].size == crop.size == 5 * RATE_HZ
    gain = np.abs(found.layers[0]).max() / np.abs(crop).max()
    assert np.allclose(found.layers[0], crop * gain, rtol=1e-12, atol=0)


def test_jams_is_valid_and_contains_no_path_of_this_machine(sources, tmp_path):
    found = through_memory(sources, {"clip": "short", "start": 12_345, "snr": 2.0, "ref_db": -30.0}, tmp_path)
    text = json.dumps(found.jams)
    assert str(tmp_path) not in text
    (tmp_path / "x.jams").write_text(text)
    jam = jams.load(str(tmp_path / "x.jams"), validate=True, strict=True)
    background, event = jam.annotations[0].data
    assert background.value["source_file"] == "bg/bg.wav"
    assert int(background.value["source_time"] * RATE_HZ) == 12_345
    assert event.value["snr"] == 2.0
    assert event.duration == pytest.approx(3.6)


def test_labels_of_one_soundscape_do_not_reach_another(sources, tmp_path):
    row = {"clip": "short", "start": 0, "snr": 0.0, "ref_db": -30.0}
    (tmp_path / "trees").mkdir()
    scaper._make_tree(
        [Layer(label="other", file="x", source_time_s=0.0, duration_s=1.0)], tmp_path / "trees", "foreground"
    )
    found = through_memory(sources, row, tmp_path / "trees")
    assert found.jams["annotations"][0]["sandbox"]["scaper"]["fg_labels"] == ["bell"]


@pytest.mark.parametrize("start", [0, 12_345])
def test_a_background_may_have_the_label_of_the_event(sources, tmp_path, start):
    row = {"clip": "exact", "start": start, "snr": 2.0, "ref_db": -30.0}
    apart = through_memory(sources, row, tmp_path)
    alike = through_memory(sources, row, tmp_path, background_label="bell")
    assert not np.array_equal(apart.layers[0], apart.layers[1])
    assert np.array_equal(alike.mixture, apart.mixture)
    assert all(np.array_equal(one, other) for one, other in zip(alike.layers, apart.layers, strict=True))
    files = [row["value"]["source_file"] for row in alike.jams["annotations"][0]["data"]]
    assert sorted(files) == ["bg/bg.wav", "fg.wav"]


def test_the_logging_level_and_scapers_modules_are_given_back(sources, tmp_path):
    core = scaper.load()
    before = core.np, core.sox, core.soundfile
    level = logging.getLogger().level
    through_memory(sources, {"clip": "short", "start": 0, "snr": 0.0, "ref_db": -30.0}, tmp_path)
    assert (core.np, core.sox, core.soundfile) == before
    assert logging.getLogger().level == level


def test_a_changed_event_is_an_error_not_a_warning(tmp_path):
    audio = noise(5.0, 0)
    layer = Layer(label="bell", file="x", source_time_s=0.0, duration_s=5.0, event_time_s=1.0)
    soundscape = Soundscape(name="x", duration_s=5.0, ref_db=-30.0, backgrounds=(), events=(layer,))
    with pytest.raises(InvalidInputError, match="would not render this unchanged.*too great"):
        scaper.render(soundscape, [Slice(start=0, audio=audio, source_frames=audio.size)], tmp_path)


def test_another_slice_than_meant_is_an_error(tmp_path):
    audio = noise(5.0, 0)
    layer = Layer(label="Rain", file="x", source_time_s=1.0, duration_s=5.0)
    soundscape = Soundscape(name="x", duration_s=5.0, ref_db=-30.0, backgrounds=(layer,), events=())
    with pytest.raises(
        InvalidInputError, match="asked for samples 44100 to 264600 of a source, 0 to 220500 were expected"
    ):
        scaper.render(soundscape, [Slice(start=0, audio=audio, source_frames=20 * RATE_HZ)], tmp_path)


def test_the_stand_in_refuses_what_sox_would_convert():
    transformer = scaper._Transformer()
    with pytest.raises(InvalidInputError, match="48000 Hz with 1 channels was not converted before Scaper"):
        transformer.build_array(np.zeros((4, 1)), 48_000)
    with pytest.raises(InvalidInputError, match="only 44100 Hz mono"):
        transformer.set_output_format(44_100, 2)


@pytest.mark.parametrize(
    ("versions", "kind", "said"),
    [
        ({"scaper": None}, NotFoundError, "Scaper is not installed"),
        ({"scaper": "1.7.0"}, InvalidInputError, "Scaper 1.7.0 is installed, 1.6.5 is required"),
        ({"jams": None}, NotFoundError, "Scaper is installed without jams"),
        ({"jams": "0.3.6"}, InvalidInputError, "jams 0.3.6 is installed, 0.3.5 is required"),
        ({"pyloudnorm": None}, NotFoundError, "Scaper is installed without pyloudnorm"),
    ],
)
def test_what_scaper_lacks_is_said_with_the_command_that_installs_it(monkeypatch, versions, kind, said):
    def find_version(name):
        found = {"scaper": "1.6.5", "jams": "0.3.5", "pyloudnorm": "0.2.0", **versions}[name]
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", find_version)
    with pytest.raises(kind, match=rf"{said}; run: pip install 'bgknown\[scaper\]' && .* scaper==1\.6\.5; or render"):
        scaper.check_installed()
