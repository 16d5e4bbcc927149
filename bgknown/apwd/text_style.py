"""The styles of texts: their rule of changes and their wording, and which of them a set has.

Style 1 is that of version 0.1.0. Style 2, the default, is right for any two soundscapes and speaks as people do. A set
keeps its style: it is in dataset.json, and a build that is resumed without ``--text-style`` goes on with its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from bgknown.apwd.changes import Change
from bgknown.apwd.comparison import AUDIBLE_DB, find_changes, find_changes_in_style_1
from bgknown.apwd.pairs import list_layers
from bgknown.apwd.scenes import Scenes
from bgknown.apwd.text import describe_changes
from bgknown.apwd.text_style_1 import describe_in_style_1
from bgknown.jobs.files import hash_bytes
from bgknown.soundscape import Soundscape

TextStyle = Literal[1, 2]
DEFAULT_STYLE: TextStyle = 2


def find_changes_in_style(style: TextStyle, first: Soundscape, second: Soundscape) -> tuple[Change, ...]:
    """The changes from one soundscape to another, by the rule of a style.

    Raises:
        InvalidInputError: a label holds ";" or ":".
    """
    return find_changes_in_style_1(first, second) if style == 1 else find_changes(first, second)


def write_text(
    style: TextStyle, found: tuple[Change, ...], pair: str, scenes: Scenes, sides: tuple[Soundscape, Soundscape]
) -> str:
    """The text of a pair in a style.

    Args:
        style: the style.
        found: the pair's changes, by the same style.
        pair: the pair's name.
        scenes: the words for classes.
        sides: both soundscapes.
    """
    if style == 1:
        return describe_in_style_1(found, pair, scenes)
    shifted = abs(sides[1].ref_db - sides[0].ref_db) >= AUDIBLE_DB
    return describe_changes(found, pair, scenes, heard=[layer.label for layer in list_layers(sides[0])] * shifted)


def describe_style(style: TextStyle, scenes: Scenes, table_sha256: str | None) -> dict[str, Any]:
    """A style as part of the configuration of a set; for style 1, what version 0.1.0 wrote.

    Args:
        style: the style.
        scenes: the scenes, with the words.
        table_sha256: hash of the texts, if they come from a table.
    """
    words = repr(scenes) if style == 1 else repr((scenes, sorted(scenes.words.items())))
    return {
        "texts": f"templates {style}" if table_sha256 is None else f"table {table_sha256}",
        "scenes_sha256": hash_bytes(words.encode()),
        **({} if style == 1 else {"text_style": style}),
    }


def find_style(description: Mapping[str, Any] | None) -> TextStyle:
    """The style of a set by its description; the default where there is none."""
    if description is None:
        return DEFAULT_STYLE
    configuration = description.get("configuration")
    return 2 if isinstance(configuration, Mapping) and configuration.get("text_style") == 2 else 1
