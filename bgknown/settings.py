"""From text, TOML and JSON to frozen dataclasses: the one converter, and the checks that records share.

The type hints of a record's fields say what a value must be. They are resolved by ``typing.get_type_hints`` and may be
``str``, ``int``, ``float``, ``bool``, ``Path``, ``Literal``, another dataclass, tuples and mappings of these, or a type
with None. A whole number is accepted as a number; nothing else is turned into another type. Ranges are checked by
the record itself, in ``__post_init__``. Every message names the file, the key, the value and the rule.

This module needs nothing but Python: ``pretrain`` uses it where no other library is installed.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError
from bgknown.nearest import suggest
from bgknown.shown import escape_line, name_few
from bgknown.userpath import user_path

SettingsRecord = TypeVar("SettingsRecord")

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_RULES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


class _RefusedError(ValueError):
    """A value does not have the type of its field."""


def read_record(
    record: type[SettingsRecord],
    values: object,
    where: str,
    *,
    base: SettingsRecord | None = None,
    without: Iterable[str] = (),
    complete: bool = False,
    others: bool = False,
) -> SettingsRecord:
    """A record from the tables of a TOML file or the objects of a JSON file.

    A field whose name ends in an underscore, because Python reserves the name, is called without it in files.

    Args:
        record: a frozen dataclass.
        values: its values by key; a table for a field that is a record itself.
        where: what holds the values, which begins every message.
        base: keys that are not given keep the values of this record; by default, the defaults of the fields.
        without: fields that a file cannot set.
        complete: whether every field must be given.
        others: whether to skip keys that the record does not have, for files that hold more than is read.

    Raises:
        InvalidInputError: a key is unknown or missing, or a value has another type or is out of range.
    """
    return _read_table(
        record, values, _Place(where, others=others), base=base, without=frozenset(without), complete=complete
    )


def read_options(record: type[SettingsRecord], texts: Mapping[str, str], where: str) -> SettingsRecord:
    """A record from options given as text, such as those in the name of an encoder.

    Args:
        record: a frozen dataclass of simple values; "none" is None where a field may be None.
        texts: the options.
        where: what they were given in, which begins every message.

    Raises:
        InvalidInputError: an option is unknown, or its value has another type or is out of range.
    """
    hints = resolve_hints(record)
    given = {}
    for name, text in texts.items():
        if name not in hints:
            known = suggest(name, hints, none="it takes none")
            raise InvalidInputError(f"{where}: unknown option {shorten_value(name)}; {known}")
        given[name] = read_text(hints[name], text, f"{where}: option {name}")
    return _make(record, given, _Place(where))


def read_text(hint: Any, text: str, what: str) -> Any:
    """A value of a type from its text.

    Args:
        hint: the type.
        text: the value as it was written.
        what: the name of the value, which begins the message.

    Raises:
        InvalidInputError: the text is not that of a value of this type.
    """
    try:
        return _parse(hint, text)
    except ValueError as error:
        raise InvalidInputError(f"{what} is {shorten_value(text)}; it must be {_describe(hint)}") from error


def list_tables(record: Any) -> dict[str, Any]:
    """The values of a record, and of the records in it, by the keys they have in files."""
    return {
        field.name.rstrip("_"): list_tables(value) if dataclasses.is_dataclass(value) else value
        for field in dataclasses.fields(record)
        for value in (getattr(record, field.name),)
    }


def resolve_hints(record: type) -> Mapping[str, Any]:
    """The types of a record's fields, by name."""
    hints = typing.get_type_hints(record)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


def is_optional(hint: Any) -> bool:
    """Whether a type includes None."""
    return type(None) in typing.get_args(hint)


def strip_optional(hint: Any) -> Any:
    """The type without None."""
    rest = [part for part in typing.get_args(hint) if part is not type(None)] if _is_union(hint) else []
    return rest[0] if len(rest) == 1 else hint


def check_one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Check that a value is one of some.

    Raises:
        InvalidInputError: it is not.
    """
    if value not in allowed:
        raise InvalidInputError(f"{name} is {shorten_value(value)}; it must be one of {', '.join(allowed)}")


def check_at_least(name: str, value: float, least: float) -> None:
    """Check that a value is finite and at least a minimum.

    Raises:
        InvalidInputError: it is not.
    """
    if not least <= value < math.inf:
        raise InvalidInputError(f"{name} is {value}; it must be at least {least:g}")


def check_above(name: str, value: float, limit: float) -> None:
    """Check that a value is finite and above a limit.

    Raises:
        InvalidInputError: it is not.
    """
    if not limit < value < math.inf:
        raise InvalidInputError(f"{name} is {value}; it must be above {limit:g}")


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Check that a value is in a range, ends included.

    Raises:
        InvalidInputError: it is not.
    """
    if not low <= value <= high:
        raise InvalidInputError(f"{name} is {value}; it must be from {low:g} to {high:g}")


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """Where a value is: in a file, below some keys; and whether unknown keys are skipped there."""

    where: str
    keys: tuple[str, ...] = ()
    others: bool = False

    def below(self, key: str) -> _Place:
        return dataclasses.replace(self, keys=(*self.keys, key))

    def name(self, *further: str) -> str:
        return escape_line(".".join((*self.keys, *further)))

    def fail(self, what: str) -> InvalidInputError:
        return InvalidInputError(f"{self.where}: {what}")

    def refuse(self, value: object, rule: str) -> InvalidInputError:
        name = f"{self.where}: {self.name()}" if self.keys else self.where
        return InvalidInputError(f"{name} is {shorten_value(value)}; it must be {rule}")


def _read_table(
    record: type[SettingsRecord],
    values: object,
    place: _Place,
    *,
    base: SettingsRecord | None = None,
    without: frozenset[str] = frozenset(),
    complete: bool = False,
) -> SettingsRecord:
    if not isinstance(values, Mapping):
        title = f": write [{place.name()}] above its keys" if place.keys and not place.others else ""
        raise place.refuse(values, f"a table{title}")
    hints = resolve_hints(record)
    names = {name.rstrip("_"): name for name in hints if name not in without}
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in names:
            if place.others:
                continue
            noun = "table" if all(map(dataclasses.is_dataclass, hints.values())) else "key"
            table = f" in [{place.name()}]" if place.keys else ""
            raise place.fail(f"unknown {noun} {shorten_value(key)}{table}; {suggest(str(key), names)}")
        name = names[key]
        held = None if base is None else getattr(base, name)
        given[name] = _read_value(hints[name], value, place.below(key), held)
    if complete and (missing := [key for key in names if key not in values]):
        raise place.fail(f"{name_few(missing)} missing; there must be {', '.join(names)}")
    held_values = {} if base is None else {name: getattr(base, name) for name in hints}
    return _make(record, {**held_values, **given}, place)


def _read_value(hint: Any, value: object, place: _Place, held: Any = None) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _read_table(hint, value, place, base=held)
    if _is_union(hint) and strip_optional(hint) is not hint:
        return None if value is None else _read_value(strip_optional(hint), value, place)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        return _read_items(parts, value, place)
    if origin is list and type(value) is list:
        return [_read_value(parts[0], item, place.below(str(number))) for number, item in enumerate(value, 1)]
    if origin in {dict, Mapping} and isinstance(value, Mapping):
        return {str(key): _read_value(parts[1], item, place.below(str(key))) for key, item in value.items()}
    try:
        return _take(hint, value)
    except ValueError as error:
        raise place.refuse(value, _describe(hint)) from error


def _read_items(parts: tuple[Any, ...], values: list[Any] | tuple[Any, ...], place: _Place) -> tuple[Any, ...]:
    kinds = [parts[0]] * len(values) if parts[-1] is Ellipsis else list(parts)
    if len(values) != len(kinds):
        raise place.refuse(list(values), f"a list of {len(kinds)} values")
    return tuple(
        _read_value(kind, value, place.below(str(number)))
        for number, (kind, value) in enumerate(zip(kinds, values, strict=True), 1)
    )


def _take(hint: Any, value: object) -> Any:
    """A simple value that has its type already."""
    allowed = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    if hint is Any or any(value == one and type(value) is type(one) for one in allowed):
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise _RefusedError from error
    if hint is Path and isinstance(value, str | Path):
        return user_path(value)
    if hint in {str, int, bool, list, dict} and type(value) is hint:
        return value
    raise _RefusedError


def _parse(hint: Any, text: str) -> Any:
    """A simple value from its text."""
    if is_optional(hint) and text.lower() == "none":
        return None
    kind = strip_optional(hint)
    if kind is bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise _RefusedError
        return text.lower() in _TRUE
    return _take(kind, kind(text) if kind in {int, float} else text)


def _make(record: type[SettingsRecord], values: Mapping[str, Any], place: _Place) -> SettingsRecord:
    missing = [
        field.name.rstrip("_")
        for field in dataclasses.fields(record)  # type: ignore[arg-type]
        if field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise place.fail(f"{place.name(missing[0])} is missing")
    try:
        return record(**values)
    except InvalidInputError as error:
        raise place.fail(str(error)) from error


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in {typing.Union, types.UnionType}


def _describe(hint: Any) -> str:
    """A type in words."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if strip_optional(hint) is not hint:
        return _describe(strip_optional(hint))
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin in {tuple, list}:
        return f"a list of {_describe(parts[0]).removeprefix('a ')}s"
    if origin in {dict, Mapping}:
        return "a table"
    return _RULES.get(hint, f"a {getattr(hint, '__name__', hint)}")
