"""CSV tables as text, tables as rows, and JSON objects."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.errors import InvalidInputError, NotFoundError


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def read_text_table(path: Path, columns: Sequence[str], *, advice: str) -> pd.DataFrame:
    """A CSV table with every value as text, cut to the columns that are needed.

    Args:
        path: the file.
        columns: the columns wanted, in the order wanted.
        advice: what to do where the file or its columns are missing; ends the message.

    Raises:
        NotFoundError: the file is not there.
        InvalidInputError: it is no CSV, lacks columns, or holds no rows.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; {advice}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, UnicodeError) as error:  # pandas' parser errors are ValueErrors
        raise InvalidInputError(f"{path}: not a CSV table ({str(error).strip().splitlines()[0]})") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InvalidInputError(f"{path}: column{'s' * (len(missing) > 1)} {', '.join(missing)} missing; {advice}")
    if table.empty:
        raise InvalidInputError(f"{path}: the table has no rows; {advice}")
    return table[list(columns)]


def read_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object.

    Raises:
        NotFoundError: the file is not there.
        InvalidInputError: it is no JSON, or something else than an object.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: missing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeError) as error:
        raise InvalidInputError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path}: damaged (no JSON object)")
    return content


def whole_numbers(table: pd.DataFrame, column: str, path: Path) -> list[int]:
    """A text column as integers.

    Raises:
        InvalidInputError: names the first line that holds none.
    """
    values = []
    for line, text in enumerate(table[column], start=2):
        if not re.fullmatch(r"-?[0-9]{1,12}", text.strip()):
            raise InvalidInputError(f"{path}, line {line}: {column} is {text[:40]!r}, must be a whole number")
        values.append(int(text))
    return values


def numbers(table: pd.DataFrame, column: str, path: Path) -> list[float]:
    """A text column as finite floats.

    Raises:
        InvalidInputError: names the first line that holds none.
    """
    values = []
    for line, text in enumerate(table[column], start=2):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InvalidInputError(f"{path}, line {line}: {column} is {text[:40]!r}, must be a number")
        values.append(value)
    return values
