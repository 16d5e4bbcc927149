"""Tar shards as ``webdataset`` reads them: one sample per clip, files with the same name next to each other.

::

    README.md             dataset card, written last
    train-000000.tar      {id}.mix.wav, {id}.a.wav, {id}.b.wav, {id}.c.wav, {id}.jams, {id}.json for each clip
    export.json           what it was made of

The JSON is the row of the manifest. In a sample's name, everything but letters, digits, ``-``, ``_`` and ``~`` is
percent-encoded, because the name ends at its first dot.
"""

from __future__ import annotations

import io
import json
import tarfile
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bgknown.exports.card import CARD, CardFacts, compose_card
from bgknown.exports.columns import list_table_columns
from bgknown.exports.parts import ExportPart, HashedStream, PartSize, WrittenPart, plan_shards
from bgknown.exports.source import ExportSource

_JSON_TYPES = {"text": "string", "integer": "integer", "number": "number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebdatasetExport:
    """The export of a dataset as tar shards."""

    source: ExportSource
    """The dataset."""
    shard_bytes: int
    """Largest sum of files in a shard."""

    def check(self) -> None:
        """Every dataset can be written."""

    def list_facts(self) -> list[object]:
        """Only the dataset counts."""
        return []

    def list_parts(self) -> list[ExportPart]:
        """The shards of every split."""
        return plan_shards(self.source, self.source.kinds, self.shard_bytes, _name_tar)

    def write_part(self, part: ExportPart, stream: HashedStream, advance: Callable[[int], object]) -> PartSize:
        """Write a shard."""
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for row in self.source.list_rows(part.places):
                name = name_sample(str(row[self.source.key]))
                for kind in self.source.kinds:
                    data = self.source.read_file(row, kind)
                    if data is not None:
                        add_member(tar, f"{name}.{self._name_suffix(kind)}", data)
                add_member(tar, f"{name}.json", json.dumps(row, ensure_ascii=False).encode())
                advance(1)
        return PartSize(rows=len(part.places), memory_bytes=stream.size)

    def compose_files(self, parts: Sequence[WrittenPart]) -> dict[str, bytes]:
        """The card."""
        split = self.source.splits[0]
        count = sum(part.split == split for part in parts)
        shards = f"{split}-{{000000..{count - 1:06d}}}.tar" if count > 1 else f"{split}-000000.tar"
        first = self._name_suffix(self.source.signals[0])
        files = [f"{{id}}.{self._name_suffix(kind)}" for kind in self.source.kinds]
        facts = CardFacts(
            title="Tar shards for webdataset.",
            layout=f"{{split}}-{{shard}}.tar  {', '.join([*files, '{id}.json'])} for each row",
            loading=(
                "import webdataset\n\n"
                f'for sample in webdataset.WebDataset("FOLDER/{shards}", shardshuffle=False):\n'
                f'    row, audio = sample["json"], sample["{first}"]  # bytes of the files'
            ),
            columns=[(column.name, _JSON_TYPES[column.kind]) for column in list_table_columns(self.source.table)],
            notes="The columns are those of the JSON. In a sample's name, dots are written as %2E.",
        )
        return {CARD: compose_card(self.source, facts)}

    def _name_suffix(self, kind: str) -> str:
        """What follows the name of a sample."""
        return kind if kind == "jams" else f"{kind}.{self.source.container}"


def name_sample(key: str) -> str:
    """The name of a sample: no dots, since what follows the first dot is the kind of the file.

    >>> name_sample("1-100032-A-0_snr-2.5")
    '1-100032-A-0_snr-2%2E5'
    """
    return urllib.parse.quote(key, safe="").replace(".", "%2E")


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file whose bytes in the archive depend on its name and content alone."""
    info = tarfile.TarInfo(name)  # the defaults: time 0, owner 0, no names of users, mode 644
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _name_tar(split: str, number: int, count: int) -> str:
    return f"{split}-{number:06d}.tar"
