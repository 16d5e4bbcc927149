"""Parquet in the layout of the Hugging Face hub, which ``datasets.load_dataset`` reads.

::

    README.md                            dataset card with configs and features, written last
    data/train-00000-of-00008.parquet    every column of the manifest, and audio as the bytes of its file
    export.json                          what it was made of
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bgknown.exports.arrow import (
    ArrowColumn,
    format_config,
    format_dataset_info,
    import_pyarrow,
    make_audio_value,
    make_columns,
    write_parquet,
)
from bgknown.exports.card import CARD, CardFacts, compose_card
from bgknown.exports.parts import ExportPart, HashedStream, PartSize, WrittenPart, plan_shards
from bgknown.exports.source import ExportSource

_FORMAT_NAME = "parquet"
_CONFIG = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetExport:
    """The export of a dataset as Parquet."""

    source: ExportSource
    """The dataset."""
    shard_bytes: int
    """Largest sum of files in a shard."""

    @property
    def columns(self) -> list[ArrowColumn]:
        """The columns of every shard."""
        return make_columns(self.source, self.source.signals)

    def check(self) -> None:
        """Refuse to begin without pyarrow.

        Raises:
            NotFoundError: it is not installed.
        """
        import_pyarrow(_FORMAT_NAME)

    def list_facts(self) -> list[object]:
        """Other versions of pyarrow write other bytes."""
        return [import_pyarrow(_FORMAT_NAME).__version__]

    def list_parts(self) -> list[ExportPart]:
        """The shards of every split."""
        return plan_shards(self.source, self.source.kinds, self.shard_bytes, _name_shard)

    def write_part(self, part: ExportPart, stream: HashedStream, advance: Callable[[int], object]) -> PartSize:
        """Write a shard."""
        return write_parquet(stream, self.columns, self._list_values(part), advance=advance, format=_FORMAT_NAME)

    def compose_files(self, parts: Sequence[WrittenPart]) -> dict[str, bytes]:
        """The card."""
        header = ["configs:", *format_config(_CONFIG, "data", self.source.splits)]
        header += ["dataset_info:", *format_dataset_info(_CONFIG, self.columns, parts, indent="  ")]
        audio = ", ".join(f'"{signal}"' for signal in self.source.signals)
        split = self.source.splits[0]
        facts = CardFacts(
            title="Parquet in the layout of the Hugging Face hub.",
            layout="data/{split}-{shard}-of-{shards}.parquet  one row per clip; audio is the bytes of its file",
            loading=(
                "from datasets import Audio, load_dataset\n\n"
                f'data = load_dataset("FOLDER OR REPOSITORY", split="{split}")\n'
                f"for name in ({audio}):\n"
                "    data = data.cast_column(name, Audio(decode=False))  # the bytes; leave out to decode by torchcodec"
            ),
            columns=[(column.name, column.shown_type) for column in self.columns],
            header=header,
        )
        return {CARD: compose_card(self.source, facts)}

    def _list_values(self, part: ExportPart) -> Iterator[dict[str, Any]]:
        for row in self.source.list_rows(part.places):
            audio = {
                signal: make_audio_value(row[f"{signal}_file"], self.source.read_file(row, signal))
                for signal in self.source.signals
            }
            jams = self.source.read_file(row, "jams") if self.source.has_jams else None
            yield {**row, **audio, **({} if jams is None else {"jams": jams.decode()})}


def _name_shard(split: str, number: int, count: int) -> str:
    return f"data/{split}-{number:05d}-of-{count:05d}.parquet"
