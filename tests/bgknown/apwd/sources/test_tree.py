import shutil

import numpy as np
import pytest
import soundfile

from bgknown.apwd.sources.tree import open_tree
from bgknown.audio.files import RATE_HZ
from bgknown.errors import InvalidInputError, NotFoundError
from tests.conftest import noise, write_wav


def test_files_by_split_role_and_label(pairs):
    tree = open_tree(pairs.source)
    assert tree.labels("dev", "foreground") == ["dog", "rain", "thunder"]
    assert tree.labels("eval", "background") == ["rain"]
    dogs = tree.of("dev", "foreground", "dog")
    assert [source.file for source in dogs] == ["dev/foreground/dog/dog0.wav", "dev/foreground/dog/dog1.wav"]
    assert dogs[0].frames == round(0.6 * RATE_HZ)
    with pytest.raises(NotFoundError, match="no dev/foreground/cat with files in it; there are dog, rain, thunder"):
        tree.of("dev", "foreground", "cat")


def test_splits_that_share_a_recording_are_refused(pairs, tmp_path):
    with pytest.raises(
        InvalidInputError, match="dog0.wav and eval/foreground/dog/dog0.wav come from the same recording"
    ):
        open_tree(pairs.source).check_disjoint(["bird", "dog"])
    open_tree(pairs.source).check_disjoint(["bird"])


def test_two_takes_of_a_clip_are_one_origin(tmp_path):
    write_wav(tmp_path / "dev" / "foreground" / "dog" / "1-7-A-0.wav", noise(0.1, 1))
    write_wav(tmp_path / "eval" / "foreground" / "dog" / "5-7-B-0.wav", noise(0.1, 2))
    with pytest.raises(InvalidInputError, match="dev and eval must not share any"):
        open_tree(tmp_path).check_disjoint(["dog"])


@pytest.mark.parametrize(
    ("dev", "eval_"),
    [
        ("foreground/dog/1-7-A-0.wav", "foreground/birds/5-7-A-14.wav"),
        ("background/rain/9.wav", "foreground/rain/9.wav"),
    ],
)
def test_a_recording_is_found_under_another_class_or_role(dev, eval_, tmp_path):
    write_wav(tmp_path / "dev" / dev, noise(0.1, 1))
    write_wav(tmp_path / "eval" / eval_, noise(0.1, 2))
    with pytest.raises(InvalidInputError, match=f"dev/{dev} and eval/{eval_} come from the same recording"):
        open_tree(tmp_path).check_disjoint(["dog", "birds", "rain"])


def test_equal_names_in_different_classes_are_different_recordings(tmp_path):
    write_wav(tmp_path / "dev" / "foreground" / "dog" / "1.wav", noise(0.1, 1))
    write_wav(tmp_path / "eval" / "foreground" / "birds" / "1.wav", noise(0.1, 2))
    open_tree(tmp_path).check_disjoint(["dog", "birds"])


def test_the_fingerprint_follows_names_and_lengths_of_the_labels_asked_for(pairs):
    before = open_tree(pairs.source)
    shutil.rmtree(pairs.source / "dev" / "foreground" / "thunder")
    after = open_tree(pairs.source)
    assert before.sha256(["rain", "dog"]) == after.sha256(["rain", "dog"])
    assert before.sha256(["rain", "thunder"]) != after.sha256(["rain", "thunder"])


def test_folder_that_is_not_a_source_tree_is_refused(pairs, tmp_path):
    with pytest.raises(NotFoundError, match="not a source tree"):
        open_tree(tmp_path / "none")
    with pytest.raises(NotFoundError, match=r"did you mean .*source\?"):
        open_tree(pairs.source.parent)
    broken = pairs.source / "dev" / "foreground" / "dog" / "dog0.wav"
    soundfile.write(broken, noise(0.1, 1), 16_000)
    with pytest.raises(InvalidInputError, match="dog0.wav: 16000 Hz with 1 channels; sources must be 44100 Hz mono"):
        open_tree(pairs.source)
    soundfile.write(broken, np.stack([noise(0.1, 1)] * 2, axis=1), RATE_HZ)
    with pytest.raises(InvalidInputError, match="44100 Hz with 2 channels"):
        open_tree(pairs.source)
    broken.write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"dog0.wav: the file is empty"):
        open_tree(pairs.source)
