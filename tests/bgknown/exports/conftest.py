"""Small datasets of both kinds for the exports, and the values that every export must have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bgknown.exports.export import export_dataset
from bgknown.exports.source import ExportSource, open_source
from tests.bgknown.apwd.conftest import make_pairs


def keep_rows(folder: Path, names: list[str]) -> None:
    """Leave only some rows in the manifest of a copied dataset."""
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    table[table.iloc[:, 0].isin(names)].to_csv(folder / "manifest.csv", index=False, lineterminator="\n")


@pytest.fixture(scope="session")
def clips(built, tmp_path_factory) -> Path:
    """Four clips of a BgKnown dataset, two of them in each split; one has a dot in its name."""
    folder = tmp_path_factory.mktemp("exports") / "clips"
    shutil.copytree(built[1], folder)
    keep_rows(folder, ["1-100-A-0", "2-201-A-1", "4-400-A-0", "5-501-A-1"])
    text = (folder / "manifest.csv").read_text()
    (folder / "manifest.csv").write_text(text.replace("\n2-201-A-1,", "\n2-201-A-1_snr-2.5,"))
    return folder


@pytest.fixture(scope="session")
def pair_set(tmp_path_factory) -> Path:
    """Six pairs of both splits, in two scenes; two of them have the same second soundscape."""
    root = tmp_path_factory.mktemp("exports")
    folder = root / "pairs"
    make_pairs(root / "made").build(folder)
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    names = [f"rain_{split}_{change}" for split in ("dev", "eval") for change in ("added", "louder", "two")]
    table = table[table["pair"].isin(names)].reset_index(drop=True)
    twin = table.index[table["pair"] == "rain_dev_louder"][0], table.index[table["pair"] == "rain_dev_added"][0]
    table.loc[twin[0], ["s2", "s2_sha256"]] = table.loc[twin[1], ["s2", "s2_sha256"]].to_numpy()
    table.loc[table["pair"].str.endswith("two"), "scene"] = "traffic"
    table.to_csv(folder / "manifest.csv", index=False, lineterminator="\n")
    return folder


@pytest.fixture(params=["clips", "pair_set"])
def source(request) -> ExportSource:
    """Each kind of dataset in turn."""
    return open_source(request.getfixturevalue(request.param))


def export(source: ExportSource, out: Path, format: str, shard_mb: int = 1) -> Path:
    """Export a dataset; returns the folder."""
    export_dataset(source.root, out, format=format, shard_mb=shard_mb)
    return out


def list_expected(source: ExportSource, split: str | None = None) -> list[dict]:
    """The rows of a dataset as the manifest has them."""
    rows = list(source.list_rows(range(len(source.table))))
    return [row for row in rows if split in {None, row["split"]}]


def read_bytes(source: ExportSource, row: dict, kind: str) -> bytes:
    """A file of the dataset."""
    return (source.root / row[f"{kind}_file"]).read_bytes()


def read_export(folder: Path) -> dict:
    """The content of export.json."""
    return json.loads((folder / "export.json").read_text())
