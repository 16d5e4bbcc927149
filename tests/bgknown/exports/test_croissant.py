"""Croissant metadata, validated and read by ``mlcroissant``."""

import hashlib
import json
import logging

import mlcroissant
import pytest
from mlcroissant._src.operation_graph.operations import extract

from tests.bgknown.exports.conftest import export, list_expected, read_bytes

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*deprecated:DeprecationWarning:rdflib",
    "ignore:.*deprecated:DeprecationWarning:mlcroissant",
    "ignore:unclosed file:ResourceWarning",  # mlcroissant leaves the files open that it reads
)

RECOMMENDED = 'Property "https://schema.org/datePublished" is recommended, but does not exist.'
"""The one warning that may be: a dataset has no date, so that it has the same bytes whenever it is built."""


@pytest.fixture
def opened(source, tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "EXTRACT_PATH", type(extract.EXTRACT_PATH)(tmp_path / "cache"))
    folder = export(source, tmp_path / "out", "croissant")
    return folder, mlcroissant.Dataset(folder / "croissant.json")


def list_plain(records, record_set):
    """Records with texts as text, without the name of their set; an empty text is what a CSV reader makes of it."""
    for record in records:
        plain = {name.removeprefix(f"{record_set}/"): value for name, value in record.items()}
        yield {
            name: value.decode() if isinstance(value, bytes) and name != "content" else value
            for name, value in plain.items()
        }


def test_mlcroissant_finds_nothing_wrong(opened, caplog):
    with caplog.at_level(logging.WARNING):
        issues = opened[1].metadata.ctx.issues
    assert not issues.errors
    assert all(RECOMMENDED in str(warning) for warning in issues.warnings)


def _empty_for_none(row: dict) -> dict:
    return {name: "" if value is None else value for name, value in row.items()}


def test_records_have_the_values_of_the_manifest(opened, source):
    sides = {f"{signal}_file": signal for signal in source.signals} if source.is_pairs else {}
    expected = [{sides.get(name, name): value for name, value in row.items()} for row in list_expected(source)]
    found = list(list_plain(opened[1].records("rows"), "rows"))
    assert [*map(_empty_for_none, found)] == [*map(_empty_for_none, expected)]
    assert all(
        type(record[name]) is type(row[name])
        for record, row in zip(found, expected, strict=True)
        for name in row
        if row[name] not in {"", None}
    )


def test_every_file_of_every_row_is_read(opened, source):
    for kind in source.kinds:
        records = {record[source.key]: record for record in list_plain(opened[1].records(kind), kind)}
        expected = list_expected(source)
        assert set(records) == {row[source.key] for row in expected}
        for row in expected:
            assert records[row[source.key]]["file"] == row[f"{kind}_file"]
            assert records[row[source.key]]["content"] == read_bytes(source, row, kind)


def test_files_have_the_sums_that_are_stated(opened, source):
    folder, _ = opened
    objects = [file for file in json.loads((folder / "croissant.json").read_text())["distribution"] if "sha256" in file]
    assert {file["contentUrl"] for file in objects} == {
        path.name for path in folder.iterdir() if path.name not in {"README.md", "croissant.json", "export.json"}
    }
    for file in objects:
        data = (folder / file["contentUrl"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), f"{len(data)} B") == (file["sha256"], file["contentSize"])
    assert (folder / "manifest.csv").read_bytes() == (source.root / "manifest.csv").read_bytes()
