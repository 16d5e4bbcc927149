"""Licences of single recordings: one short name for each, whatever its source writes.

Short names are ``CC0-1.0``, ``CC-BY-3.0``, ``CC-BY-NC-4.0``, ``CC-Sampling+-1.0`` and the like. Recognised are the
addresses of Creative Commons, the names that Freesound uses, and short names themselves. Any other text is kept as it
is and counts as unknown: "CC0 (as somebody says)" is not a licence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bgknown.errors import InvalidInputError
from bgknown.nearest import suggest

FAMILIES = (
    "cc0",
    "cc-by",
    "cc-by-sa",
    "cc-by-nd",
    "cc-by-nc",
    "cc-by-nc-sa",
    "cc-by-nc-nd",
    "sampling+",
)
"""Licences without their versions, as options name them."""
_ADDRESS = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)/([0-9.]+)(?:/.*)?", re.IGNORECASE
)
_CODE = re.compile(
    r"(?:cc|creative commons)[ -]?(0|zero|by(?:-nc)?(?:-sa|-nd)?|sampling\+)(?:[ -]v?([0-9]\.[0-9]))?", re.IGNORECASE
)
_SHORT = re.compile(r"(CC0|CC-BY(?:-NC)?(?:-SA|-ND)?|CC-Sampling\+)(?:-([0-9]\.[0-9]))?")
_FREESOUND = {
    "attribution": "by",
    "attribution noncommercial": "by-nc",
    "attribution-noncommercial": "by-nc",
    "creative commons 0": "zero",
    "sampling+": "sampling+",
}
_ONLY_VERSION = {"zero": "1.0", "sampling+": "1.0"}


def name_licence(text: str, *, version: str = "") -> str:
    """The short name of a licence.

    Args:
        text: an address, a name or a short name.
        version: the version where the text names none.

    Returns:
        the short name, without a version if there is none; the text itself (its spaces made single) if it is unknown.

    >>> [name_licence(text) for text in ("http://creativecommons.org/licenses/by/3.0/", "CC BY-NC 4.0", "Attribution")]
    ['CC-BY-3.0', 'CC-BY-NC-4.0', 'CC-BY']
    """
    plain = " ".join(text.split())
    found = _ADDRESS.fullmatch(plain) or _CODE.fullmatch(plain)
    code, stated = (found[1].lower(), found[2] or "") if found else (_FREESOUND.get(plain.lower(), ""), "")
    code = "zero" if code == "0" else code
    stated = _ONLY_VERSION.get(code, stated or version)
    name = {"zero": "CC0", "sampling+": "CC-Sampling+"}.get(code, f"CC-{code.upper()}")
    short = f"{name}-{stated}" if stated else name
    return short if find_licence_family(short) else plain


def find_licence_family(licence: str) -> str:
    """The family of a short name; empty for an unknown licence.

    >>> find_licence_family("CC-BY-NC-3.0"), find_licence_family("CC-Sampling+-1.0"), find_licence_family("MIT")
    ('cc-by-nc', 'sampling+', '')
    """
    found = _SHORT.fullmatch(licence)
    return found[1].lower().replace("cc-sampling+", "sampling+") if found else ""


def find_licence_url(licence: str) -> str:
    """The address of a licence's text; empty for an unknown one, or one without a version.

    >>> find_licence_url("CC-BY-3.0")
    'https://creativecommons.org/licenses/by/3.0/'
    """
    found = _SHORT.fullmatch(licence)
    if found is None or not found[2]:
        return ""
    code = found[1].lower().removeprefix("cc-")
    return f"https://creativecommons.org/{'publicdomain/zero' if code == 'cc0' else f'licenses/{code}'}/{found[2]}/"


def parse_families(names: Iterable[str]) -> tuple[str, ...]:
    """Families as a user names them, in the order of ``FAMILIES``, each once.

    Raises:
        InvalidInputError: there is no such family; lists them.
    """
    chosen = set()
    for name in names:
        plain = name.strip().lower()
        plain = "sampling+" if plain == "cc-sampling+" else plain
        if plain not in FAMILIES:
            raise InvalidInputError(f"no licence {name.strip()!r}; {suggest(plain, FAMILIES)}")
        chosen.add(plain)
    return tuple(family for family in FAMILIES if family in chosen)
