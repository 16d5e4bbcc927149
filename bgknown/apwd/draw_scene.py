"""Which scene a draw takes, and which event classes: those of the file of scenes, or what a source tree has."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from bgknown.apwd.scenes import Scene, Scenes
from bgknown.apwd.sources.tree import check_tree
from bgknown.errors import NotFoundError


def complete_scenes(
    scenes: Scenes, name: str, events: Collection[str], *, tree: Path, splits: Collection[str], most: int
) -> Scenes:
    """The scenes with the one to draw: a background of the tree that no scene has is a scene of its own.

    Args:
        scenes: the scenes.
        name: the scene to draw, or the label of a background of the tree.
        events: event classes to use instead of the scene's; may be empty.
        tree: the source tree.
        splits: the splits to draw.
        most: the largest number of changes of a pair.

    Raises:
        NotFoundError: there is no such tree or scene; or no event classes are given, and the tree lacks some of the
            scene's: then the message suggests the options that use what is there.
    """
    known = name in scenes.scenes
    if known and events:
        return scenes
    check_tree(tree)
    backgrounds = {label for split in splits for label in _list_labels(tree, split, "background")}
    if not known and name in backgrounds:
        own = Scene(name=name, background=name, fsd50k=(), events=())
        scenes = replace(scenes, scenes={**scenes.scenes, name: own})
    scene = scenes.scene(name)
    if not events:
        in_splits = [_list_labels(tree, split, "foreground") for split in splits]
        _check_events_there(scene, set.intersection(*in_splits) if in_splits else set(), backgrounds, tree, most)
    return scenes


def _list_labels(tree: Path, split: str, role: str) -> set[str]:
    """The labels of a split that have files."""
    return {folder.name for folder in (tree / split / role).glob("[!.]*") if folder.is_dir() and any(folder.iterdir())}


def _check_events_there(scene: Scene, there: set[str], backgrounds: set[str], tree: Path, most: int) -> None:
    missing = [label for label in scene.events if label not in there]
    found = sorted(there - backgrounds - {scene.background})
    if scene.background not in backgrounds or (scene.events and not missing):
        return  # the tree as a whole is checked later
    lack = f"no clips of {', '.join(missing)}" if missing else f"no file of scenes has the events of {scene.name}"
    if not found:
        raise NotFoundError(f"{tree}: {lack}; prepare some with `bgknown apwd prepare --event`")
    options = [f"--event {shlex.quote(label)}" for label in found]
    if len(found) < most:
        options.append(f"--changes {','.join('1' * len(found))}")
    raise NotFoundError(f"{tree}: {lack}; to draw the classes that are there, add {' '.join(options)}")
