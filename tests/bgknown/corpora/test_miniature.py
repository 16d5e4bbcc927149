import numpy as np
import pytest
import soundfile

from bgknown.corpora import esc50, fsd50k, miniature
from bgknown.errors import StorageError


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    root = tmp_path_factory.mktemp("miniature")
    folders = miniature.make(root, takes=1, recordings=(8, 6))
    return root, [
        reader.index(folder, cache=root / "cache") for reader, folder in zip((esc50, fsd50k), folders, strict=True)
    ]


def test_a_dozen_classes_in_five_folds(corpora):
    clips = corpora[1][0].table
    assert clips.groupby("fold")["category"].nunique().tolist() == [12] * 5
    assert (clips["frames"] == 220_500).all()


def test_backgrounds_vary_and_some_are_too_short(corpora):
    recordings = corpora[1][1].table
    seconds = recordings["frames"] / 44_100
    assert (seconds < 10).sum() == 2
    assert (seconds >= 10).sum() == 14
    assert recordings["label"].nunique() == 8


def test_one_recording_shares_its_freesound_id_with_a_clip(corpora):
    clips, recordings = (index.table for index in corpora[1])
    assert set(clips["source"]) & set(recordings["recording_id"]) == {"1000"}


def test_second_call_makes_nothing_and_another_size_replaces_the_corpora(corpora, monkeypatch):
    root, _ = corpora
    monkeypatch.setattr(miniature, "_make_esc50", lambda *_: pytest.fail("made again"))
    miniature.make(root, takes=1, recordings=(8, 6))
    with pytest.raises(pytest.fail.Exception):
        miniature.make(root, takes=1, recordings=(8, 7))


def test_folders_of_the_users_are_left_alone(tmp_path):
    (tmp_path / "FSD50K").mkdir()
    (tmp_path / "FSD50K" / "thesis.txt").write_text("precious")
    with pytest.raises(StorageError, match="already exists and was not made by this command"):
        miniature.make(tmp_path, takes=1, recordings=(1, 1))
    assert [path.name for path in (tmp_path / "FSD50K").iterdir()] == ["thesis.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ESC-50", "FSD50K"]


def test_a_failure_leaves_nothing_half_made(tmp_path, monkeypatch):
    def fail(*_):
        raise StorageError("the disk is full")

    monkeypatch.setattr(miniature, "_write_table", fail)
    with pytest.raises(StorageError, match="the disk is full"):
        miniature.make(tmp_path / "new", takes=1, recordings=(1, 1))
    assert list((tmp_path / "new").iterdir()) == []


@pytest.fixture
def two_classes(monkeypatch):
    """Two of the dozen classes, where it does not matter what is in the files."""
    monkeypatch.setattr(miniature, "VOICES", dict(list(miniature.VOICES.items())[:2]))


def test_two_makers_at_once_agree(two_classes, tmp_path, monkeypatch):
    real = miniature._make_esc50

    def overtaken(folder, takes):
        real(folder, takes)
        monkeypatch.setattr(miniature, "_make_esc50", real)
        miniature.make(tmp_path, takes=1, recordings=(1, 1))

    monkeypatch.setattr(miniature, "_make_esc50", overtaken)
    esc, _ = miniature.make(tmp_path, takes=1, recordings=(1, 1))
    assert len(list((esc / "audio").iterdir())) == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ESC-50", "FSD50K"]


def test_classes_can_be_distinguished(tmp_path):
    """A nearest neighbour on coarse spectra and envelopes, trained on folds 1-3, names most clips of folds 4 and 5."""
    root, _ = miniature.make(tmp_path, takes=1, recordings=(1, 1))
    features, targets, folds = [], [], []
    for path in sorted((root / "audio").iterdir()):
        audio, _ = soundfile.read(path)
        frames = audio[: 215 * 1024].reshape(215, 1024)
        spectrum = np.log(
            np.abs(np.fft.rfft(frames * np.hanning(1024), axis=1))[:, 1:].reshape(215, 32, 16).mean(2) + 1e-3
        )
        features.append(np.concatenate([spectrum.mean(0), spectrum.std(0)]))
        fold, _, _, target = path.stem.split("-")
        folds.append(int(fold))
        targets.append(int(target))
    features, targets, train = np.array(features), np.array(targets), np.array(folds) <= 3
    nearest = np.argmin(np.linalg.norm(features[~train][:, None] - features[train], axis=2), axis=1)
    assert (targets[train][nearest] == targets[~train]).mean() > 0.8


def test_a_damaged_corpus_is_made_again(two_classes, tmp_path):
    esc, _ = miniature.make(tmp_path, takes=1, recordings=(1, 1))
    clip, mark = next(iter(sorted((esc / "audio").iterdir()))), esc / ".miniature"
    whole = {path: path.read_bytes() for path in (clip, mark)}
    for path, damaged in ((clip, whole[clip][:-1] + b"x"), (mark, b"\xff"), (clip, b"")):
        path.write_bytes(damaged)
        miniature.make(tmp_path, takes=1, recordings=(1, 1))
        assert {path: path.read_bytes() for path in (clip, mark)} == whole
