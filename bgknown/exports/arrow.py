"""Parquet files as the ``datasets`` library expects them, written with pyarrow alone.

``datasets`` needs torchcodec to encode audio. Its storage is simple, though: a column of structs with the bytes of a
file and its name, and a key ``huggingface`` in the schema's metadata that says which columns are audio.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from bgknown.errors import NotFoundError
from bgknown.exports.card import quote_yaml
from bgknown.exports.columns import ColumnKind, TableColumn, list_table_columns
from bgknown.exports.parts import HashedStream, PartSize, WrittenPart
from bgknown.exports.source import ExportSource

ROW_GROUP_BYTES = 32_000_000
"""Files that are held in memory at a time, and size of a row group: viewers read one whole row group."""
_VALUES: dict[ColumnKind, str] = {"text": "string", "integer": "int64", "number": "float64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrowColumn:
    """A column of a Parquet file."""

    name: str
    """Its name."""
    kind: ColumnKind | Literal["audio"]
    """The type of its values."""
    rate_hz: int = 0
    """Sampling rate of audio."""

    @property
    def feature(self) -> dict[str, Any]:
        """What ``datasets`` calls it, as in the schema's metadata."""
        if self.kind == "audio":
            return {"sampling_rate": self.rate_hz, "_type": "Audio"}
        return {"dtype": _VALUES[self.kind], "_type": "Value"}

    @property
    def shown_type(self) -> str:
        """Its type as ``datasets`` writes it."""
        return f"audio, {self.rate_hz:,} Hz" if self.kind == "audio" else _VALUES[self.kind]

    def list_yaml(self) -> list[str]:
        """What ``datasets`` calls it, as in a card's header."""
        if self.kind == "audio":
            return [
                f"  - name: {quote_yaml(self.name)}",
                "    dtype:",
                "      audio:",
                f"        sampling_rate: {self.rate_hz}",
            ]
        return [f"  - name: {quote_yaml(self.name)}", f"    dtype: {_VALUES[self.kind]}"]


def import_pyarrow(format: str) -> Any:
    """The module pyarrow, with its Parquet part.

    Args:
        format: the format that needs it, for the message.

    Raises:
        NotFoundError: it is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise NotFoundError(
            f"--format {format} needs pyarrow, which is not installed; run: pip install 'bgknown[exports]'"
        ) from error
    return pyarrow


def make_columns(source: ExportSource, audio: Sequence[str]) -> list[ArrowColumn]:
    """The manifest's columns with audio after the row's name, and the JAMS at the end where there are some.

    Args:
        source: the dataset.
        audio: the columns of audio.
    """
    plain = [_make_plain(column) for column in list_table_columns(source.table)]
    sound = [ArrowColumn(name=name, kind="audio", rate_hz=source.rate_hz) for name in audio]
    first = next(place for place, column in enumerate(plain) if column.name == source.key) + 1
    jams = [ArrowColumn(name="jams", kind="text")] if source.has_jams else []
    return [*plain[:first], *sound, *plain[first:], *jams]


def _make_plain(column: TableColumn) -> ArrowColumn:
    return ArrowColumn(name=column.name, kind=column.kind)


def make_audio_value(file: str, data: bytes | None) -> dict[str, Any] | None:
    """The value of an audio column: the bytes of a file, and its name."""
    return None if data is None else {"bytes": data, "path": PurePosixPath(file).name}


def write_parquet(
    stream: HashedStream,
    columns: Sequence[ArrowColumn],
    rows: Iterable[dict[str, Any]],
    *,
    advance: Callable[[int], object],
    format: str,
) -> PartSize:
    """Write rows to a Parquet file, a row group at a time.

    Args:
        stream: the file.
        columns: its columns.
        rows: values by column.
        advance: is called with the number of rows written.
        format: the format, for the message if pyarrow is missing.

    Returns:
        what was written.
    """
    pyarrow = import_pyarrow(format)
    schema = _make_schema(pyarrow, columns)
    plain = [column.name for column in columns if column.kind != "audio"]
    count = memory_bytes = 0
    with pyarrow.parquet.ParquetWriter(stream, schema, use_dictionary=plain, write_page_index=True) as writer:
        for group in _list_groups(rows):
            table = pyarrow.Table.from_pylist(group, schema=schema)
            writer.write_table(table, row_group_size=len(group))
            memory_bytes += int(table.nbytes)
            count += len(group)
            advance(len(group))
    return PartSize(rows=count, memory_bytes=memory_bytes)


def format_dataset_info(
    name: str, columns: Sequence[ArrowColumn], parts: Sequence[WrittenPart], indent: str = ""
) -> list[str]:
    """The lines of a card's ``dataset_info``: features, and the size of each split.

    Args:
        name: name of the configuration.
        columns: its columns.
        parts: its files.
        indent: what every line begins with.
    """
    lines = [f"config_name: {quote_yaml(name)}", "features:"]
    for column in columns:
        lines += [line[2:] for line in column.list_yaml()]
    lines.append("splits:")
    for split in dict.fromkeys(part.split for part in parts):
        of = [part for part in parts if part.split == split]
        lines += [
            f"- name: {quote_yaml(split)}",
            f"  num_bytes: {sum(part.memory_bytes for part in of)}",
            f"  num_examples: {sum(part.rows for part in of)}",
        ]
    lines.append(f"download_size: {sum(part.size for part in parts)}")
    lines.append(f"dataset_size: {sum(part.memory_bytes for part in parts)}")
    return [indent + line for line in lines]


def format_config(name: str, folder: str, splits: Iterable[str], *, default: bool = False) -> list[str]:
    """The lines of a configuration in a card's ``configs``.

    Args:
        name: its name.
        folder: the folder of its files, which are called ``{split}-...``.
        splits: its splits.
        default: whether it is read when none is named.
    """
    lines = [f"- config_name: {quote_yaml(name)}", *(["  default: true"] if default else []), "  data_files:"]
    for split in splits:
        lines += [f"  - split: {quote_yaml(split)}", f"    path: {quote_yaml(f'{folder}/{split}-*')}"]
    return lines


def _make_schema(pyarrow: Any, columns: Sequence[ArrowColumn]) -> Any:
    audio = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    fields = [
        (column.name, audio if column.kind == "audio" else getattr(pyarrow, _VALUES[column.kind])())
        for column in columns
    ]
    info = {"info": {"features": {column.name: column.feature for column in columns}}}
    return pyarrow.schema(fields, metadata={"huggingface": json.dumps(info)})


def _list_groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += 1_000 + sum(len(value["bytes"]) for value in row.values() if isinstance(value, dict))
        if size >= ROW_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
