"""Parquet, opened by ``datasets``."""

import io
import sys

import datasets
import pyarrow.parquet
import pytest
import soundfile

from bgknown import export_dataset
from bgknown.errors import NotFoundError
from bgknown.exports import arrow
from tests.bgknown.exports.conftest import export, list_expected, read_bytes


def load(folder, cache, split):
    """The export as ``datasets`` reads it, with audio as bytes, as the card says."""
    data = datasets.load_dataset(str(folder), split=split, cache_dir=str(cache))
    for name, feature in data.features.items():
        if isinstance(feature, datasets.Audio):
            data = data.cast_column(name, datasets.Audio(decode=False))
    return data


def test_datasets_reads_equal_values(source, tmp_path):
    folder = export(source, tmp_path / "out", "parquet")
    assert datasets.get_dataset_split_names(str(folder)) == source.splits
    for split in source.splits:
        data = load(folder, tmp_path / "cache", split)
        expected = list_expected(source, split)
        assert len(data) == len(expected)
        for found, row in zip(data, expected, strict=True):
            assert {name: found[name] for name in row} == row
            assert [type(found[name]) for name in row] == [type(value) for value in row.values()]
            for signal in source.signals:
                assert found[signal]["bytes"] == read_bytes(source, row, signal)
                assert found[signal]["path"] == row[f"{signal}_file"].rsplit("/", 1)[-1]
                samples, rate_hz = soundfile.read(io.BytesIO(found[signal]["bytes"]), dtype="int16")
                original, _ = soundfile.read(source.root / row[f"{signal}_file"], dtype="int16")
                assert rate_hz == 44_100
                assert (samples == original).all()
            if source.has_jams:
                assert found["jams"].encode() == read_bytes(source, row, "jams")


def test_columns_are_audio_in_the_schema_and_in_the_card(source, tmp_path):
    folder = export(source, tmp_path / "out", "parquet")
    shard = next(folder.glob("data/*.parquet"))
    written = datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(shard))
    stated = datasets.load_dataset_builder(str(folder), cache_dir=str(tmp_path / "cache")).info
    assert written == stated.features
    audio = {name: feature for name, feature in written.items() if isinstance(feature, datasets.Audio)}
    assert set(audio) == set(source.signals)
    assert {feature.sampling_rate for feature in audio.values()} == {44_100}
    assert {name: split.num_examples for name, split in stated.splits.items()} == dict(
        source.table["split"].value_counts(sort=False)
    )


def test_shards_are_numbered_and_row_groups_stay_small(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "ROW_GROUP_BYTES", 1_000_000)
    export_dataset(clips, tmp_path / "out", shard_mb=100)
    shard = pyarrow.parquet.ParquetFile(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    assert (shard.num_row_groups, shard.metadata.num_rows) == (2, 2)
    export_dataset(clips, tmp_path / "several", shard_mb=2)
    names = sorted(path.name for path in (tmp_path / "several" / "data").iterdir())
    assert names == [f"{split}-0000{number}-of-00002.parquet" for split in ("test", "train") for number in range(2)]


@pytest.mark.parametrize("format", ["parquet", "mteb"])
def test_without_pyarrow_the_extra_is_named(pair_set, tmp_path, monkeypatch, format):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(NotFoundError, match=f"--format {format} needs pyarrow.*pip install 'bgknown\\[exports\\]'"):
        export_dataset(pair_set, tmp_path / "out", format=format)
    assert not (tmp_path / "out").exists()
