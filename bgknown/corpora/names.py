"""Names of clips, by their files."""

from __future__ import annotations

from pathlib import PurePosixPath


def name_clip(file: str) -> str:
    """The clip of a file whose name no other file of the corpus has: the name without its type."""
    return PurePosixPath(file).stem


def name_clip_by_path(file: str) -> str:
    """The clip of a file whose name others have too: the path without its type, as one name."""
    return "_".join(PurePosixPath(file).with_suffix("").parts)
