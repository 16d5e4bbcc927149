"""Which recordings are of one source, and that nothing that is excluded is trained on."""

import shutil

import pytest

from benchmark.heads.recordings import RecordingChoice, list_recordings
from bgknown.corpora.headers import read_header_facts
from bgknown.errors import BrokenInputError, InvalidInputError, NotFoundError
from bgknown.freesound import find_freesound_id
from bgknown.mixtures.dataset import open_dataset
from tests.conftest import noise, write_wav


def list_names(pool):
    return [recording.name for recording in pool.recordings]


def find_source_of(pool):
    return {recording.name: recording.source for recording in pool.recordings}


@pytest.fixture
def folder(tmp_path):
    for place, name in enumerate(("1-7-A-0", "7", "2-8-A-0", "one", "two")):
        write_wav(tmp_path / "audio" / f"{name}.wav", noise(0.3, place))
    shutil.copy(tmp_path / "audio" / "one.wav", tmp_path / "audio" / "copy of one.wav")
    return tmp_path / "audio"


def test_one_freesound_id_one_content_or_one_group_is_one_source(folder, tmp_path):
    pool = list_recordings(RecordingChoice(audio=(folder,)), cache=tmp_path)
    source = find_source_of(pool)
    assert source["1-7-A-0.wav"] == source["7.wav"]
    assert source["one.wav"] == source["copy of one.wav"]
    assert len(set(source.values())) == 4
    (tmp_path / "table.csv").write_text("file,group\naudio/two.wav,g\naudio/2-8-A-0.wav,g\naudio/7.wav,\n")
    grouped = list_recordings(RecordingChoice(audio=(folder,), groups=tmp_path / "table.csv"), cache=tmp_path)
    source = find_source_of(grouped)
    assert source["two.wav"] == source["2-8-A-0.wav"]
    assert len(set(source.values())) == 3
    (tmp_path / "table.csv").write_text("fname,recording_group\ntwo.wav,g\n2-8-A-0.wav,g\n")
    by_name = list_recordings(RecordingChoice(audio=(folder,), groups=tmp_path / "table.csv"), cache=tmp_path)
    assert find_source_of(by_name) == source


def test_an_excluded_sound_is_left_out_with_its_whole_source(folder, tmp_path):
    (tmp_path / "list.txt").write_text("7\n")
    pool = list_recordings(RecordingChoice(audio=(folder,), exclude=(tmp_path / "list.txt",)), cache=tmp_path)
    assert list_names(pool) == ["2-8-A-0.wav", "copy of one.wav", "one.wav", "two.wav"]
    assert pool.excluded == 2
    (tmp_path / "list.txt").write_text(f"{pool.recordings[2].sha256}\n")
    pool = list_recordings(RecordingChoice(audio=(folder,), exclude=(tmp_path / "list.txt",)), cache=tmp_path)
    assert list_names(pool) == ["1-7-A-0.wav", "2-8-A-0.wav", "7.wav", "two.wav"]


def test_no_test_clip_its_source_or_a_test_background_is_trained_on(built, tmp_path):
    corpora, dataset = built
    write_wav(tmp_path / "more" / "5-400-B-9.wav", noise(0.3, 1))  # another take of a test clip's source
    audio = (corpora.esc50 / "audio", corpora.fsd50k, tmp_path / "more")
    pool = list_recordings(RecordingChoice(audio=audio, exclude=(dataset,)), cache=tmp_path)
    table = open_dataset(dataset).table
    tested = table[table["split"] == "test"]
    banned = {find_freesound_id(name) for name in (*tested["esc50_file"], *tested["fsd50k_file"])}
    trained = {find_freesound_id(recording.name) for recording in pool.recordings}
    assert None not in trained
    assert not banned & trained
    training = table[table["split"] == "train"]
    assert {find_freesound_id(name) for name in (*training["esc50_file"], *training["fsd50k_file"])} <= trained
    assert pool.list_sounds().has_ids(sorted(trained)).all()
    assert not pool.list_sounds().has_ids(sorted(banned)).any()


def test_a_file_counts_once_and_broken_ones_are_listed(folder, tmp_path):
    (folder / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(BrokenInputError, match=r"bad\.wav"):
        list_recordings(RecordingChoice(audio=(folder,)), cache=tmp_path)
    pool = list_recordings(RecordingChoice(audio=(folder, folder.parent), skip_broken=True), cache=tmp_path)
    assert len(pool.recordings) == 6
    assert pool.broken == 1
    frames = read_header_facts(folder, ["two.wav"], cache=tmp_path, title="")["frames"][0]
    assert {each.name: each.frames for each in pool.recordings}["two.wav"] == frames


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(NotFoundError, match="no such folder"):
        list_recordings(RecordingChoice(audio=(tmp_path / "nowhere",)), cache=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="no audio files"):
        list_recordings(RecordingChoice(audio=(tmp_path / "empty",)), cache=tmp_path)
    (tmp_path / "table.csv").write_text("file,label\na.wav,g\n")
    with pytest.raises(InvalidInputError, match="one of groups"):
        list_recordings(RecordingChoice(audio=(folder,), groups=tmp_path / "table.csv"), cache=tmp_path)
