"""Paths as users write them: ``~`` is expanded, names are kept as typed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bgknown.errors import InvalidInputError, NotFoundError


def user_path(text: str | os.PathLike[str]) -> Path:
    """A path with a leading ``~`` or ``~user`` expanded.

    If the user does not exist, the text is kept, as in a shell: a file may be called ``~backup``. Links are not
    followed.

    Raises:
        NotFoundError: it begins with ``~`` and there is no home folder.
        InvalidInputError: it is neither text nor a path.
    """
    path = os.fspath(text) if isinstance(text, str | os.PathLike) else None
    if not isinstance(path, str):
        raise InvalidInputError(f"{repr(text)[:80]} is not a path; give text or a pathlib.Path")
    return Path(expand(path))


def expand(text: str) -> str:
    """``user_path`` for text that is a path only where it begins with ``~``, such as the name of an encoder.

    Raises:
        NotFoundError: as ``user_path``.
    """
    if not text.startswith("~"):
        return text
    own = text.split("/", 1)[0] == "~"
    expanded = text if own and os.environ.get("HOME") == "" else os.path.expanduser(text)  # noqa: PTH111
    if own and expanded == text:
        raise NotFoundError(f"{text}: there is no home folder (HOME is not set); write the path in full")
    return expanded


def absolute(path: Path) -> Path:
    """The absolute path with names as typed: links are followed only if ``..`` comes after one."""
    plain = Path(os.path.abspath(path))  # noqa: PTH100
    try:
        same = ".." not in path.parts or plain.samefile(path)
    except OSError:
        same = True
    return plain if same else path.resolve()


def expand_fields(record: object, *names: str) -> None:
    """Expand ``~`` in fields of a frozen dataclass that are paths, tuples of paths or mappings to paths.

    For ``__post_init__``, so that options in Python are read like those of the command line.
    """
    for name in names:
        object.__setattr__(record, name, _expand_all(getattr(record, name)))


def _expand_all(value: Any) -> Any:
    if isinstance(value, (str, os.PathLike)):
        return user_path(value)
    if isinstance(value, Mapping):
        return {key: _expand_all(item) for key, item in value.items()}
    return tuple(map(_expand_all, value)) if isinstance(value, (tuple, list)) else value
