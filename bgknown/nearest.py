"""Names that resemble a name that does not exist: "did you mean ...?"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from bgknown.shown import escape_line

_LONGEST = 200
"""Characters of a name that is compared with others; comparing takes time by the square of them."""


def nearest(name: str, names: Iterable[str]) -> str:
    """The name that resembles a wrong one most; empty where none does.

    >>> nearest("bgknow", ["bgknown", "esc50"])
    'bgknown'
    """
    known = [other for other in names if len(other) <= _LONGEST]
    close = difflib.get_close_matches(name, known, n=1) if len(name) <= _LONGEST else []
    return close[0] if close else ""


def suggest(name: str, names: Iterable[str], *, none: str = "there are none") -> str:
    """The end of a message about a wrong name: the closest name, if there is one, and all of them.

    Args:
        name: the wrong name.
        names: those that exist, in the order in which they are listed.
        none: what to say where there are none.

    >>> suggest("bgknow", ["bgknown", "esc50"])
    'did you mean bgknown? there are: bgknown, esc50'
    """
    known = [escape_line(other) for other in names]
    if not known:
        return none
    close = nearest(name, known)
    return f"{f'did you mean {close}? ' if close else ''}there are: {', '.join(known)}"
