import json

import numpy as np
import pytest

from bgknown.errors import InvalidInputError, NotFoundError
from pretrain.corpus import open_corpus
from tests.pretrain.made import make_corpus, name_files

LENGTHS = (100, 40, 250)


@pytest.fixture
def folder(tmp_path):
    return make_corpus(tmp_path / "corpus", LENGTHS)


def test_crops_are_parts_of_their_clips(folder):
    corpus = open_corpus(folder)
    whole = np.fromfile(folder / "audio.i16", dtype="<i2")
    clips = np.split(whole, np.cumsum(LENGTHS)[:-1])
    places = np.array([0.0, 0.5, 0.999999, 1.0])
    cut = corpus.crops(np.array([0, 2, 2, 2]), places, 60)
    assert cut.dtype == np.int16
    assert np.array_equal(cut[0], clips[0][:60])
    assert np.array_equal(cut[1], clips[2][95:155])  # of 191 starts the one in the middle
    assert np.array_equal(cut[2], clips[2][190:])
    assert np.array_equal(cut[3], clips[2][190:])


def test_short_clips_are_whole_and_get_zeros(folder):
    corpus = open_corpus(folder)
    cut = corpus.crops(np.array([1, 0]), np.array([0.7, 0.7]), 100)
    whole = np.fromfile(folder / "audio.i16", dtype="<i2")
    assert np.array_equal(cut[0], np.pad(whole[100:140], (0, 60)))
    assert np.array_equal(cut[1], whole[:100])


def test_every_start_is_equally_likely(folder):
    places = np.random.default_rng(0).random(20_000)
    cut = open_corpus(folder).crops(np.zeros(20_000, dtype=np.int64), places, 91)
    _, counts = np.unique(cut[:, 0], return_counts=True)
    assert len(counts) == 10
    assert counts.min() > 1_800


def test_a_later_crop_stays_within_its_clip(folder):
    corpus = open_corpus(folder)
    whole = np.fromfile(folder / "audio.i16", dtype="<i2")[140:]
    clips, places = np.full(4, 2), np.full(4, 0.5)
    cut = corpus.crops(clips, places, 50, np.array([0, 7, 10_000, -10_000]))
    for row, start in zip(cut, (100, 107, 200, 0), strict=True):
        assert np.array_equal(row, whole[start : start + 50])


def test_the_index_lists_the_sounds_of_a_corpus(folder):
    assert open_corpus(folder).sounds.unidentified == 1  # 0.wav; the others are named like files of FSD50K
    name_files(folder, ["1-100032-A-0.wav", "door.wav", "7061-6-0-0.wav"])
    sounds = open_corpus(folder).sounds
    assert sounds.to_lines() == ["7061", "100032", *(f"{number:016x}" for number in (1, 2, 3))]
    assert sounds.unidentified == 0


def test_a_folder_without_a_corpus_is_one_line(tmp_path):
    with pytest.raises(NotFoundError, match="not a finished corpus \\(index.csv missing\\); make .* pretrain pack"):
        open_corpus(tmp_path)


def rewrite_index(folder, text):
    """Another index, with the hash that goes with it."""
    import hashlib  # noqa: PLC0415

    (folder / "index.csv").write_text(text)
    description = json.loads((folder / "corpus.json").read_text())
    description["index_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "corpus.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "audio.i16").write_bytes(b"12"), "audio.i16: 2 bytes, 780 expected"),
        (lambda folder: (folder / "audio.i16").unlink(), "audio.i16: 0 bytes, 780 expected"),
        (lambda folder: (folder / "index.csv").write_text("file\n"), "not the index that corpus.json describes"),
        (lambda folder: (folder / "corpus.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "corpus.json").write_text('{"format": "x"}'), "this version reads 'bgknown"),
        (lambda folder: rewrite_index(folder, "file,start\na,0\n"), "must hold the columns"),
        (lambda folder: rewrite_index(folder, "file,start,length,sha256\n"), "at least one clip"),
        (lambda folder: rewrite_index(folder, "file,start,length,sha256\na,5,385,0\n"), "do not follow one another"),
    ],
)
def test_damage_is_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(InvalidInputError) as caught:
        open_corpus(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["rate_hz", "counts", "configuration"])
def test_a_description_that_lacks_something_is_one_line(folder, key):
    path = folder / "corpus.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match=r"corpus.json: damaged; copy the corpus again"):
        open_corpus(folder)
