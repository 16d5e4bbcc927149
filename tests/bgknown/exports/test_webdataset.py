"""Tar shards, opened by ``webdataset``."""

import gc
import json
import tarfile
import warnings

import webdataset

from bgknown import export_dataset
from bgknown.exports.webdataset import name_sample
from tests.bgknown.exports.conftest import export, list_expected, read_bytes


def read_samples(folder, split):
    shards = [str(path) for path in sorted(folder.glob(f"{split}-*.tar"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves its files open
        samples = list(webdataset.WebDataset(shards, shardshuffle=False))
        gc.collect()
    return samples


def test_webdataset_reads_equal_values(source, tmp_path):
    folder = export(source, tmp_path / "out", "webdataset")
    for split in source.splits:
        samples, expected = read_samples(folder, split), list_expected(source, split)
        assert [sample["__key__"] for sample in samples] == [name_sample(row[source.key]) for row in expected]
        for sample, row in zip(samples, expected, strict=True):
            assert json.loads(sample["json"]) == row
            kinds = {kind: kind if kind == "jams" else f"{kind}.wav" for kind in source.kinds}
            assert {name for name in sample if not name.startswith("__")} == {"json", *kinds.values()}
            for kind, name in kinds.items():
                assert sample[name] == read_bytes(source, row, kind)


def test_members_have_no_times_and_owners(clips, tmp_path):
    export_dataset(clips, tmp_path / "out", format="webdataset", shard_mb=3)
    shards = sorted(path.name for path in tmp_path.glob("out/*.tar"))
    assert shards == [f"{split}-00000{number}.tar" for split in ("test", "train") for number in range(2)]
    with tarfile.open(tmp_path / "out" / "train-000000.tar") as tar:
        assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in tar} == {
            (0, 0, 0, "", 0o644)
        }
    with tarfile.open(tmp_path / "out" / "train-000001.tar") as tar:
        assert tar.getnames()[0] == "2-201-A-1_snr-2%2E5.mix.wav"
