"""Faults of a disk or a network that may pass: what failed is tried once more before it counts."""

from __future__ import annotations

import errno
import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from bgknown.errors import InvalidInputError, NotFoundError

AGAIN_AFTER_S = 1.0
_PASSING = {
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "ETIMEDOUT", "EREMOTEIO", "ECONNRESET", "ENOTCONN", "EHOSTDOWN", "ENETUNREACH")
    if hasattr(errno, name)
}
_Given = ParamSpec("_Given")
_Part = TypeVar("_Part")
_Found = TypeVar("_Found")


def is_passing(error: BaseException | None) -> bool:
    """Whether an error comes from a fault that may pass, such as a network file system that did not answer."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _PASSING:
            return True
        error = error.__cause__
    return False


def work_again(work: Callable[[_Part], _Found], part: _Part) -> _Found:
    """Do some work, and once more if a fault came in between that may pass.

    The work must allow that: units write whole files, so those that were finished before are written again.
    """
    try:
        return work(part)
    except OSError as error:
        if not is_passing(error):
            raise
    time.sleep(AGAIN_AFTER_S)
    return work(part)


def read_again(read: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """A function that reads a file, made to read it once more before it counts as broken.

    A library that decodes audio does not always say that the disk failed: what comes of that looks like a damaged file.
    Without this, one failure would leave the file out for good where broken ones are to be skipped.
    """

    @functools.wraps(read)
    def read_twice(*given: _Given.args, **named: _Given.kwargs) -> _Found:
        try:
            return read(*given, **named)
        except NotFoundError:
            raise
        except InvalidInputError as error:
            if is_passing(error):
                time.sleep(AGAIN_AFTER_S)
        return read(*given, **named)

    return read_twice
