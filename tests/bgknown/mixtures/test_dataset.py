import json
import shutil

import numpy as np
import pytest

import bgknown
from bgknown.errors import InvalidInputError, NotFoundError, StorageError


def test_it_opens_as_a_table_with_audio(built):
    data = bgknown.open_dataset(built[1])
    assert len(data) == 10
    assert data.rate_hz == 44_100
    mix = data.audio("1-100-A-0")
    assert mix.dtype == np.float32
    assert mix.shape == (220_500,)
    assert 0 < np.abs(mix).max() < 1
    assert not np.array_equal(mix, data.audio("1-100-A-0", "a"))


def test_examples_walk_through_a_split(built):
    examples = list(bgknown.open_dataset(built[1]).examples("test"))
    assert [example["fold"] for example in examples] == [4, 4, 5, 5]
    facts = {"clip_id", "split", "fold", "target", "category", "group", "fsd50k_labels"}
    assert set(examples[0]) == {*facts, "mix", "a", "b", "c"}
    assert np.array_equal(examples[0]["mix"], bgknown.open_dataset(built[1]).audio("4-400-A-0"))
    assert len(list(bgknown.open_dataset(built[1]).examples())) == 10


def test_wrong_names_are_refused(built, tmp_path):
    data = bgknown.open_dataset(built[1])
    with pytest.raises(NotFoundError, match="no clip 'x'"):
        data.audio("x")
    with pytest.raises(NotFoundError, match="no signal 'd'; a clip has mix, a, b, c"):
        data.audio("1-100-A-0", "d")
    with pytest.raises(NotFoundError, match="no dataset"):
        bgknown.open_dataset(tmp_path)
    (tmp_path / ".work").mkdir()
    with pytest.raises(NotFoundError, match="its build is not finished"):
        bgknown.open_dataset(tmp_path)


def test_missing_file_and_damaged_tables_are_reported(built, tmp_path):
    root = shutil.copytree(built[1], tmp_path / "copy")
    (root / "audio" / "a" / "1-100-A-0.wav").unlink()
    with pytest.raises(StorageError, match=r"1-100-A-0\.wav: cannot be read"):
        bgknown.open_dataset(root).audio("1-100-A-0", "a")
    text = (root / "dataset.json").read_text()
    (root / "dataset.json").write_text(text[:50])
    with pytest.raises(InvalidInputError, match="not JSON"):
        bgknown.open_dataset(root)
    (root / "dataset.json").write_text(json.dumps({**json.loads(text), "format": 99}))
    with pytest.raises(InvalidInputError, match="has format 99, this version reads format 1"):
        bgknown.open_dataset(root)
    (root / "dataset.json").unlink()
    with pytest.raises(NotFoundError, match=r"dataset\.json: missing"):
        bgknown.open_dataset(root)


def test_a_manifest_without_its_columns_is_refused(built, tmp_path):
    root = shutil.copytree(built[1], tmp_path / "copy")
    text = (root / "manifest.csv").read_text()
    (root / "manifest.csv").write_text(text.replace("scale", "SCALE", 1))
    with pytest.raises(InvalidInputError, match="column scale missing .*; the dataset is damaged"):
        bgknown.open_dataset(root)
