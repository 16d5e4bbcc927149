import pickle

import numpy as np
import pytest
import soundfile

import bgknown
from bgknown.apwd.dataset import open_pairs
from bgknown.audio.files import RATE_HZ, read_header, read_whole
from bgknown.errors import BrokenInputError, InvalidInputError, NotFoundError, StorageError
from tests.bgknown.apwd.conftest import CHANGES, DURATION_S, make_pairs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    made = make_pairs(root / "made")
    made.build(root / "set")
    return made, root / "set"


@pytest.mark.parametrize("rate_hz", [44_100, 16_000, 48_000])
def test_rendered_on_demand_is_what_the_files_hold(rate_hz, finished):
    made, out = finished
    built, demanded = open_pairs(out), open_pairs(jams=made.jams, source=made.source)
    assert len(built) == len(demanded) == 14
    for pair in built.table.index:
        for side in ("s1", "s2"):
            audio = demanded.audio(pair, side, rate_hz=rate_hz)
            assert (audio.dtype, audio.shape) == (np.float32, (DURATION_S * rate_hz,))
            np.testing.assert_array_equal(audio, built.audio(pair, side, rate_hz=rate_hz))
            path = out / built.table.loc[pair, side]
            np.testing.assert_array_equal(audio, read_whole(path, read_header(path), rate_hz, np.float32))


def test_manifest_without_audio_is_rendered_from_jams_and_source(finished, tmp_path):
    made, out = finished
    made.build(tmp_path / "texts", source=None)
    pairs = open_pairs(tmp_path / "texts", jams=made.jams, source=made.source)
    expected = open_pairs(out).audio("rain_dev_two", "s2")
    np.testing.assert_array_equal(pairs.audio("rain_dev_two", "s2"), expected)
    with pytest.raises(InvalidInputError, match="rain_dev_two_s2 has no audio file; give jams and source"):
        open_pairs(tmp_path / "texts").audio("rain_dev_two", "s2")


def test_examples_by_split_and_scene(finished):
    _, out = finished
    pairs = bgknown.open_pairs(out)
    examples = list(pairs.examples(split="eval", scene="rain", rate_hz=16_000))
    assert [example["pair"] for example in examples] == sorted(f"rain_eval_{name}" for name in CHANGES)
    assert set(examples[0]) == {"pair", "split", "scene", "text", "changes", "classes_s1", "classes_s2", "s1", "s2"}
    assert examples[0]["s1"].shape == (16_000 * DURATION_S,)
    with pytest.raises(NotFoundError, match="there is no scene 'traffic'; there are: rain"):
        pairs.examples(scene="traffic")
    selected = pairs.select(split="eval", scene="rain")
    assert [pair["pair"] for pair in selected] == [example["pair"] for example in examples]
    assert np.array_equal(selected[1]["s1"], pairs.audio(examples[1]["pair"], "s1"))


def test_a_set_can_be_sent_to_workers(finished):
    made, _ = finished
    pairs = open_pairs(jams=made.jams, source=made.source)
    sent = pickle.loads(pickle.dumps(pairs))
    np.testing.assert_array_equal(sent.audio("rain_dev_two", "s1"), pairs.audio("rain_dev_two", "s1"))


def test_first_soundscapes_alone(pairs):
    for path in pairs.jams.rglob("*_s2.jams"):
        path.unlink()
    opened = open_pairs(jams=pairs.jams, source=pairs.source)
    assert opened.audio("rain_dev_two", "s1").size == RATE_HZ * DURATION_S
    assert "s2" not in next(opened.examples())
    with pytest.raises(NotFoundError, match="rain_dev_two has no s2: only its first soundscape is published"):
        opened.audio("rain_dev_two", "s2")


def test_what_cannot_be_given(finished, pairs, tmp_path):
    _, out = finished
    with pytest.raises(InvalidInputError, match="give the folder of a set, or the folder of JAMS pairs"):
        open_pairs()
    with pytest.raises(NotFoundError, match="no set of pairs"):
        open_pairs(tmp_path)
    opened = open_pairs(out)
    with pytest.raises(NotFoundError, match="no pair 'x' in this set"):
        opened.audio("x", "s1")
    with pytest.raises(NotFoundError, match="no side 's3'; a pair has s1 and s2"):
        opened.audio("rain_dev_two", "s3")
    demanded = open_pairs(jams=pairs.jams, source=pairs.source)
    (pairs.source / "dev" / "foreground" / "dog" / "dog0.wav").unlink()
    with pytest.raises(InvalidInputError, match="rain_dev_removed_s1: missing: source dev/foreground/dog/dog0.wav"):
        demanded.audio("rain_dev_removed", "s1")
    pairs.jams_of("dev_two").unlink()
    with pytest.raises(StorageError, match=r"rain_dev_two_s1.jams: No such file"):
        demanded.audio("rain_dev_two", "s1")
    pairs.jams_of("dev_added").write_text("{")
    pairs.jams_of("dev_two", "s2").unlink()
    with pytest.raises(BrokenInputError, match="rain_dev_added_s1: not a JAMS file"):
        open_pairs(jams=pairs.jams, source=pairs.source)


def test_a_file_that_went_or_was_cut(pairs, tmp_path):
    pairs.build(tmp_path / "set")
    opened = open_pairs(tmp_path / "set")
    path = next((tmp_path / "set").rglob("rain_dev_two_s1.wav"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InvalidInputError, match=r"rain_dev_two_s1.wav: the file is truncated"):
        opened.audio("rain_dev_two", "s1")
    path.unlink()
    with pytest.raises(StorageError, match=r"rain_dev_two_s1.wav: no such file"):
        opened.audio("rain_dev_two", "s1")


def test_32_bits_are_read_as_they_are(pairs, tmp_path):
    pairs.build(tmp_path / "set", bits=32)
    opened = open_pairs(tmp_path / "set")
    path = tmp_path / "set" / opened.table.loc["rain_dev_two", "s1"]
    np.testing.assert_array_equal(opened.audio("rain_dev_two", "s1"), soundfile.read(path, dtype="float32")[0])
