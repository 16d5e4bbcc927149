"""The scenes of APwD: background labels, event classes, which sources a split may take, and the words for them.

They are in ``data_manifests/apwd_scenes.toml``; another file of the same form can replace it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from bgknown.documents import parse_toml, shorten_value
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import describe_storage_error
from bgknown.nearest import suggest
from bgknown.paths import find_fault_of_plain
from bgknown.settings import read_record
from bgknown.tables import decode_text

SPLITS = ("dev", "eval")
_ARTICLE = re.compile("^(an?|the) ")


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
class Words:
    """How texts of style 2 speak of a class."""

    names: tuple[str, ...]
    """Its names, after "the": "dog", "barking dog"."""
    sounds: tuple[str, ...]
    """What it sounds like, after "the sound of the": "dog barking"."""
    one: str
    """One event of it, after "a", "another" or a number: "dog"."""
    several: str
    """Several events: "dogs"."""


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
    """Nouns that a text of style 1 may use for an event class or a background."""
    words: Mapping[str, Words] = field(default_factory=dict, repr=False)  # older sets have the hash of the other fields
    """Words of style 2, for the classes of the file."""

    def scene(self, name: str) -> Scene:
        """A scene by its name.

        Raises:
            NotFoundError: there is no such scene; lists the scenes.
        """
        if name not in self.scenes:
            raise NotFoundError(f"no scene {name!r}; {suggest(name, self.scenes)}")
        return self.scenes[name]

    def scene_of(self, background: str) -> str:
        """The name of the scene with this background label; the label itself if no scene has it."""
        return next((scene.name for scene in self.scenes.values() if scene.background == background), background)

    def nouns_of(self, label: str) -> tuple[str, ...]:
        """Nouns of style 1 for a class; the label in plain words if the file has none."""
        return self.nouns.get(label, (label.replace("_", " "),))

    def words_of(self, label: str) -> Words:
        """Words of style 2 for a class; made from its label if the file has none."""
        return self.words.get(label) or _choose_words((), (), (), (label.replace("_", " "),))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _SplitTable:
    fsd50k: str
    esc50_folds: tuple[int, ...]
    pairs: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _SceneTable:
    background: str
    fsd50k: tuple[str, ...]
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _EventTable:
    esc50: str
    nouns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sounds: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _BackgroundTable:
    nouns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sounds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """The tables of a file of scenes."""

    splits: dict[str, _SplitTable]
    scenes: dict[str, _SceneTable]
    events: dict[str, _EventTable] = field(default_factory=dict)
    backgrounds: dict[str, _BackgroundTable] = field(default_factory=dict)


def _parse_scenes(text: str, where: str) -> Scenes:
    file = read_record(_File, parse_toml(text, where), where)
    _check(file, where)
    nouns: Mapping[str, _EventTable | _BackgroundTable] = {**file.events, **file.backgrounds}
    return Scenes(
        scenes={
            name: Scene(name=name, background=scene.background, fsd50k=scene.fsd50k, events=scene.events)
            for name, scene in file.scenes.items()
        },
        splits={
            name: Split(name=name, fsd50k=split.fsd50k, esc50_folds=split.esc50_folds, pairs=split.pairs)
            for name, split in file.splits.items()
        },
        esc50={name: event.esc50 for name, event in file.events.items()},
        nouns={name: entry.nouns for name, entry in nouns.items() if entry.nouns},
        words={
            name: _choose_words(entry.names, entry.sounds, getattr(entry, "counted", ()), entry.nouns)
            for name, entry in nouns.items()
            if entry.names or entry.nouns
        },
    )


def _choose_words(
    names: tuple[str, ...], sounds: tuple[str, ...], counted: tuple[str, ...], nouns: tuple[str, ...]
) -> Words:
    """Words of style 2 for a class; what the file does not give is made from its nouns."""
    names = names or tuple(dict.fromkeys(_ARTICLE.sub("", noun) for noun in nouns))
    one, several = counted or (f"{names[0]} sound", f"{names[0]} sounds")
    return Words(names=names, sounds=sounds or names, one=one, several=several)


def _check(file: _File, where: str) -> None:
    """Check names, and what must fit together.

    Raises:
        InvalidInputError: names the key that breaks a rule.
    """
    for table in ("splits", "scenes", "events", "backgrounds"):
        for name, entry in getattr(file, table).items():
            if find_fault_of_plain(name):
                raise InvalidInputError(
                    f"{where}: {table}.{shorten_value(name)} cannot be a folder name; use another name"
                )
            for key in ("fsd50k", "esc50_folds", "events"):
                if getattr(entry, key, None) == ():
                    raise InvalidInputError(f"{where}: {table}.{name}.{key} is []; it must have at least one entry")
    for name, event in file.events.items():
        if len(event.counted) not in (0, 2):
            raise InvalidInputError(
                f'{where}: events.{name}.counted must have two entries, such as ["dog", "dogs"]; it has '
                f"{len(event.counted)}"
            )
    _check_scenes(file, where)


def _check_scenes(file: _File, where: str) -> None:
    """Check the scenes and the splits.

    Raises:
        InvalidInputError: names the key that breaks a rule.
    """
    if not file.scenes:
        raise InvalidInputError(f"{where}: scenes has no scene; there must be at least one table [scenes.NAME]")
    for name, scene in file.scenes.items():
        if find_fault_of_plain(scene.background):
            raise InvalidInputError(
                f"{where}: scenes.{name}.background {shorten_value(scene.background)} cannot be a folder name"
            )
        for label in scene.events:
            if label not in file.events:
                raise InvalidInputError(
                    f"{where}: scenes.{name}.events names {shorten_value(label)}, which [events] does not have; "
                    f"{suggest(label, file.events)}"
                )
    if set(file.splits) != set(SPLITS):
        raise InvalidInputError(f"{where}: splits are {', '.join(file.splits)}; they must be {' and '.join(SPLITS)}")
    dev, evaluation = (file.splits[name] for name in SPLITS)
    if set(dev.esc50_folds) & set(evaluation.esc50_folds) or dev.fsd50k == evaluation.fsd50k:
        raise InvalidInputError(f"{where}: splits.dev and splits.eval share sources; they must be disjoint")
