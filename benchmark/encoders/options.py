"""Options in names, which follow a ``?``: parsed as text, and listed with what they do.

``bgknown.settings.read_options`` turns the text into a record.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
from dataclasses import dataclass
from urllib.parse import parse_qsl

from bgknown.errors import InvalidInputError


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
        InvalidInputError: a part is not ``key=value``, or a key is repeated.
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


def list_options(record: type) -> list[OptionFacts]:
    """The options of a kind, with the docstrings of their fields."""
    about = _read_field_docs(record)
    return [
        OptionFacts(
            name=field.name,
            default="" if field.default is None else str(field.default),
            about=about.get(field.name, ""),
        )
        for field in dataclasses.fields(record)
    ]


def _read_field_docs(record: type) -> dict[str, str]:
    """The docstrings of the fields of a dataclass, each on one line."""
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
