"""Small tables as aligned text and as Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bgknown.shown import escape_line
from bgknown.shown import markdown as safe


def align_columns(header: Sequence[str], lines: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A table in columns of equal width, for a terminal.

    Args:
        header: names of the columns.
        lines: one text per column.
        left: number of columns that are aligned left; the others are aligned right.

    Returns:
        Lines without trailing spaces or a final line break.
    """
    header, *lines = ([escape_line(text) for text in line] for line in (header, *lines))
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if place < left else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (header, *lines)
    )


def format_markdown(
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    left: int = 1,
    bold: Collection[tuple[int, int]] = (),
) -> str:
    """A table in GitHub's Markdown, in which every text is shown literally; arguments as for ``align_columns``.

    Args:
        bold: line and column, from 0, of the cells in bold.
    """
    rule = ["---" if place < left else "---:" for place in range(len(header))]
    cells = [
        [f"**{safe(text)}**" if (row, column) in bold else safe(text) for column, text in enumerate(line)]
        for row, line in enumerate(lines)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*map(safe, header)], rule, *cells))
