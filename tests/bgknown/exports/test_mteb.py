"""A retrieval task, loaded by mteb's own loader."""

import datasets
import pytest

from bgknown import export_dataset
from bgknown.errors import InvalidInputError
from bgknown.exports.source import open_source
from tests.bgknown.exports.conftest import export, keep_rows, list_expected, read_bytes

loaders = pytest.importorskip("mteb.abstasks.retrieval_dataset_loaders", reason="mteb is not installed")


class Loader(loaders.RetrievalDatasetLoader):
    """mteb's loader, with audio as bytes: decoding needs torchcodec."""

    def _load_dataset_split(self, config, num_proc):
        data = datasets.load_dataset(self.hf_repo, config, split=self._get_split(config))
        if "audio" in data.features:
            assert isinstance(data.features["audio"], datasets.Audio)
            data = data.cast_column("audio", datasets.Audio(decode=False))
        return data


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def check(task, source, rows, relevant):
    """Compare what mteb has loaded with pairs."""
    queries = {query["id"]: query for query in task["queries"]}
    corpus = {target["id"]: target for target in task["corpus"]}
    assert list(queries) == [row["pair"] for row in rows]
    assert list(corpus) == [f"{row['pair']}_s2" for row in rows]
    for row in rows:
        assert queries[row["pair"]]["text"] == row["text"]
        assert queries[row["pair"]]["audio"]["bytes"] == read_bytes(source, row, "s1")
        assert corpus[f"{row['pair']}_s2"]["audio"]["bytes"] == read_bytes(source, row, "s2")
    assert task["relevant_docs"] == relevant
    assert task["top_ranked"] is None


def test_mteb_loads_each_scene_as_a_subset(pair_set, tmp_path):
    source = open_source(pair_set)
    folder = export(source, tmp_path / "out", "mteb")
    for scene in ("rain", "traffic"):
        for split in ("dev", "eval"):
            rows = [row for row in list_expected(source, split) if row["scene"] == scene]
            relevant = {row["pair"]: {f"{row['pair']}_s2": 1} for row in rows}
            if (scene, split) == ("rain", "dev"):  # the second soundscapes of two pairs are the same
                twins = {"rain_dev_added_s2": 1, "rain_dev_louder_s2": 1}
                relevant = dict.fromkeys(relevant, twins)
            task = Loader(str(folder), "main", split=split, config=scene).load()
            check(task, source, rows, relevant)
    assert (folder / "manifest.csv").read_bytes() == (pair_set / "manifest.csv").read_bytes()


def test_one_scene_has_plain_names(pair_set, tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "audio").symlink_to(pair_set / "audio")
    for name in ("dataset.json", "manifest.csv"):
        (folder / name).write_bytes((pair_set / name).read_bytes())
    keep_rows(folder, ["rain_eval_added", "rain_eval_louder"])
    source = open_source(folder)
    out = export(source, tmp_path / "out", "mteb")
    task = Loader(str(out), "main", split="eval", config="default").load()
    check(task, source, list_expected(source), {row["pair"]: {f"{row['pair']}_s2": 1} for row in list_expected(source)})


def test_what_has_no_targets_is_refused(clips, pair_set, tmp_path):
    with pytest.raises(InvalidInputError, match="mteb is retrieval with pairs .* this is BgKnown ESC-50; give another"):
        export_dataset(clips, tmp_path / "out", format="mteb")
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "audio").symlink_to(pair_set / "audio")
    (folder / "dataset.json").write_bytes((pair_set / "dataset.json").read_bytes())
    text = (pair_set / "manifest.csv").read_text().replace("audio/rain/eval/rain_eval_added_s2.wav", "")
    (folder / "manifest.csv").write_text(text)
    with pytest.raises(InvalidInputError, match="mteb needs both sides of every pair; some have only s1"):
        export_dataset(folder, tmp_path / "out", format="mteb")
    assert not (tmp_path / "out").exists()
