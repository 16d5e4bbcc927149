"""Texts written by people, from tables, which replace those made from the JAMS.

A table has the columns ``pair,text``, with one row per text, or those of AudioDiffCaps
(``key``, and ``caption_1`` to ``caption_5``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bgknown import seeding
from bgknown.errors import InvalidInputError
from bgknown.shown import escape_line
from bgknown.tables import find_line_numbers, list_records, read_csv

_ADVICE = "give the columns pair,text, or AudioDiffCaps' key,caption_1,..."
_CAPTION = "caption_"


def read_text_tables(paths: Iterable[Path]) -> dict[str, tuple[str, ...]]:
    """Texts by pair, from several tables.

    Raises:
        NotFoundError, InvalidInputError: as ``read_texts``; or a pair is in two tables.
    """
    texts: dict[str, tuple[str, ...]] = {}
    for path in paths:
        for pair, found in read_texts(path).items():
            if pair in texts:
                raise InvalidInputError(
                    f"{path}: the pair {pair} has texts in another table too; leave out one of them"
                )
            texts[pair] = found
    return texts


def read_texts(path: Path) -> dict[str, tuple[str, ...]]:
    """Texts by pair, at least one of each pair, in the table's order.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is not such a table; names the line.
    """
    table = read_csv(path, advice=_ADVICE)
    captions = [name for name in table.columns if name.startswith(_CAPTION)]
    if {"pair", "text"} <= set(table.columns):
        name, columns = "pair", ["text"]
    elif "key" in table.columns and captions:
        name, columns = "key", captions
    else:
        raise InvalidInputError(f"{path}: has the columns {', '.join(map(escape_line, table.columns))}; {_ADVICE}")
    texts: dict[str, list[str]] = {}
    for line, row in zip(find_line_numbers(table), list_records(table), strict=True):
        pair = str(row[name])
        found = [text for column in columns if (text := " ".join(str(row[column]).split()))]
        if not pair.strip() or not found:
            raise InvalidInputError(
                f"{path}, line {line}: {'the pair' if not pair.strip() else f'the text of {pair}'} is empty"
            )
        if name == "key" and pair in texts:
            raise InvalidInputError(f"{path}, line {line}: the pair {pair} has two rows")
        for text in found:
            if text in texts.setdefault(pair, []) and name == "pair":
                raise InvalidInputError(f"{path}, line {line}: the pair {pair} already has the text {text!r}")
            texts[pair].append(text)
    return {pair: tuple(dict.fromkeys(found)) for pair, found in texts.items()}


def choose_text(texts: Sequence[str], pair: str) -> str:
    """One of a pair's texts, chosen by the pair's name."""
    return texts[seeding.derive_key(0, "chosen text", pair) % len(texts)]
