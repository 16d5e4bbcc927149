"""Text from other people, shown safely: in a terminal, in a page of Markdown, in a table that a spreadsheet opens."""

from __future__ import annotations

import re
from collections.abc import Iterable

# C0 and C1 controls except tab and line feed; direction marks; line and paragraph separators; zero-width characters;
# lone surrogates; tags, which are invisible letters
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_BREAKS = re.compile("[\t\n]")
_FORMULA = re.compile("'*[=+\\-@\t\r]")
_MARKS = re.compile(r"([\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_]))")  # underscores inside words mean nothing
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "://": "&#58;//", "www.": "www&#46;"}


def escape_text(text: str) -> str:
    """Text for a terminal: characters that could move the cursor, change colours or turn the direction are escaped.

    Line breaks and tabs stay, since messages have them; ``escape_line`` escapes them too.

    >>> escape_text("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return _UNSAFE.sub(_escape, text)


def escape_line(text: str) -> str:
    """A name or other text from other people, as one line for a terminal.

    >>> escape_line("a\\nerror: b")
    'a\\\\nerror: b'
    """
    return _BREAKS.sub(_escape, escape_text(text))


def markdown(text: str) -> str:
    """Text for a page of Markdown: it is shown literally, without links, images, HTML or formatting."""
    text = escape_line(text)
    for mark, entity in _ENTITIES.items():
        text = text.replace(mark, entity)
    return _MARKS.sub(r"\\\1", text)


def escape_cell(text: str) -> str:
    """Text for a CSV table that people open in a spreadsheet: text that looks like a formula gets an apostrophe.

    ``unescape_cell`` gives the same text again.

    >>> escape_cell("=1+1"), escape_cell("a=b")
    ("'=1+1", 'a=b')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_cell(cell: str) -> str:
    """The text that ``escape_cell`` escaped.

    >>> unescape_cell("'=1+1"), unescape_cell("it's")
    ('=1+1', "it's")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def name_few(names: Iterable[str], most: int = 4) -> str:
    """The first few of some names from other people, and how many more there are, on one line."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(map(escape_line, listed[:most])) + more


def format_duration(seconds: float) -> str:
    """A duration in the unit that suits it: ``45 s``, ``12 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
