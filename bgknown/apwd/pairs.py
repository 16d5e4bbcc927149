"""JAMS pairs on disk: which files belong together, and what two soundscapes say as a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bgknown.apwd.scenes import SPLITS, Scenes
from bgknown.corpora.listing import list_fitting, report_hidden
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jams.reading import parse_jams
from bgknown.soundscape import Layer, Soundscape

SIDES = ("s1", "s2")
SUFFIX = ".jams"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFiles:
    """The JAMS of a pair."""

    pair: str
    """The pair's name."""
    s1: str
    """JAMS of the first soundscape, relative to the folder of the JAMS."""
    s2: str | None
    """JAMS of the second soundscape; None if only the first is published."""

    def sides(self) -> dict[str, str]:
        """The JAMS of the sides that exist."""
        return {"s1": self.s1} if self.s2 is None else {"s1": self.s1, "s2": self.s2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A pair as its JAMS describe it."""

    pair: str
    """Its name."""
    split: str
    """dev or eval, by the sources."""
    scene: str
    """The scene, by the first background of the first side that has one."""
    soundscapes: dict[str, Soundscape]
    """The soundscapes by side."""


def find_pairs(root: Path) -> list[PairFiles]:
    """All pairs under a folder, sorted by name.

    Files are called ``{pair}_s1.jams`` and ``{pair}_s2.jams``, in any folders. AudioDiffCaps publishes ``_s1`` alone:
    if a folder holds no ``_s2`` at all, its pairs have one side.

    Raises:
        NotFoundError: there is no such folder, or it holds no JAMS.
        InvalidInputError: a file has another name, a pair lacks a file, or a name occurs twice.
    """
    if not root.is_dir():
        raise NotFoundError(f"{root}: no such folder; give the folder that holds the JAMS files")
    found: dict[str, dict[str, str]] = {}
    with_second = set()
    jams = list_fitting(root, lambda name: name.lower().endswith(SUFFIX))  # unfinished work of a draw is hidden
    report_hidden(root, jams.hidden)
    for file in sorted(jams.files):
        folder, _, last = file.rpartition("/")  # Path is slow for many names
        name, _, side = last[: -len(SUFFIX)].rpartition("_")
        if side not in SIDES or not name:
            raise InvalidInputError(f"{root / file}: the JAMS of a pair must be named NAME_s1.jams and NAME_s2.jams")
        sides = found.setdefault(name, {})
        if side in sides:
            raise InvalidInputError(f"{root}: two files belong to the pair {name}: {sides[side]} and {file}")
        sides[side] = file
        if side == "s2":
            with_second.add(folder)
    if not found:
        raise NotFoundError(f"{root}: no JAMS files (*{SUFFIX}) in this folder or below it")
    return [_check_sides(name, sides, with_second, root) for name, sides in sorted(found.items())]


def _check_sides(name: str, sides: dict[str, str], with_second: set[str], root: Path) -> PairFiles:
    missing = next((side for side in SIDES if side not in sides), None)
    if missing == "s1" or (missing == "s2" and sides["s1"].rpartition("/")[0] in with_second):
        raise InvalidInputError(f"{root}: the pair {name} lacks its {missing} JAMS; complete the folder")
    return PairFiles(pair=name, s1=sides["s1"], s2=sides.get("s2"))


def read_pair(files: PairFiles, contents: dict[str, bytes], scenes: Scenes) -> Pair:
    """A pair from the content of its JAMS.

    Args:
        files: the pair's files.
        contents: their bytes by side.
        scenes: the scenes, of which one has the background.

    Raises:
        InvalidInputError: a JAMS breaks a rule, or the two do not belong together.
    """
    soundscapes = {side: parse_jams(data, f"{files.pair}_{side}") for side, data in contents.items()}
    splits = {_find_split(layer, name) for name, scape in soundscapes.items() for layer in list_layers(scape)}
    if len(splits) > 1:
        raise InvalidInputError(f"{files.pair}: takes sources of both dev and eval; a pair must be of one split")
    background = next((layer.label for scape in soundscapes.values() for layer in scape.backgrounds), None)
    if background is None:
        raise InvalidInputError(f"{files.pair}: has no background; at least one side must have one")
    durations = {scape.duration_s for scape in soundscapes.values()}
    if len(durations) > 1:
        raise InvalidInputError(f"{files.pair}: s1 and s2 last {' and '.join(f'{d:g} s' for d in sorted(durations))}")
    return Pair(pair=files.pair, split=splits.pop(), scene=scenes.scene_of(background), soundscapes=soundscapes)


def list_layers(soundscape: Soundscape) -> Sequence[Layer]:
    """Backgrounds and events of a soundscape."""
    return (*soundscape.backgrounds, *soundscape.events)


def _find_split(layer: Layer, name: str) -> str:
    split = layer.file.split("/", 1)[0]
    if split not in SPLITS:
        raise InvalidInputError(f"{name}: the source {layer.file} is not in source/dev or source/eval")
    return split
