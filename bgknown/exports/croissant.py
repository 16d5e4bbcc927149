"""Croissant, the metadata of MLCommons: a croissant.json that describes tables and tar archives next to it.

::

    croissant.json        metadata: files with their SHA-256, record sets
    manifest.csv          the dataset's own table; also dataset.json, recipe.csv, ATTRIBUTION.csv where there are some
    {tag}-mix-00000.tar   audio/mix/{clip_id}.wav ..., an archive or several for each signal
    README.md             dataset card, written last

The record set ``rows`` has every column of the manifest; a record set for each signal joins it with the audio's bytes.
Names of archives begin with a fingerprint of the manifest and the size of a shard: readers cache what they have
extracted by this name alone.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bgknown.exports.card import CARD, CardFacts, compose_card, format_citations, make_plain_name
from bgknown.exports.columns import TableColumn, describe_column, list_table_columns
from bgknown.exports.licences import Licences, find_licences
from bgknown.exports.parts import ExportPart, HashedStream, PartSize, WrittenPart, measure_rows, split_rows
from bgknown.exports.source import ExportSource
from bgknown.exports.webdataset import add_member
from bgknown.jobs.files import hash_bytes
from bgknown.mixtures.dataset import MANIFEST

METADATA = "croissant.json"
ROWS_SET = "rows"
"""The record set of the manifest."""
_DATA_TYPES = {"text": "sc:Text", "integer": "sc:Integer", "number": "sc:Float"}
_ENCODINGS = {"csv": "text/csv", "json": "application/json", "wav": "audio/wav", "flac": "audio/flac"}
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification of Croissant 1.0 prescribes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CroissantExport:
    """The export of a dataset with Croissant metadata."""

    source: ExportSource
    """The dataset."""
    shard_bytes: int
    """Largest sum of files in an archive."""

    @property
    def tag(self) -> str:
        """What the names of the archives begin with."""
        return hash_bytes(self.source.read_table(MANIFEST), str(self.shard_bytes).encode())[:12]

    def check(self) -> None:
        """Every dataset can be written."""

    def list_facts(self) -> list[object]:
        """Only the dataset counts."""
        return []

    def list_parts(self) -> list[ExportPart]:
        """The archives of every signal."""
        parts, tag = [], self.tag
        for kind in self.source.kinds:
            sizes = measure_rows(self.source, [kind])
            for number, places in enumerate(split_rows(sizes, self.shard_bytes)):
                size = sum(sizes[place] for place in places) + 2_048 * len(places)
                name = f"{tag}-{kind}-{number:05d}.tar"
                parts.append(ExportPart(file=name, kind=kind, split="", places=tuple(places), size_bytes=size))
        return parts

    def write_part(self, part: ExportPart, stream: HashedStream, advance: Callable[[int], object]) -> PartSize:
        """Write an archive: the files under the paths of the manifest."""
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for row in self.source.list_rows(part.places):
                data = self.source.read_file(row, part.kind)
                if data is not None:
                    add_member(tar, row[f"{part.kind}_file"], data)
                advance(1)
        return PartSize(rows=len(part.places), memory_bytes=stream.size)

    def compose_files(self, parts: Sequence[WrittenPart]) -> dict[str, bytes]:
        """The tables, the metadata and the card."""
        tables = {name: self.source.read_table(name) for name, _ in self.source.list_files()}
        metadata = self._compose_metadata(tables, parts)
        facts = CardFacts(
            title="Croissant metadata of MLCommons, with the dataset's tables and its audio in tar archives.",
            layout=(
                f"{METADATA}  metadata\n{MANIFEST}  the dataset's own table\n"
                f"{self.tag}-{{{','.join(self.source.kinds)}}}-{{number}}.tar  the files of the dataset"
            ),
            loading=(
                "import mlcroissant\n\n"
                f'data = mlcroissant.Dataset("FOLDER/{METADATA}")\n'
                f'for record in data.records("{ROWS_SET}"):  # or {", ".join(self.source.kinds)}: the files\n'
                "    print(record)"
            ),
            columns=[(column.name, _DATA_TYPES[column.kind]) for column in self._list_columns()],
        )
        return {**tables, METADATA: metadata, CARD: compose_card(self.source, facts)}

    def _list_columns(self) -> list[TableColumn]:
        """The columns under the names that they have in the manifest."""
        sides = {f"{signal}_file": signal for signal in self.source.signals} if self.source.is_pairs else {}
        return [
            TableColumn(name=sides.get(column.name, column.name), kind=column.kind)
            for column in list_table_columns(self.source.table)
        ]

    def _compose_metadata(self, tables: dict[str, bytes], parts: Sequence[WrittenPart]) -> bytes:
        licences = find_licences(self.source)
        distribution = [_describe_object(name, len(data), hash_bytes(data)) for name, data in tables.items()]
        distribution += [_describe_object(part.file, part.size, part.sha256) for part in parts]
        distribution += [self._describe_set(kind, parts) for kind in self.source.kinds]
        metadata = {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": "http://mlcommons.org/croissant/1.0",
            "name": make_plain_name(self.source.name),
            "description": f"{self.source.name}, dataset {self.source.dataset_id}",
            "version": str(self.source.description.get("version") or "1.0.0"),
            "license": _list_licences(licences),
            "citeAs": format_citations(self.source),
            "url": "https://github.com/nttcslab/apwd-dataset" if self.source.is_pairs else licences.corpora[0].url,
            "distribution": distribution,
            "recordSet": [self._describe_rows(), *(self._describe_files(kind) for kind in self.source.kinds)],
        }
        return (json.dumps({name: value for name, value in metadata.items() if value}, indent=2) + "\n").encode()

    def _describe_set(self, kind: str, parts: Sequence[WrittenPart]) -> dict[str, Any]:
        suffix = "jams" if kind == "jams" else self.source.container
        encoding = "application/json" if kind == "jams" else _ENCODINGS[self.source.container]
        archives = [{"@id": part.file} for part in parts if part.kind == kind]
        return {
            "@type": "cr:FileSet",
            "@id": f"{kind}-files",
            "name": f"{kind}-files",
            "containedIn": archives,
            "encodingFormat": encoding,
            "includes": f"*.{suffix}",
        }

    def _describe_rows(self) -> dict[str, Any]:
        fields = [
            _describe_field(ROWS_SET, column.name, column.name, _DATA_TYPES[column.kind])
            for column in self._list_columns()
        ]
        key = {"@id": f"{ROWS_SET}/{self.source.key}"}
        return {"@type": "cr:RecordSet", "@id": ROWS_SET, "name": ROWS_SET, "key": key, "field": fields}

    def _describe_files(self, kind: str) -> dict[str, Any]:
        column = kind if self.source.is_pairs else f"{kind}_file"
        # From the files to the table, not the other way: a reader takes the content of the side that the join begins at
        file = _describe_file_field(kind, "file", "fullpath", "sc:Text")
        file["references"] = {"fileObject": {"@id": MANIFEST}, "extract": {"column": column}}
        content = _describe_file_field(kind, "content", "content", "sc:Text" if kind == "jams" else "sc:AudioObject")
        fields = [_describe_field(kind, self.source.key, self.source.key, "sc:Text"), file, content]
        return {"@type": "cr:RecordSet", "@id": kind, "name": kind, "field": fields}


def _describe_object(name: str, size: int, sha256: str) -> dict[str, Any]:
    suffix = name.rsplit(".", 1)[-1]
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": _ENCODINGS.get(suffix, "application/x-tar"),
        "sha256": sha256,
    }


def _describe_field(record_set: str, name: str, column: str, data_type: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{name}",
        "name": f"{record_set}/{name}",
        "description": describe_column(column) or column,
        "dataType": data_type,
        "source": {"fileObject": {"@id": MANIFEST}, "extract": {"column": column}},
    }


def _describe_file_field(kind: str, name: str, file_property: str, data_type: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{kind}/{name}",
        "name": f"{kind}/{name}",
        "description": f"{describe_column(kind)} ({name})",
        "dataType": data_type,
        "source": {"fileSet": {"@id": f"{kind}-files"}, "extract": {"fileProperty": file_property}},
    }


def _list_licences(licences: Licences) -> list[str]:
    """Addresses of the licences where they are known, else what the corpora say."""
    return [text for text in licences.short_text.split("; ") if text]
