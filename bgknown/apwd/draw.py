"""Drawn pairs on disk: JAMS in the published form and layout, in parallel, resumable.

::

    {prefix}/{split}/jams/{prefix}_{split}_{number}_{s1,s2}.jams
    {prefix}/draw.json                                              what was drawn and how, written last
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from bgknown.apwd.changes import find_changes
from bgknown.apwd.pair_draw import PairRules, Sources, draw_pair, gather_sources
from bgknown.apwd.scenes import Scenes, read_published_scenes
from bgknown.apwd.sources.tree import SourceTree, open_tree
from bgknown.documents import read_object
from bgknown.errors import InvalidInputError, StorageError
from bgknown.jams.writing import compose_jams
from bgknown.jobs.files import describe_storage_error, make_folder, sync_folder, write_unflushed, write_whole
from bgknown.jobs.parallel import check_jobs, count_cores, in_processes
from bgknown.jobs.workspace import Workspace
from bgknown.userpath import expand_fields
from bgknown.version import VERSION

NAME = "APwD draw"
FORMAT = 1
"""Number of this layout; a reader refuses those it does not know."""
DRAW = "draw.json"
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDrawOptions:
    """What a draw of pairs depends on."""

    source: Path
    """The source tree."""
    out: Path
    """Folder that gets the folder of the draw."""
    scene: str
    """The scene's name."""
    scenes: Scenes = field(default_factory=read_published_scenes)
    """The scenes there are."""
    events: tuple[str, ...] = ()
    """Event classes; none means the scene's."""
    pairs: Mapping[str, int] = field(default_factory=dict)
    """Pairs of each split; one that is not named gets the published number, 0 leaves it out."""
    name: str | None = None
    """Name of the draw, with which every pair's begins; by default apwd_{scene}_seed{seed}."""
    rules: PairRules = field(default_factory=PairRules)
    """Ranges and weights."""
    jobs: int = field(default_factory=count_cores)
    """Number of processes."""

    def __post_init__(self) -> None:
        expand_fields(self, "source", "out")
        check_jobs(self.jobs)
        for split, count in self.pairs.items():
            if split not in self.scenes.splits or count < 0:
                known = " or ".join(self.scenes.splits)
                raise InvalidInputError(f"pairs: {split}={count}; the split must be {known}, the number at least 0")
        if self.name is not None and (not self.name or any(c in self.name for c in "/\\\0") or self.name[0] == "."):
            raise InvalidInputError(f"the name {self.name!r} cannot be the name of a folder; choose another")

    @property
    def prefix(self) -> str:
        """With what every pair's name begins."""
        return self.name or f"apwd_{self.scene}_seed{self.rules.seed}"

    def counts(self) -> dict[str, int]:
        """Pairs of each split, without empty ones."""
        wanted = {split: self.pairs.get(split, facts.pairs) for split, facts in self.scenes.splits.items()}
        return {split: count for split, count in wanted.items() if count > 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawReport:
    """What a draw did."""

    folder: Path
    """Folder of the draw."""
    counts: dict[str, int]
    """Pairs of each split."""
    kinds: dict[str, int]
    """Changes of each kind."""
    was_finished: bool = False
    """Whether all was there before this run."""


def draw(options: PairDrawOptions) -> DrawReport:
    """Draw pairs and write them as JAMS, or go on with it where an earlier run stopped.

    Raises:
        NotFoundError: there is no such tree or scene, or the tree lacks a label.
        InvalidInputError: too few sources, or dev and eval share some.
        StorageError: the folder holds something else, is locked, or the disk is full.
    """
    scene = options.scenes.scene(options.scene)
    events = options.events or scene.events
    tree = open_tree(options.source)
    labels = sorted({scene.background, *events})
    tree.check_disjoint(labels)
    counts = options.counts()
    if not counts:
        raise InvalidInputError("no pairs are wanted: every split has 0")
    sources = {split: gather_sources(tree, split, scene.background, events, options.rules) for split in counts}
    folder = options.out / options.prefix
    description = _describe(options, tree, labels, counts)
    workspace = Workspace(folder, read=read_draw_description, manifest=DRAW, description=DRAW)
    with workspace.claim(description) as finished:
        if finished:
            kinds = read_draw_description(folder)["kinds"]
            return DrawReport(folder=folder, counts=counts, kinds=kinds, was_finished=True)
        workspace.write_plan(description)  # from here on a stopped run has left something to go on from
        kinds = dict.fromkeys(sorted(options.rules.kinds), 0)
        for split, count in counts.items():
            make_folder(folder / split / "jams")
            work = partial(_write_pair, tree=tree, sources=sources[split], options=options, scratch=workspace.scratch)
            done = in_processes(work, range(count), jobs=options.jobs, title=split, unit="pair", batch=_BATCH)
            for found in done:
                for kind in found:
                    kinds[kind] += 1
            sync_folder(folder / split / "jams")
        _flush()
        content = json.dumps({**description, "kinds": kinds}, indent=2) + "\n"
        write_whole(folder / DRAW, content.encode(), aside=workspace.scratch)
    return DrawReport(folder=folder, counts=counts, kinds=kinds)


def read_draw_description(folder: Path) -> dict[str, Any]:
    """The content of draw.json.

    Raises:
        NotFoundError: it is missing.
        InvalidInputError: it is damaged, or of a format that this version does not know.
    """
    path = folder / DRAW
    description = read_object(path)
    known = description.get("name") == NAME and description.get("format") == FORMAT
    if not known or not isinstance(description.get("kinds"), dict):
        raise InvalidInputError(f"{path}: damaged, or not of format {FORMAT}; draw again in a new folder")
    return description


def _describe(
    options: PairDrawOptions, tree: SourceTree, labels: Sequence[str], counts: dict[str, int]
) -> dict[str, Any]:
    """What draw.json says: no times, no paths of a machine."""
    scene = options.scenes.scene(options.scene)
    return {
        "name": NAME,
        "format": FORMAT,
        "version": VERSION,
        "configuration": {
            "scene": options.scene,
            "background": scene.background,
            "events": list(options.events or scene.events),
            "pairs": counts,
            "rules": json.loads(json.dumps(asdict(options.rules))),
        },
        "inputs": {"sources_sha256": tree.sha256(labels)},
    }


def _write_pair(
    number: int, *, tree: SourceTree, sources: Sources, options: PairDrawOptions, scratch: Path
) -> list[str]:
    """Draw one pair and put its JAMS under their final names; gives the kinds of its changes."""
    plan, *sides = draw_pair(sources, options.rules, options.prefix, number)
    if (found := find_changes(*sides)) != plan.changes:
        raise AssertionError(f"pair {number} shows {found}, {plan.changes} were meant")  # a defect
    split = sources.split
    folder = options.out / options.prefix / split / "jams"
    for side, soundscape in zip(("s1", "s2"), sides, strict=True):
        name = f"{options.prefix}_{split}_{number:05d}_{side}"
        where = f"datasets/{options.prefix}/{split}"
        content = compose_jams(
            replace(soundscape, name=name),
            fg_path=f"source/{split}/foreground",
            bg_path=f"source/{split}/background",
            fg_labels=tree.labels(split, "foreground"),
            bg_labels=tree.labels(split, "background"),
            paths=(f"{where}/wav/{name}.wav", f"{where}/jams/{name}.jams"),
            no_audio=True,
        )
        _put(folder / f"{name}.jams", json.dumps(content, indent=2).encode(), scratch)
    return [change.kind for change in plan.changes]


def _put(path: Path, data: bytes, scratch: Path) -> None:
    """Write aside and rename, without flushing each of many small files; what is there already is left alone."""
    try:
        if path.is_file() and path.read_bytes() == data:
            return
    except OSError as error:
        raise describe_storage_error(error, path) from error
    write_unflushed(path, data, aside=scratch)


def _flush() -> None:
    """Have the system write what it holds, so that draw.json never stands for files that a power cut can take."""
    try:
        os.sync()
    except OSError as error:
        raise StorageError(f"the disk refuses: {error.strerror or error}") from error
