"""soundata: an index with MD5 sums, and a loader module with soundata's ``Dataset`` and ``Clip``.

::

    bgknown_esc_50.py            the loader
    bgknown_esc_50_index.json    every file of the dataset with its MD5
    README.md                    dataset card, written last

As in soundata, these describe a dataset that stays where it is: ``Dataset(data_home=...)`` names its folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bgknown.exports.card import CARD, CardFacts, compose_card, format_citations, make_plain_name
from bgknown.exports.columns import TableColumn, list_table_columns
from bgknown.exports.licences import find_licences
from bgknown.exports.parts import ExportPart, HashedStream, PartSize, WrittenPart
from bgknown.exports.soundata_loader import LoaderFacts, compose_loader
from bgknown.exports.source import ExportSource
from bgknown.jobs.parallel import open_bar

_PYTHON_TYPES = {"text": "str", "integer": "int", "number": "float"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundataExport:
    """The export of a dataset as a loader of soundata."""

    source: ExportSource
    """The dataset."""
    shard_bytes: int
    """Not used: nothing of the audio is copied."""

    @property
    def module(self) -> str:
        """Name of the loader's module."""
        return make_plain_name(self.source.name).replace("-", "_")

    @property
    def version(self) -> str:
        """Version of the dataset in the loader."""
        return str(self.source.description.get("version") or "1.0.0")

    def check(self) -> None:
        """Every dataset can be written."""

    def list_facts(self) -> list[object]:
        """Only the dataset counts."""
        return []

    def list_parts(self) -> list[ExportPart]:
        """There are no large files."""
        return []

    def write_part(self, part: ExportPart, stream: HashedStream, advance: Callable[[int], object]) -> PartSize:
        """There is nothing to write."""
        return PartSize(rows=0, memory_bytes=0)

    def compose_files(self, parts: Sequence[WrittenPart]) -> dict[str, bytes]:
        """The index, the loader and the card."""
        index = f"{self.module}_index.json"
        loader = compose_loader(
            LoaderFacts(
                name=self.module,
                title=self.source.name,
                version=self.version,
                index=index,
                key=self.source.key,
                signals=self.source.signals,
                has_jams=self.source.has_jams,
                columns=tuple(self._list_columns()),
                citations=format_citations(self.source),
                licences=find_licences(self.source).short_text,
            )
        )
        first = self.source.signals[0]
        facts = CardFacts(
            title="A loader for soundata.",
            layout=f"{self.module}.py  the loader\n{index}  every file of the dataset with its MD5 sum",
            loading=(
                f"import {self.module}  # this folder is on the path, or the loader is in soundata/datasets\n\n"
                f'data = {self.module}.Dataset(data_home="FOLDER OF THE DATASET")\n'
                f"missing, changed = data.validate()\n"
                f"samples, rate_hz = data.choice_clip().{first}"
            ),
            columns=[(column.name, _PYTHON_TYPES[column.kind]) for column in self._list_columns()],
            notes=(
                "The audio is not part of this folder: it stays in the dataset's own folder, which `data_home` names.\n"
                "Each column of the manifest is an attribute of a clip; audio files are attributes by their signal."
            ),
        )
        return {index: self._compose_index(), f"{self.module}.py": loader, CARD: compose_card(self.source, facts)}

    def _list_columns(self) -> list[TableColumn]:
        return list_table_columns(self.source.table)

    def _compose_index(self) -> bytes:
        """The index: each file of each row with its MD5 sum, and the tables."""
        clips: dict[str, Any] = {}
        with open_bar(len(self.source.table), "MD5", "row") as bar:
            for row in self.source.list_rows(range(len(self.source.table))):
                clips[str(row[self.source.key])] = {
                    kind: _describe_indexed(row[f"{kind}_file"], self.source.read_file(row, kind))
                    for kind in self.source.kinds
                }
                bar.update(1)
        tables = {
            name.replace(".", "_"): _describe_indexed(name, self.source.read_table(name))
            for name, _ in self.source.list_files()
        }
        return (json.dumps({"version": self.version, "clips": clips, "metadata": tables}, indent=1) + "\n").encode()


def _describe_indexed(file: str, data: bytes | None) -> list[str | None]:
    return [None, None] if data is None else [file, hashlib.md5(data, usedforsecurity=False).hexdigest()]
