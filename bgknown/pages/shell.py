"""The shell of every page: one HTML file that holds its styles, its scripts and its data.

What comes from corpora and users never becomes markup: templates escape it, data travel as JSON in blocks that the
browser does not run, and scripts make elements of it through ``make`` in ``assets/page.js``, as text. A
Content-Security-Policy lets nothing run or load but what was put in here, and the files beside the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bgknown.shown import escape_text
from bgknown.version import VERSION

ASSETS = Path(__file__).parent / "assets"
"""Folder of what all pages share: ``page.css``, ``page.js`` and ``shell.html``."""


def render_page(
    template: Path,
    *,
    title: str,
    data: Mapping[str, Any],
    styles: Sequence[Path] = (),
    scripts: Sequence[Path] = (),
    **values: Any,
) -> str:
    """Put a page together.

    Args:
        template: a jinja2 template that extends ``shell.html`` and fills its block ``main``.
        title: title of the page, as text.
        data: values for the page's scripts, each of which ``readData(name)`` reads when it is first needed.
        styles: style sheets, after ``page.css``.
        scripts: scripts, after ``page.js``; each is run once, after the page's elements exist.
        values: further values for the template.

    Returns:
        the HTML.
    """
    sheets = [_read_asset(path) for path in (ASSETS / "page.css", *styles)]
    programs = [_read_asset(path) for path in (ASSETS / "page.js", *scripts)]
    environment = Environment(
        loader=FileSystemLoader([template.parent, ASSETS]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_escape_unseen,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(
        title=title,
        version=VERSION,
        policy=_write_policy(sheets, programs),
        sheets=[Markup(text) for text in sheets],
        programs=[Markup(text) for text in programs],
        blocks={name: Markup(format_data(value)) for name, value in data.items()},
        **values,
    )


def _escape_unseen(value: Any) -> Any:
    """Text without characters that turn its direction or cannot be seen; anything else as it is."""
    return escape_text(value) if type(value) is str else value


def format_data(value: Any) -> str:
    """JSON that may be put between the tags of a script element: it cannot end the element or begin a comment.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _write_policy(sheets: Sequence[str], programs: Sequence[str]) -> str:
    """The Content-Security-Policy: only these sheets and programs, and pictures and audio of the page or beside it."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_quote_hash, programs))}",
            f"style-src {' '.join(map(_quote_hash, sheets))}",
            "img-src 'self' data:",
            "media-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _quote_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _read_asset(path: Path) -> str:
    """An asset, between line ends, as the template puts it between the tags: the policy's hash is of these bytes."""
    return f"\n{path.read_text(encoding='utf-8')}"
