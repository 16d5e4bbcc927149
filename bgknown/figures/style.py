"""Colours, markers and settings of figures.

The colours differ for people with any colour blindness (a test simulates three kinds), and the contrast of each to
white is at least 3, which WCAG asks of graphics. Markers, lines and filled or hollow shapes differ too, so that a grey
print can be read.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bgknown.errors import NotFoundError
from bgknown.jobs.surroundings import prepare_libraries

COLOURS = ("#1a85ff", "#b8860b", "#332288", "#ee6677", "#000000", "#8073ac")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
LINES = ("-", "--", ":", "-.")
GREY = "#6b6b6b"
"""Colour of reference lines and notes."""
SHADES = "Greys"
"""Colours of shares, from white to black."""
TEXT_PT, SMALL_PT, TITLE_PT = 8.0, 7.0, 9.0
"""Sizes of text."""
FONT = "DejaVu Sans"
"""The font, which comes with matplotlib."""
SETTINGS_OF_FIGURES: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": TEXT_PT,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": TEXT_PT,
    "errorbar.capsize": 1.8,
    "figure.titlesize": TITLE_PT,
    "font.family": ["sans-serif"],
    "font.size": TEXT_PT,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "legend.fontsize": SMALL_PT,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "bgknown",
    "text.parse_math": False,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
}
"""Text stays text in SVG and PDF; names in SVG do not change from run to run; a dollar sign is a dollar sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How a series is drawn."""

    colour: str
    """Colour of lines and markers."""
    marker: str
    """Shape of the points."""
    line: str
    """Pattern of the line."""

    def points(self, *, joined: bool = False, hollow: bool = False) -> dict[str, Any]:
        """Arguments of matplotlib for points.

        Args:
            joined: whether a line goes through them.
            hollow: whether they are not filled.
        """
        face = {"markerfacecolor": "white"} if hollow else {}
        return {"color": self.colour, "marker": self.marker, "linestyle": self.line if joined else "none", **face}


def pick_mark(number: int) -> Mark:
    """The mark of a series by its number from 0; colour and marker together differ for the first 66."""
    return Mark(
        colour=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)], line=LINES[number % len(LINES)]
    )


@functools.cache
def import_matplotlib() -> Any:
    """Matplotlib, without what it says of folders that it cannot write to.

    Raises:
        NotFoundError: it is not installed.
    """
    prepare_libraries()  # a home folder for users without one
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib.figure  # noqa: PLC0415
        import matplotlib.font_manager  # noqa: PLC0415
    except ImportError as error:
        raise NotFoundError("figures need matplotlib; run: pip install 'bgknown[plot]'") from error
    finally:
        log.setLevel(level)
    return matplotlib


@contextlib.contextmanager
def open_style(texts: Iterable[str] = ()) -> Iterator[None]:
    """Draw and save figures within, in this style and not in the user's.

    Args:
        texts: texts of the figures; fonts of this machine are added for characters that the usual one lacks.

    Raises:
        NotFoundError: matplotlib is not installed.
    """
    matplotlib = import_matplotlib()
    lacking = {character for text in texts for character in text} - _list_characters(FONT)
    families = [FONT, *_find_families(frozenset(lacking))]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**SETTINGS_OF_FIGURES, "font.sans-serif": families})
        yield


def list_drawable() -> frozenset[str]:
    """The characters that the fonts of the present style have."""
    return _join_characters(tuple(import_matplotlib().rcParams["font.sans-serif"]))


@functools.lru_cache(maxsize=32)
def _join_characters(families: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(_list_characters(family) for family in families))


@functools.cache
def _list_characters(family: str) -> frozenset[str]:
    fonts = import_matplotlib().font_manager
    return frozenset(map(chr, fonts.get_font(fonts.findfont(family)).get_charmap()))


def _is_plain(font: Any) -> bool:
    """Whether a font is the upright one of usual weight and width of its family, which is the one that is used."""
    return font.style == "normal" and font.weight in {400, "normal", "regular"} and font.stretch == "normal"


@functools.lru_cache(maxsize=32)
def _find_families(lacking: frozenset[str]) -> list[str]:
    """Families of this machine that have characters, in the order of their names."""
    found: list[str] = []
    fonts = import_matplotlib().font_manager
    # "Last Resort" has a frame for every character, and fonts of mathematics have others in their places
    names = {
        font.name
        for font in fonts.fontManager.ttflist
        if _is_plain(font) and not font.name.startswith(("Last Resort", "STIX", "cm"))
    }
    for name in sorted(names) if lacking else []:
        more = lacking & _list_characters(name)
        if more:
            found.append(name)
            lacking -= more
        if not lacking:
            break
    return found
