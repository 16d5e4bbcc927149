"""CSV tables as text: the one reader that everything here uses, and checks of its columns and rows.

A table is UTF-8 text with a header. Every row has as many fields as the header, and every value stays the text that it
is: nothing is guessed to be a number, a date or missing. Line numbers in messages are those of an editor, also where a
quoted field holds line breaks.
"""

from __future__ import annotations

import csv
import io
import math
import operator
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError, NotFoundError, OutOfRangeError
from bgknown.jobs.files import describe_storage_error
from bgknown.shown import escape_cell

_LINES = "lines"  # the attribute of a table that holds where its rows begin, kept only where that is not 2, 3, ...
_UNCLOSED = "unexpected end of data"
_TOO_LONG = "field larger than field limit"


def list_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries: what ``to_dict("records")`` gives, with texts for the names."""
    if table.empty:
        return [{} for _ in range(len(table))]
    names = [str(name) for name in table.columns]
    columns = [_list_values(table.iloc[:, place]) for place in range(len(names))]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _list_values(column: pd.Series) -> list[Any]:
    """The values of a column as Python's own; of numbers and texts in a quarter of the time that pandas takes."""
    values = column.tolist()
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return values
    if all(type(value) is str for value in values):
        return values
    return [row["value"] for row in column.to_frame("value").to_dict("records")]


def read_csv(path: Path, *, advice: str) -> pd.DataFrame:
    """A CSV table with every column and every value as text.

    Args:
        path: the file.
        advice: what to do where the file is missing or has no rows; ends the message.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: it is not a CSV table, or holds no rows; names the line.
        StorageError: it cannot be read.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; {advice}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise describe_storage_error(error, path) from error
    return parse_csv(data, str(path), advice=advice)


def parse_csv(data: bytes, where: str, *, advice: str) -> pd.DataFrame:
    """The content of a CSV file as a table; arguments and errors as for ``read_csv``.

    Args:
        data: the bytes of the file.
        where: its name, which begins every message.
        advice: what to do where it has no rows; ends the message.
    """
    header, rows = parse_rows(data, where)
    repeated = next((name for name in header if name and header.count(name) > 1), None)
    if repeated is not None:
        raise InvalidInputError(f"{where}, line 1: there are two columns {repeated!r}; column names must differ")
    if not header:
        raise InvalidInputError(f"{where}: not a CSV table: the file is empty; {advice}")
    lines, fields = [], []
    for line, row in rows:
        if len(row) != len(header):
            raise InvalidInputError(f"{where}, line {line}: {_describe_ragged(len(row), len(header))}")
        lines.append(line)
        fields.append(row)
    if not fields:
        raise InvalidInputError(f"{where}: the table has no rows; {advice}")
    table = pd.DataFrame(fields, columns=header, dtype=str)
    if lines != list(range(2, len(lines) + 2)):
        table.attrs[_LINES] = tuple(lines)
    return table


def encode_csv(table: pd.DataFrame) -> bytes:
    """A table as CSV, in which a spreadsheet takes no text for a formula (``bgknown.shown.escape_cell``)."""
    safe = table.copy()
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = [escape_cell(value) if isinstance(value, str) else value for value in safe[name]]
    return safe.to_csv(index=False, lineterminator="\n").encode()


def parse_rows(data: bytes, where: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header of a CSV file, and its rows with the line each begins on; empty lines are skipped.

    Rows keep their lengths; the caller compares them with the header.

    Raises:
        InvalidInputError: at once, or during iteration: not UTF-8, NUL bytes, a quote that is never closed, a field
            longer than 131,072 characters; names the line.
    """
    rows = _parse_records(decode_text(data, where, "a CSV table"), where)
    _, header = next(rows, (1, []))
    return header, rows


def decode_text(data: bytes, where: str, kind: str = "a text") -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        InvalidInputError: it is of another encoding, or holds NUL bytes; names the line.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidInputError(f"{where}, line {line}: not {kind} in UTF-8; save the file in that encoding") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InvalidInputError(f"{where}, line {line}: not {kind}: holds a NUL byte, so it is damaged")
    return text


def _parse_records(text: str, where: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begins = 1
    try:
        for row in reader:
            if len(row) > 1 or (row and row[0].strip()):
                yield begins, row
            begins = reader.line_num + 1
    except csv.Error as error:
        fault = str(error)
        if _UNCLOSED in fault:
            fault = "a quote is opened and never closed"
        elif _TOO_LONG in fault:
            fault = f"a field is longer than {csv.field_size_limit():,} characters"
        raise InvalidInputError(f"{where}, line {begins}: not a CSV table ({fault}); correct this line") from error


def _describe_ragged(found: int, expected: int) -> str:
    """What is wrong with a row whose length differs from the header's."""
    more = "a field that holds a comma must be in quotes" if found > expected else "fields are missing"
    return f"{found} field{'s' * (found != 1)}, the header has {expected}; {more}"


def read_text_table(path: Path, columns: Sequence[str], *, advice: str) -> pd.DataFrame:
    """A CSV table with every value as text, cut to the columns that are needed.

    Args:
        path: the file.
        columns: the columns to return, in this order.
        advice: what to do where the file or its columns are missing; ends the message.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: it is not a CSV table, lacks columns, or holds no rows; names the line.
        StorageError: it cannot be read.
    """
    return select(read_csv(path, advice=advice), columns, path, advice=advice)


def select(table: pd.DataFrame, columns: Sequence[str], path: Path, *, advice: str) -> pd.DataFrame:
    """Some columns of a table, in the given order.

    Raises:
        InvalidInputError: the table lacks some; names them.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        names = f"column{'s' * (len(missing) > 1)} {', '.join(missing)}"
        raise InvalidInputError(f"{path}: {names} missing{_hint_at_header(list(table.columns), missing)}; {advice}")
    return table[list(columns)]


def _hint_at_header(found: Sequence[str], missing: Sequence[str]) -> str:
    """Why columns may be missing from a header that looks complete; empty where it does not."""
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(found) == 1 and mark in found[0]:
            return f" (the header is separated by {name}; save the table with commas)"
    wanted = {name.casefold() for name in missing}
    similar = [name for name in found if name.strip().casefold() in wanted]
    return f" (it has {', '.join(map(repr, similar))}; names must be exact)" if similar else ""


def find_line_numbers(table: pd.DataFrame) -> Sequence[int]:
    """The line of the file that each row of a table begins on, for a table as it was read: all rows, in their order."""
    lines: Sequence[int] = table.attrs.get(_LINES, ())
    return lines if len(lines) == len(table) else range(2, len(table) + 2)


def parse_whole_numbers(table: pd.DataFrame, column: str, path: Path) -> list[int]:
    """A text column as integers of at most 12 digits.

    Raises:
        InvalidInputError: a value is not one; names the first such line.
    """
    values = []
    for line, text in zip(find_line_numbers(table), table[column], strict=True):
        if not re.fullmatch(r"-?[0-9]{1,12}", text.strip()):
            raise InvalidInputError(f"{path}, line {line}: {column} is {text[:40]!r}; it must be a whole number")
        values.append(int(text.strip()))
    return values


def parse_numbers(table: pd.DataFrame, column: str, path: Path) -> list[float]:
    """A text column as finite floats.

    Raises:
        InvalidInputError: a value is not one; names the first such line.
    """
    values = []
    for line, text in zip(find_line_numbers(table), table[column], strict=True):
        try:
            value = math.nan if "_" in text else float(text)  # 1_000 is a number in Python only
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InvalidInputError(f"{path}, line {line}: {column} is {text[:40]!r}; it must be a number")
        values.append(value)
    return values


def check_place(place: Any, rows: int) -> int:
    """The row that a number stands for, 0 <= row < rows; negative numbers count from the end.

    Raises:
        InvalidInputError: it is not a whole number.
        OutOfRangeError: there is no such row.
    """
    if isinstance(place, bool) or not hasattr(place, "__index__"):
        raise InvalidInputError(f"the place is {shorten_value(place)}; it must be a whole number")
    number = operator.index(place)
    if not -rows <= number < rows:
        raise OutOfRangeError(f"there is no row {number}; there are {rows}")
    return number % rows


def select_rows(table: pd.DataFrame, column: str, value: object, *, known: Sequence[str]) -> pd.DataFrame:
    """The rows that have a value in a column.

    Args:
        table: the table.
        column: the column.
        value: the value.
        known: all values that it can have.

    Raises:
        NotFoundError: the value is not one of these.
    """
    if value not in known:
        raise NotFoundError(f"there is no {column} {shorten_value(value)}; there are: {', '.join(known)}")
    return table[table[column] == value]
