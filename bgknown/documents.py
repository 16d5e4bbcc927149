"""JSON, TOML and YAML as trees of plain values, bounded in depth and size, so that reading one is safe and always ends.

Deep nesting, numbers of thousands of digits, aliases that multiply and language-specific tags are refused in
one line that names the file.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error

DEEPEST = 64
"""Deepest nesting that is read."""
MOST_DIGITS = 20
"""Longest whole number that is read, in digits: enough for 64 bits."""
LARGEST_SETTINGS_BYTES = 1 << 18
"""Largest TOML or YAML file that is read; settings are small, and their parsers are slow."""
MOST_ALIASES = 20
"""Most aliases in a YAML file; more could expand beyond any memory."""
MOST_VALUES = 100_000
"""Most values in a YAML file, each counted as often as aliases repeat it."""
_LONG_KEY = re.compile(r"""(?<![\w"'.-])(?:[\w"'-]+[ \t]*\.[ \t]*){64}""")


class _UnreadableError(ValueError):
    """A parser's hook refuses a value."""


def parse_json(data: bytes | str, where: str, *, nan: bool = False) -> Any:
    """The value that a JSON text holds.

    Args:
        data: the text, or its bytes in UTF-8.
        where: its name, which begins every message.
        nan: whether NaN and infinite numbers are accepted, for readers that check every number.

    Raises:
        InvalidInputError: it is not JSON, nested too deeply, or holds a number that is too large.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        value = (_LENIENT if nan else _STRICT).decode(text)
    except RecursionError as error:
        raise InvalidInputError(f"{where}: not JSON ({_describe_depth()})") from error
    except ValueError as error:  # JSON's own errors and those of decoding are ValueErrors
        raise InvalidInputError(f"{where}: not JSON ({_shorten_error(error)})") from error
    return _check_bounds(value, f"{where}: not JSON")


def read_json(path: Path) -> Any:
    """The value that a JSON file holds.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: as ``parse_json``.
        StorageError: it cannot be read.
    """
    return parse_json(_read_bytes(path), str(path))


def read_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: as ``parse_json``, or it holds something other than an object.
        StorageError: it cannot be read.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: missing")
    content = read_json(path)
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path}: damaged (not a JSON object)")
    return content


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Args:
        text: the text.
        where: its name, which begins every message.

    Raises:
        InvalidInputError: it is not TOML, nested too deeply, too long, or holds a number that is too large.
    """
    if len(text) > LARGEST_SETTINGS_BYTES:
        raise InvalidInputError(f"{where}: not TOML ({_describe_size()})")
    if _LONG_KEY.search(text):  # tomllib takes time by the square of its parts
        raise InvalidInputError(f"{where}: not TOML ({_describe_depth()})")
    try:
        tree = tomllib.loads(text, parse_float=_parse_any_float)
    except RecursionError as error:
        raise InvalidInputError(f"{where}: not TOML ({_describe_depth()})") from error
    except (ValueError, UnicodeError) as error:  # TOML's own errors are ValueErrors
        raise InvalidInputError(f"{where}: not TOML ({_shorten_error(error)})") from error
    _check_bounds(tree, f"{where}: not TOML")
    _check_plain(tree, f"{where}: not TOML")
    return tree


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: as ``parse_toml``, or it is not UTF-8.
        StorageError: it cannot be read.
    """
    return parse_toml(_read_text(path, "TOML"), str(path))


def read_yaml(path: Path) -> Any:
    """The value of a YAML file, of plain types only.

    Raises:
        NotFoundError: the file does not exist.
        InvalidInputError: it is not YAML, too deep, too long, has too many aliases, or PyYAML is not installed.
        StorageError: it cannot be read.
    """
    try:
        import yaml  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise InvalidInputError(
            f"{path}: PyYAML is not installed; run: pip install 'bgknown[yaml]', or write the file as .json"
        ) from error
    text = _read_text(path, "YAML")
    try:
        aliases = depth = 0
        for event in yaml.parse(
            text, Loader=yaml.SafeLoader
        ):  # lazily: a file that is too deep is not scanned to its end
            aliases += isinstance(event, yaml.AliasEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if aliases > MOST_ALIASES or depth > DEEPEST:
                raise _UnreadableError(_describe_depth() if depth > DEEPEST else f"more than {MOST_ALIASES} aliases")
        value = yaml.safe_load(text)
    except RecursionError as error:
        raise InvalidInputError(f"{path}: not YAML ({_describe_depth()})") from error
    except MemoryError:
        raise
    except Exception as error:  # besides YAMLError, the constructors of dates and numbers raise almost anything
        raise InvalidInputError(f"{path}: not YAML ({_shorten_error(error)})") from error
    _check_bounds(value, f"{path}: not YAML", MOST_VALUES)
    _check_plain(value, f"{path}: not YAML", finite=True)
    return value


def shorten_value(value: Any, most: int = 80) -> str:
    """A value of a document for a message: at most ``most`` characters, on one line."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise describe_storage_error(error, path) from error


def _read_text(path: Path, kind: str) -> str:
    """The text of a file of settings."""
    data = _read_bytes(path)
    if len(data) > LARGEST_SETTINGS_BYTES:
        raise InvalidInputError(f"{path}: not {kind} ({_describe_size()})")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path}: not {kind} (not text in UTF-8)") from error


def _parse_integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise _UnreadableError(f"a whole number of {len(text):,} digits, at most {MOST_DIGITS} are allowed")
    return int(text)


def _parse_finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _UnreadableError(f"the number {text[:20]} is too large")
    return value


def _refuse(text: str) -> NoReturn:
    raise _UnreadableError(f"{text} is not a number")


_STRICT = json.JSONDecoder(parse_int=_parse_integer, parse_float=_parse_finite, parse_constant=_refuse)
_LENIENT = json.JSONDecoder(parse_int=_parse_integer)


def _parse_any_float(text: str) -> float:
    """Accept ``inf`` and ``nan`` as TOML does, but no number that overflows: that is a mistake."""
    return float(text) if "n" in text else _parse_finite(text.replace("_", ""))


def _check_bounds(value: Any, where: str, most: int | None = None) -> Any:
    """The value, if it is not nested too deeply and, where ``most`` is given, holds no more values than that.

    Raises:
        InvalidInputError: it is, or does.
    """
    level, count = [value], 0
    for _ in range(DEEPEST):
        below: list[Any] = []
        for node in level:
            if type(node) in {dict, list}:
                inside: Iterable[Any] = node.values() if type(node) is dict else node
                below += [child for child in inside if type(child) in {dict, list}]
                count += len(node)
                if most is not None and count > most:
                    raise InvalidInputError(f"{where} (more than {most:,} values)")
        if not below:
            return value
        level = below
    raise InvalidInputError(f"{where} ({_describe_depth()})")


def _check_plain(value: Any, where: str, *, finite: bool = False) -> None:
    """Refuse numbers that are too large, and keys of tables that are not plain values.

    Raises:
        InvalidInputError: there are some.
    """
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if type(node) is dict:
            waiting += node.values()
            if strange := [key for key in node if not isinstance(key, str | int | float | None)]:
                raise InvalidInputError(f"{where} (the key {shorten_value(strange[0])} is not a text)")
        elif type(node) is list:
            waiting += node
        elif type(node) is int and abs(node) >= 10**MOST_DIGITS:
            raise InvalidInputError(f"{where} (a whole number of more than {MOST_DIGITS} digits)")
        elif type(node) is float and finite and not math.isfinite(node):
            raise InvalidInputError(f"{where} (a number that is not finite)")


def _describe_depth() -> str:
    return f"nested more than {DEEPEST} levels deep"


def _describe_size() -> str:
    return f"longer than {LARGEST_SETTINGS_BYTES:,} bytes"


def _shorten_error(error: Exception) -> str:
    """The first line of an error, without Python's advice on its own limits."""
    text = str(error).strip()
    if "Exceeds the limit" in text and "integer string conversion" in text:
        return f"a whole number of more than {MOST_DIGITS} digits"
    return text.splitlines()[0][:200] if text else type(error).__name__
