import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from bgknown.apwd.sources.manifest import read_source_description, read_table
from bgknown.apwd.sources.prepare import prepare
from bgknown.apwd.sources.trimming import fade_ends, find_active_part, round_to_pcm16
from bgknown.errors import BrokenInputError, InvalidInputError, StorageError
from bgknown.jobs.files import hash_bytes
from tests.bgknown.apwd.made_sources import make_small, options, pcm, write_apwd, write_audiodiffcaps
from tests.conftest import RATE_HZ, TinyCorpora, contents, noise, write_wav


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A finished tree of the small corpora; not to be changed."""
    root = tmp_path_factory.mktemp("prepared")
    corpora = make_small(root / "corpora")
    return corpora, root / "source", prepare(options(corpora, root / "source"))


@pytest.fixture
def small(tmp_path):
    return make_small(tmp_path / "corpora")


def test_the_tree_has_the_layout_that_jams_name(prepared):
    _, out, report = prepared
    rain = [f"dev/{role}/rain/{n}.wav" for role in ("background", "foreground") for n in range(7000, 7004)]
    rain += [f"eval/{role}/rain/8000.wav" for role in ("background", "foreground")]
    chimes = [f"dev/foreground/chime/{fold}-{fold}00-A-0.wav" for fold in range(1, 5)]
    chimes += ["eval/foreground/chime/5-500-A-0.wav"]
    assert sorted(contents(out)) == sorted([*rain, *chimes, "source.json", "sources.csv"])
    assert (report.prepared, report.kept, report.problems, report.was_finished) == (10, 0, [], False)
    assert not (out / ".work").exists()


def test_the_table_says_what_every_file_is(prepared):
    corpora, out, report = prepared
    table = pd.read_csv(out / "sources.csv")
    assert list(table.columns) == ["file", "split", "role", "label", "origin", "frames", "sha256"]
    assert table["file"].tolist() == sorted(table["file"])
    pd.testing.assert_frame_equal(read_table(out), report.table, check_dtype=False)
    for row in table.itertuples():
        assert row.file.startswith(f"{row.split}/{row.role}/{row.label}/")
        assert hash_bytes((out / row.file).read_bytes()) == row.sha256
        assert soundfile.info(out / row.file).frames == row.frames
        corpus, file = row.origin.split(":")
        assert ({"FSD50K": corpora.fsd50k, "ESC-50": corpora.esc50}[corpus] / file).is_file()


def test_the_description_holds_options_counts_and_licences_but_no_path(prepared):
    corpora, out, _ = prepared
    text = (out / "source.json").read_text()
    description = json.loads(text)
    assert description["configuration"]["style"] == "apwd"
    assert description["configuration"]["repeat_samples"] is False
    assert description["configuration"]["backgrounds"] == {"rain": ["Rain"]}
    assert description["corpora"]["fsd50k"]["licence"].startswith("CC0")
    assert description["counts"]["dev/foreground/chime"] == 4
    assert str(corpora.root) not in text


def test_backgrounds_are_looped_scaled_and_doubled_among_the_foregrounds(prepared):
    corpora, out, _ = prepared
    audio, _ = soundfile.read(str(corpora.recording("dev", 7001)), dtype="float32")
    expected = round_to_pcm16(np.tile(audio / np.abs(audio).max() * np.float32(0.95), 2))
    np.testing.assert_array_equal(pcm(out / "dev/background/rain/7001.wav"), expected)
    for file in (out / "dev" / "background" / "rain").iterdir():
        assert file.read_bytes() == (out / "dev" / "foreground" / "rain" / file.name).read_bytes()
        assert np.abs(pcm(file)).max() == 31_130
        assert len(pcm(file)) > 20 * RATE_HZ


def test_events_are_trimmed_and_faded(small, tmp_path):
    audio = np.zeros(5 * RATE_HZ)
    audio[60_000:90_000] = noise(30_000 / RATE_HZ, 3)
    write_wav(small.clip("1-100-A-0"), audio)
    prepare(options(small, tmp_path / "out"))
    stored, _ = soundfile.read(str(small.clip("1-100-A-0")), dtype="float32")
    start, stop = find_active_part(stored)
    assert (abs(start - 60_000) < 256, abs(stop - 90_000) < 256) == (True, True)
    found = pcm(tmp_path / "out/dev/foreground/chime/1-100-A-0.wav")
    np.testing.assert_array_equal(found, round_to_pcm16(fade_ends(stored[start:stop])))


def test_other_rates_stereo_and_types_are_converted(small, tmp_path):
    mono = 0.4 * np.sin(2 * np.pi * 1000 * np.arange(11 * 22_050) / 22_050)
    small.recording("dev", 7000).unlink()
    stereo = np.stack([mono, 0.5 * mono], axis=1)
    soundfile.write(str(small.recording("dev", 7000).with_suffix(".flac")), stereo, 22_050)
    prepare(options(small, tmp_path / "out"))
    found = pcm(tmp_path / "out/dev/background/rain/7000.wav")
    assert len(found) == 2 * 11 * RATE_HZ
    np.testing.assert_array_equal(found[: 11 * RATE_HZ], found[11 * RATE_HZ :])
    expected = np.sin(2 * np.pi * 1000 * np.arange(11 * RATE_HZ) / RATE_HZ)
    middle = slice(RATE_HZ, 10 * RATE_HZ)  # the converter rings at the ends, where the tone begins and stops
    share = found[middle] @ expected[middle] / (expected[middle] @ expected[middle])
    np.testing.assert_allclose(found[middle], share * expected[middle], atol=2)
    assert np.abs(found).max() == 31_130


def test_beyond_full_scale_nothing_wraps(small, tmp_path):
    loud = 1.7 * np.sin(2 * np.pi * 440 * np.arange(5 * RATE_HZ) / RATE_HZ)
    write_wav(small.clip("1-100-A-0"), loud, subtype="FLOAT")
    prepare(options(small, tmp_path / "out", style="audiodiffcaps"))
    found = pcm(tmp_path / "out/dev/foreground/chime/1-100-A-0.wav")
    assert (found.max(), found.min()) == (32_767, -32_768)
    assert np.abs(np.diff(found)).max() < 4000


def test_audiodiffcaps_neither_scales_nor_fades(small, tmp_path):
    prepare(options(small, tmp_path / "out", style="audiodiffcaps"))
    audio, _ = soundfile.read(str(small.recording("dev", 7000)), dtype="int16")
    np.testing.assert_array_equal(pcm(tmp_path / "out/dev/background/rain/7000.wav"), np.tile(audio, 3))
    clip, _ = soundfile.read(str(small.clip("5-500-A-0")), dtype="int16")
    start, stop = find_active_part(clip.astype(np.float32) / np.float32(32_768))
    np.testing.assert_array_equal(pcm(tmp_path / "out/eval/foreground/chime/5-500-A-0.wav"), clip[start:stop])


def test_the_published_fault_needs_its_style_and_is_recorded(small, tmp_path):
    with pytest.raises(InvalidInputError, match="fault of AudioDiffCaps; it goes only with style audiodiffcaps"):
        options(small, tmp_path / "out", repeat_samples=True)
    prepare(options(small, tmp_path / "out", style="audiodiffcaps", repeat_samples=True))
    audio, _ = soundfile.read(str(small.recording("dev", 7000)), dtype="int16")
    np.testing.assert_array_equal(pcm(tmp_path / "out/dev/background/rain/7000.wav"), np.repeat(audio, 3))
    assert read_source_description(tmp_path / "out")["configuration"]["repeat_samples"] is True


@pytest.mark.parametrize(("name", "value"), [("style", "apdw"), ("jobs", 0)])
def test_options_out_of_range_are_refused(small, tmp_path, name, value):
    with pytest.raises(InvalidInputError, match=f"{name} is "):
        options(small, tmp_path, **{name: value})


def test_lists_of_apwd_leave_out_what_is_not_clean_and_say_so(small, tmp_path, caplog):
    caplog.set_level("INFO")
    report = prepare(options(small, tmp_path / "out", lists=write_apwd(tmp_path / "lists")))
    assert (report.prepared, report.not_clean) == (5, 1)
    assert "events that the lists mark as not clean, left out as published: 1" in caplog.text
    assert not list((tmp_path / "out").rglob("2-200-A-0.wav"))
    assert read_source_description(tmp_path / "out")["counts"]["not_clean"] == 1


def test_lists_of_audiodiffcaps_say_which_part_is_kept(small, tmp_path):
    prepare(options(small, tmp_path / "out", lists=write_audiodiffcaps(tmp_path / "lists"), style="audiodiffcaps"))
    audio, _ = soundfile.read(str(small.clip("1-100-A-0")), dtype="int16")
    np.testing.assert_array_equal(pcm(tmp_path / "out/dev/foreground/bells/1-100-A-0.wav"), audio[10:5000])


def test_a_listed_part_outside_the_clip_is_a_problem(small, tmp_path):
    lists = write_audiodiffcaps(tmp_path / "lists", clips=[("1-100-A-0", "dev", 0, 220_501)])
    with pytest.raises(BrokenInputError, match="too_short: .*active part 0 to 220501 is listed, it has 220500 samples"):
        prepare(options(small, tmp_path / "out", lists=lists))


def broken_corpora(small: TinyCorpora) -> None:
    small.recording("dev", 7000).unlink()
    small.recording("dev", 7001).write_bytes(b"no audio")
    write_wav(small.recording("dev", 7002), np.zeros(RATE_HZ))
    write_wav(small.recording("dev", 7003), np.full(RATE_HZ, np.nan), subtype="FLOAT")
    click = np.zeros(RATE_HZ)
    click[20_000] = 0.5
    write_wav(small.clip("1-100-A-0"), click)
    write_wav(small.clip("2-200-A-0"), noise(0.011, 1))
    write_wav(small.clip("3-300-A-0"), np.zeros(RATE_HZ))


BROKEN = {
    "FSD50K.dev_audio/7000.wav": "missing",
    "FSD50K.dev_audio/7001.wav": "unreadable",
    "FSD50K.dev_audio/7002.wav": "silent",
    "FSD50K.dev_audio/7003.wav": "not_finite",
    "audio/1-100-A-0.wav": "too_short",
    "audio/2-200-A-0.wav": "too_short",
    "audio/3-300-A-0.wav": "silent",
}


def test_broken_inputs_are_listed_together_and_good_files_are_kept(small, tmp_path):
    whole = make_small(tmp_path / "whole")
    prepare(options(whole, tmp_path / "expected"))
    broken_corpora(small)
    with pytest.raises(BrokenInputError, match="7 inputs are broken") as caught:
        prepare(options(small, tmp_path / "out"))
    for where, code in BROKEN.items():
        assert f"  {where}: {code}: " in str(caught.value)
    assert "3 of 10 sources are kept" in str(caught.value)
    assert not (tmp_path / "out" / "sources.csv").exists()
    for where in BROKEN:
        corpus = "FSD50K" if where.startswith("FSD50K") else "ESC-50"
        shutil.copyfile(whole.root / corpus / where, small.root / corpus / where)
    report = prepare(options(small, tmp_path / "out"))
    assert (report.prepared, report.kept) == (7, 3)
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


def test_broken_inputs_can_be_skipped_and_are_counted(small, tmp_path):
    broken_corpora(small)
    report = prepare(options(small, tmp_path / "out", skip_broken=True))
    assert {problem.where: problem.code for problem in report.problems} == BROKEN
    description = read_source_description(tmp_path / "out")
    assert {problem["where"]: problem["code"] for problem in description["skipped"]} == BROKEN
    assert description["counts"]["skipped"] == 7
    assert len(prepare(options(small, tmp_path / "out")).problems) == 7
    make_small(small.root)
    with pytest.raises(StorageError, match="made without 7 broken inputs, which may be repaired now"):
        prepare(options(small, tmp_path / "out"))


def test_what_was_whole_once_and_is_skipped_now_does_not_stay(small, tmp_path):
    small.recording("dev", 7000).unlink()
    with pytest.raises(BrokenInputError):
        prepare(options(small, tmp_path / "out"))
    small.recording("dev", 7001).unlink()
    prepare(options(small, tmp_path / "out", skip_broken=True))
    assert not list((tmp_path / "out").rglob("7001.wav"))


def test_only_broken_inputs_leave_no_tree(small, tmp_path):
    lists = write_apwd(tmp_path / "lists", rain_dev=["1"], rain_eval=["2"], bells=[("1-1-A-0", "TRUE")])
    with pytest.raises(BrokenInputError, match="nothing is left"):
        prepare(options(small, tmp_path / "out", lists=lists, skip_broken=True))
    assert not (tmp_path / "out").exists()


def test_listed_files_that_a_corpus_lacks_are_named(small, tmp_path):
    lists = write_apwd(tmp_path / "lists", rain_dev=["9330", "8001"])
    with pytest.raises(BrokenInputError) as caught:
        prepare(options(small, tmp_path / "out", lists=lists))
    assert "FSD50K.dev_audio/9330.wav: missing: FSD50K: rain of dev: no such clip in the table" in str(caught.value)
    assert "no such clip in the table of its part dev (it is in eval)" in str(caught.value)


def make_source_of_a_clip(corpora):
    """The clip 5-500-A-0 of the small corpora becomes one that was cut from the recording 7001 of dev."""
    table = corpora.esc50 / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace("False,500,", "False,7001,"))


def test_recordings_that_clips_were_cut_from_are_left_out_by_label(small, tmp_path):
    make_source_of_a_clip(small)
    report = prepare(options(small, tmp_path / "out"))
    assert report.sources_of_clips == 1
    assert not report.table["file"].str.contains("7001").any()
    assert read_source_description(tmp_path / "out")["counts"]["sources_of_clips"] == 1
    assert prepare(options(small, tmp_path / "out")).sources_of_clips == 1
    with pytest.raises(StorageError, match="holds another configuration"):
        prepare(options(small, tmp_path / "out", keep_sources=True))
    kept = prepare(options(small, tmp_path / "kept", keep_sources=True))
    assert kept.sources_of_clips == 0
    assert kept.table["file"].str.contains("7001").sum() == 2


def test_published_lists_are_followed_as_they_are(small, tmp_path):
    make_source_of_a_clip(small)
    report = prepare(options(small, tmp_path / "out", lists=write_apwd(tmp_path / "lists")))
    assert report.table["file"].str.contains("7001").sum() == 2
    assert report.sources_of_clips == 0


def test_sources_of_events_in_both_splits_are_named(small, tmp_path, caplog):
    table = small.esc50 / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace("5-500-A-0", "5-100-B-0"))
    small.clip("5-500-A-0").rename(small.clip("5-100-B-0"))
    prepare(options(small, tmp_path / "out"))
    assert "events of dev and eval were cut from the same sources: 100" in caplog.text
