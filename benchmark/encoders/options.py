"""Options of encoders: what follows a ``?`` in the name of one, read into the kind's own settings."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from bgknown.errors import InvalidInputError

Record = TypeVar("Record")

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionFacts:
    """One option, for a list of them."""

    name: str
    """Its name."""
    default: str
    """Its default, as it would be written."""
    about: str
    """What it does."""


def parse_options(text: str, where: str) -> dict[str, str]:
    """The options in ``key=value&key=value``.

    Args:
        text: what follows the ``?``; may be empty.
        where: the whole name, for messages.

    Raises:
        InvalidInputError: a part is no ``key=value``, or a key comes twice.
    """
    if not text:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise InvalidInputError(f"{where}: options are {text!r}; they must be written key=value&key=value") from error
    given = dict(pairs)
    if len(given) < len(pairs):
        raise InvalidInputError(f"{where}: an option is given twice in {text!r}")
    return given


def resolve_options(record: type[Record], given: Mapping[str, str], where: str) -> Record:
    """A kind's settings with the options that were given.

    Args:
        record: a frozen dataclass whose fields are str, int, float or bool, or one of them or None.
        given: options as text.
        where: the whole name, for messages.

    Raises:
        InvalidInputError: an option is unknown, or its value is of the wrong type.
    """
    kinds = typing.get_type_hints(record)
    names = [field.name for field in dataclasses.fields(record)]  # type: ignore[arg-type]
    values = {}
    for name, text in given.items():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            there = f"there are: {', '.join(names)}" if names else "it takes none"
            raise InvalidInputError(f"{where}: unknown option {name!r}; {hint}{there}")
        values[name] = _value(text, kinds[name], f"{where}: option {name}")
    return record(**values)


def list_options(record: type) -> list[OptionFacts]:
    """The options of a kind, with the docstrings of their fields."""
    about = _field_docs(record)
    return [
        OptionFacts(
            name=field.name,
            default="" if field.default is None else str(field.default),
            about=about.get(field.name, ""),
        )
        for field in dataclasses.fields(record)
    ]


def _value(text: str, kind: Any, what: str) -> Any:
    if isinstance(kind, types.UnionType):
        kinds = [part for part in typing.get_args(kind) if part is not type(None)]
        if text.lower() == "none":
            return None
        kind = kinds[0]
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise InvalidInputError(f"{what} is {text!r}, must be true or false")
        return text.lower() in _TRUE
    try:
        return kind(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise InvalidInputError(f"{what} is {text!r}, must be {wanted}") from error


def _field_docs(record: type) -> dict[str, str]:
    """The strings that stand below the fields of a dataclass, in one line each."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(record)))
    except (OSError, TypeError):  # no source: a compiled plug-in
        return {}
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef))
    docs = {}
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            docs[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return docs
