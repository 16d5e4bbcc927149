"""Rows of several folders of results together, and display names for what they hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from benchmark.results.row import ResultRow
from benchmark.results.rows import read_rows
from bgknown.documents import read_toml, shorten_value
from bgknown.errors import InvalidInputError
from bgknown.userpath import user_path

OF_ONE_MEASUREMENT = ("date", "seconds", "version", "commit")
"""Columns in which two measurements of the same figure may differ."""


def read_results(outs: Sequence[Path]) -> list[ResultRow]:
    """The rows of folders of results; a figure that several of them have is there once.

    Args:
        outs: folders of results.

    Raises:
        InvalidInputError: two folders have different figures of the same run; names both.
        NotFoundError: a folder has no results.
    """
    found: dict[tuple[str, ...], tuple[ResultRow, Path]] = {}
    for out in outs:
        for row in read_rows(out):
            before, where = found.setdefault(row.identity, (row, out))
            differing = _find_difference(before, row)
            if differing:
                first, second = (getattr(one, differing) for one in (before, row))
                raise InvalidInputError(
                    f"{where} and {out} have different results of {row.encoder} on {row.task}, {row.setting}, "
                    f"{row.metric} ({differing} {first} and {second}); leave one of them out, or give one of the "
                    f"encoders another name with `benchmark run --name`"
                )
    return [row for row, _ in found.values()]


def _find_difference(first: ResultRow, second: ResultRow) -> str:
    """The first column in which two rows differ; empty for none."""
    names = (field.name for field in dataclasses.fields(ResultRow) if field.name not in OF_ONE_MEASUREMENT)
    return next((name for name in names if getattr(first, name) != getattr(second, name)), "")


def read_names(texts: Sequence[str]) -> dict[str, str]:
    """Display names from texts ``OLD=NEW`` and TOML files of ``OLD = "NEW"``.

    Raises:
        InvalidInputError: a text is neither, or a file breaks a rule.
        NotFoundError: there is no such file.
    """
    names: dict[str, str] = {}
    for text in texts:
        path = user_path(text)
        if path.suffix == ".toml":
            given = read_toml(path)
            for old, new in given.items():
                if not isinstance(new, str):
                    raise InvalidInputError(f"{path}: {old} is {shorten_value(new)}, must be a display name in quotes")
            names |= given
            continue
        old, equals, new = text.partition("=")
        if not (old.strip() and equals and new.strip()):
            raise InvalidInputError(f'--names is {text!r}; it must be OLD=NEW, or a .toml file of OLD = "NEW"')
        names[old.strip()] = new.strip()
    return names
