"""The scenes of APwD: background labels, event classes, which sources a split may take, and the words for them.

They are in ``data_manifests/apwd_scenes.toml``; another file of the same form can replace it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from bgknown.documents import parse_toml, shorten_value
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error
from bgknown.paths import find_fault_of_plain
from bgknown.tables import decode_text

SPLITS = ("dev", "eval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A kind of soundscape."""

    name: str
    """Its name."""
    background: str
    """The background's label in JAMS and in the source tree."""
    fsd50k: tuple[str, ...]
    """The labels of FSD50K that the background is taken from."""
    events: tuple[str, ...]
    """The event classes of the scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which sources a split may take."""

    name: str
    """dev or eval."""
    fsd50k: str
    """The part of FSD50K: dev or eval."""
    esc50_folds: tuple[int, ...]
    """The folds of ESC-50."""
    pairs: int
    """Published number of pairs of each scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """The content of a file of scenes."""

    scenes: Mapping[str, Scene]
    """Scenes by name."""
    splits: Mapping[str, Split]
    """Both splits by name."""
    esc50: Mapping[str, str]
    """The ESC-50 category of each event class."""
    nouns: Mapping[str, tuple[str, ...]]
    """Nouns that a text may use for an event class or a background."""

    def scene(self, name: str) -> Scene:
        """A scene by its name.

        Raises:
            NotFoundError: there is no such scene; lists the scenes.
        """
        if name not in self.scenes:
            raise NotFoundError(f"no scene {name!r}; there are {', '.join(self.scenes)}")
        return self.scenes[name]

    def scene_of(self, background: str) -> str:
        """The name of the scene with this background label; the label itself if no scene has it."""
        return next((scene.name for scene in self.scenes.values() if scene.background == background), background)

    def nouns_of(self, label: str) -> tuple[str, ...]:
        """Nouns that a text may use for a class; the label in plain words if the file has none."""
        return self.nouns.get(label, (label.replace("_", " "),))


@cache
def read_published_scenes() -> Scenes:
    """The scenes of the published data."""
    return _parse_scenes(
        files("data_manifests").joinpath("apwd_scenes.toml").read_text(encoding="utf-8"), "apwd_scenes.toml"
    )


def read_scenes(path: Path) -> Scenes:
    """Scenes from a file of the same form as ``data_manifests/apwd_scenes.toml``.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it breaks a rule; names the key.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; give a TOML file like data_manifests/apwd_scenes.toml")
    try:
        return _parse_scenes(decode_text(path.read_bytes(), str(path)), str(path))
    except OSError as error:
        raise describe_storage_error(error, path) from error


_KEYS: dict[str, dict[str, type]] = {
    "splits": {"fsd50k": str, "esc50_folds": list, "pairs": int},
    "scenes": {"background": str, "fsd50k": list, "events": list},
    "events": {"esc50": str, "nouns": list},
    "backgrounds": {"nouns": list},
}
_OPTIONAL = {"pairs", "nouns"}


def _parse_scenes(text: str, where: str) -> Scenes:
    tree = parse_toml(text, where)
    _check_tree(tree, where)
    events = tree.get("events", {})
    nouns = {**events, **tree.get("backgrounds", {})}
    scenes = Scenes(
        scenes={
            name: Scene(
                name=name,
                background=scene["background"],
                fsd50k=tuple(scene["fsd50k"]),
                events=tuple(scene["events"]),
            )
            for name, scene in tree["scenes"].items()
        },
        splits={
            name: Split(
                name=name,
                fsd50k=split["fsd50k"],
                esc50_folds=tuple(split["esc50_folds"]),
                pairs=split.get("pairs", 1000),
            )
            for name, split in tree["splits"].items()
        },
        esc50={name: event["esc50"] for name, event in events.items()},
        nouns={name: tuple(entry["nouns"]) for name, entry in nouns.items() if entry.get("nouns")},
    )
    for scene in scenes.scenes.values():
        if find_fault_of_plain(scene.background):
            raise InvalidInputError(
                f"{where}: scenes.{scene.name}.background {shorten_value(scene.background)} cannot be a folder name"
            )
        for label in scene.events:
            if label not in events:
                raise InvalidInputError(
                    f"{where}: scenes.{scene.name}.events names {label!r}, but [events] does not have it"
                )
    return scenes


def _check_tree(tree: dict[str, Any], where: str) -> None:
    for part in tree:
        if part not in _KEYS:
            raise InvalidInputError(f"{where}: unknown key {part!r}; there are {', '.join(_KEYS)}")
    for part, keys in _KEYS.items():
        entries = tree.get(part, {})
        if not isinstance(entries, dict) or (part in {"splits", "scenes"} and not entries):
            raise InvalidInputError(f"{where}: [{part}] is missing or is not a table")
        for name, entry in entries.items():
            if find_fault_of_plain(name):
                raise InvalidInputError(
                    f"{where}: {part}.{shorten_value(name)} cannot be a folder name; give it another name"
                )
            _check_entry(entry, keys, f"{where}: {part}.{name}")
    if set(tree["splits"]) != set(SPLITS):
        raise InvalidInputError(f"{where}: splits are {', '.join(tree['splits'])}; they must be {' and '.join(SPLITS)}")
    shared = set(tree["splits"]["dev"]["esc50_folds"]) & set(tree["splits"]["eval"]["esc50_folds"])
    if shared or tree["splits"]["dev"]["fsd50k"] == tree["splits"]["eval"]["fsd50k"]:
        raise InvalidInputError(f"{where}: splits.dev and splits.eval share sources; they must be disjoint")


def _check_entry(entry: Any, keys: Mapping[str, type], where: str) -> None:
    if not isinstance(entry, dict):
        raise InvalidInputError(f"{where} is not a table")
    for key in entry:
        if key not in keys:
            raise InvalidInputError(f"{where}: unknown key {key!r}; there are {', '.join(keys)}")
    for key, kind in keys.items():
        if key not in entry and key in _OPTIONAL:
            continue
        value = entry.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InvalidInputError(f"{where}.{key} is {shorten_value(value)}, must be of type {kind.__name__}")
        item = int if key == "esc50_folds" else str
        if isinstance(value, list) and not (value and all(type(part) is item for part in value)):
            raise InvalidInputError(f"{where}.{key} must be a list of {item.__name__} with at least one entry")
