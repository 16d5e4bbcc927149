"""The errors a user can meet: one family, each member also a standard exception.

A message names the thing, the value, the rule and what to do next, in one line. The command line prints it and
exits with a status other than zero; a traceback is for defects of this software.
"""

from __future__ import annotations


class BgknownError(Exception):
    """Base of every error this software raises on purpose."""


class InvalidInputError(BgknownError, ValueError):
    """A value, an option or a file's content breaks a rule."""


class NotFoundError(BgknownError, LookupError):
    """A requested file, folder, row or package does not exist."""


class OutOfRangeError(NotFoundError, IndexError):
    """A dataset has no row of this number."""


class StorageError(BgknownError, OSError):
    """Reading or writing failed: a full disk, a lock held by another process, a folder of another build."""


class BrokenInputError(BgknownError, ValueError):
    """Some inputs are broken; each is listed, and finished work is kept."""


class NotFiniteError(InvalidInputError):
    """Audio holds NaN or infinite samples."""
