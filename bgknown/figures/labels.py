"""Text of figures: names from other people, shown as they are and never wider than their place."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from bgknown.figures.style import import_matplotlib, list_drawable
from bgknown.shown import escape_line

DOTS = "…"
"""What replaces the middle of a text that is too long."""
_LONGEST = 400
"""Characters of a text that are looked at."""


def clean_text(text: str) -> str:
    """A text as one line of characters that can be drawn; others are escaped, as ``\\u65e5``."""
    drawable = list_drawable()
    line = escape_line(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 50]}{DOTS}{text[-49:]}")
    return "".join(
        character if character in drawable else character.encode("unicode_escape").decode() for character in line
    )


def measure_width(text: str, size_pt: float) -> float:
    """Width of a line of drawable characters in points."""
    return _measure_at_ten(text) * size_pt / 10


@functools.lru_cache(maxsize=4_096)
def _measure_at_ten(text: str) -> float:
    import_matplotlib()
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415
    from matplotlib.textpath import text_to_path  # noqa: PLC0415

    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=10.0), ismath=False)[0])


def fit_text(text: str, width_pt: float, size_pt: float) -> str:
    """A text on one line of at most this width; of a longer one the middle is left out."""
    text = clean_text(text)
    if measure_width(text, size_pt) <= width_pt:
        return text
    low, high = 0, len(text) - 1  # characters that are kept
    while low < high:
        middle = (low + high + 1) // 2
        if measure_width(_leave_out(text, middle), size_pt) <= width_pt:
            low = middle
        else:
            high = middle - 1
    return _leave_out(text, low)


def _leave_out(text: str, keep: int) -> str:
    """A text without its middle: the end is often what tells names apart."""
    first = (keep + 1) // 2
    return f"{text[:first]}{DOTS}{text[len(text) - (keep - first) :]}"


def fit_names(names: Sequence[str], width_pt: float, size_pt: float) -> dict[str, str]:
    """Different names as different texts of at most this width; those that would look the same get a number."""
    shown: dict[str, str] = {}
    taken: dict[str, int] = {}
    for name in dict.fromkeys(names):
        text = fit_text(name, width_pt, size_pt)
        taken[text] = taken.get(text, 0) + 1
        if taken[text] > 1:
            mark = f" ({taken[text]})"
            text = fit_text(name, width_pt - measure_width(mark, size_pt), size_pt) + mark
        shown[name] = text
    return shown


def wrap_text(text: str, width_pt: float, size_pt: float, *, most: int = 3) -> str:
    """A text on at most ``most`` lines of at most this width and of similar length; what does not fit is left out."""
    text = clean_text(text)
    lines = _fill_lines(text, width_pt, size_pt, most)
    for share in (0.6, 0.7, 0.8, 0.9) if len(lines) > 1 else ():
        shorter = _fill_lines(text, share * width_pt, size_pt, most)
        if len(shorter) == len(lines) and DOTS not in "".join(shorter):
            return "\n".join(shorter)
    return "\n".join(lines)


def _fill_lines(text: str, width_pt: float, size_pt: float, most: int) -> list[str]:
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measure_width(longer, size_pt) <= width_pt:
            lines[-1] = longer
        elif len(lines) < most:
            lines.append(fit_text(word, width_pt, size_pt))
        else:
            lines[-1] = fit_text(f"{lines[-1]} {DOTS}", width_pt, size_pt)
            break
    return lines
