"""Drawn pairs on disk: JAMS in the published form and layout, in parallel, resumable.

::

    {prefix}/{split}/jams/{prefix}_{split}_{number}_{s1,s2}.jams
    {prefix}/draw.json                                              what was drawn and how, written last
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from bgknown.apwd.changes import list_published
from bgknown.apwd.comparison import find_changes
from bgknown.apwd.draw_scene import complete_scenes
from bgknown.apwd.draw_sources import DrawSources, choose_sources
from bgknown.apwd.pair_draw import PairRules, Sources, draw_pair
from bgknown.apwd.pairs import SIDES
from bgknown.apwd.scenes import Scene, Scenes, read_published_scenes
from bgknown.apwd.sources.tree import SourceTree, open_tree
from bgknown.documents import read_object
from bgknown.errors import InvalidInputError, StorageError
from bgknown.jams.writing import compose_jams
from bgknown.jobs.parallel import check_jobs, count_cores, one_by_one
from bgknown.jobs.resumable import Job, UnitResult
from bgknown.jobs.units import FinishedUnit, JobFolder, make_digest
from bgknown.jobs.workspace import Workspace
from bgknown.userpath import expand_fields
from bgknown.version import VERSION

NAME = "APwD draw"
FORMAT = 1
"""Number of this layout; a reader refuses those it does not know."""
DRAW = "draw.json"
ROWS = 1
"""Number of how a pair is drawn; raised when its JAMS change, so that older ones are remade."""
LEFT_OUT_WORDS = {"sources_of_clips": "sources of clips", "identical_audio": "same audio in eval"}
"""Why recordings are not drawn, and the reasons in words."""
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDrawOptions:
    """The options of a draw of pairs."""

    source: Path
    """The source tree."""
    out: Path
    """Folder in which the folder of the draw is made."""
    scene: str
    """The scene's name, or the label of a background of the tree; then ``events`` is required."""
    scenes: Scenes = field(default_factory=read_published_scenes)
    """The scenes."""
    events: tuple[str, ...] = ()
    """Event classes; none means the scene's."""
    pairs: Mapping[str, int] = field(default_factory=dict)
    """Pairs of each split; a split that is not named is not drawn. Empty means the published numbers of both."""
    name: str | None = None
    """Name of the draw, with which every pair's name begins; by default apwd_{scene}_seed{seed}."""
    rules: PairRules = field(default_factory=PairRules)
    """Ranges and weights."""
    keep_sources: bool = False
    """Also draw recordings that ESC-50 clips of the tree were cut from."""
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
        """What every pair's name begins with."""
        return self.name or f"apwd_{self.scene}_seed{self.rules.seed}"

    def counts(self) -> dict[str, int]:
        """Pairs of each split that is drawn."""
        pairs = self.pairs or {split: facts.pairs for split, facts in self.scenes.splits.items()}
        return {split: pairs[split] for split in self.scenes.splits if pairs.get(split, 0) > 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawReport:
    """What a draw did."""

    folder: Path
    """Folder of the draw."""
    counts: dict[str, int]
    """Pairs of each split."""
    kinds: dict[str, int]
    """Changes of each kind."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Recordings that were not drawn, by the reason: sources_of_clips, identical_audio."""
    was_finished: bool = False
    """Whether the draw was complete before this run."""


def draw(options: PairDrawOptions) -> DrawReport:
    """Draw pairs and write them as JAMS, or resume where an earlier run stopped.

    Raises:
        NotFoundError: there is no such tree or scene, or the tree lacks a label; suggests the event classes it has.
        InvalidInputError: too few sources, or dev and eval share some.
        StorageError: the folder holds something else, is locked, or the disk is full.
    """
    counts, most = options.counts(), len(options.rules.changes)
    if not counts:
        raise InvalidInputError("no pairs to draw: every number of pairs is 0; give a number above 0")
    scenes = complete_scenes(
        options.scenes, options.scene, options.events, tree=options.source, splits=counts, most=most
    )
    options = replace(options, scenes=scenes)
    scene = scenes.scene(options.scene)
    scene = replace(scene, events=options.events or scene.events)
    chosen = choose_sources(open_tree(options.source), scene, counts, options.rules, keep_sources=options.keep_sources)
    folder = options.out / options.prefix
    job = Job(
        workspace=Workspace(folder, read=read_draw_description, manifest=DRAW, description=DRAW),
        description=_describe_draw(options, scene, chosen.tree, counts),
        noun="pair",
        jobs=options.jobs,
    )
    return job.run(
        lambda: _make_draw(job, options, chosen),
        lambda: _report_finished_draw(job, options.prefix, counts),
    )


def _make_draw(job: Job, options: PairDrawOptions, chosen: DrawSources) -> DrawReport:
    """Make what is missing."""
    counts = options.counts()
    folder, known, digest = job.folder, job.find_known(), make_digest(job.description, ROWS)
    kinds = dict.fromkeys(sorted(options.rules.kinds), 0)
    for split, count in counts.items():
        sources = chosen.of_split[split]
        work = partial(_write_pair, tree=chosen.tree, sources=sources, options=options, folder=folder, digest=digest)
        units = [(number, known.get(_name_pair(options.prefix, split, number))) for number in range(count)]
        for result in job.run_units(one_by_one(work), units, title=split, batch=_BATCH):
            for kind in result.record or ():
                kinds[kind] += 1
    _flush_disks()
    content = json.dumps({**job.description, "kinds": kinds, "left_out": chosen.left_out}, indent=2) + "\n"
    job.finish({DRAW: content.encode()}, folders=[folder.out / split / "jams" for split in counts])
    return DrawReport(folder=folder.out, counts=counts, kinds=kinds, left_out=chosen.left_out)


def _report_finished_draw(job: Job, prefix: str, counts: Mapping[str, int]) -> DrawReport:
    names = [(split, _name_pair(prefix, split, number)) for split, count in counts.items() for number in range(count)]
    job.check_finished_files({f"{split}/jams/{name}_{side}.jams": None for split, name in names for side in SIDES})
    folder = job.workspace.out
    description = read_draw_description(folder)
    kinds, left_out = description["kinds"], description.get("left_out", {})
    return DrawReport(folder=folder, counts=dict(counts), kinds=kinds, left_out=left_out, was_finished=True)


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


def _describe_draw(options: PairDrawOptions, scene: Scene, tree: SourceTree, counts: dict[str, int]) -> dict[str, Any]:
    """The content of draw.json that is known before the draw: no times, no paths of a machine."""
    return {
        "name": NAME,
        "format": FORMAT,
        "version": VERSION,
        "configuration": {
            "scene": options.scene,
            "background": scene.background,
            "events": list(scene.events),
            "pairs": counts,
            "rules": json.loads(json.dumps(asdict(options.rules))),
        },
        "inputs": {"sources_sha256": tree.sha256([scene.background, *scene.events])},
    }


def _name_pair(prefix: str, split: str, number: int) -> str:
    return f"{prefix}_{split}_{number:05d}"


def _write_pair(
    unit: tuple[int, FinishedUnit | None],
    *,
    tree: SourceTree,
    sources: Sources,
    options: PairDrawOptions,
    folder: JobFolder,
    digest: str,
) -> UnitResult[list[str]]:
    """Draw one pair and put its JAMS under their final names, unless an earlier run has done so.

    Args:
        unit: the pair's number in its split, and what an earlier run has made of it.
        tree, sources, options: what it is drawn from.
        folder: where it goes.
        digest: fingerprint of everything that the draw depends on.

    Returns:
        The kinds of its changes.
    """
    number, known = unit
    kept = folder.find_kept(known, digest)
    if kept is not None:
        return UnitResult(record=kept["kinds"], kept=True)
    plan, *sides = draw_pair(sources, options.rules, options.prefix, number)
    if (found := list_published(find_changes(*sides))) != plan.changes:
        raise AssertionError(f"pair {number} shows {found}, but {plan.changes} were drawn")  # a defect
    split = sources.split
    pair = _name_pair(options.prefix, split, number)
    parts = []
    for side, soundscape in zip(SIDES, sides, strict=True):
        name = f"{pair}_{side}"
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
        # not flushed: that would take longer than drawing; ``_flush_disks`` does it once
        data = json.dumps(content, indent=2).encode()
        parts.append(folder.set_aside(f"{split}/jams/{name}.jams", data, flush=False))
    kinds = [change.kind for change in plan.changes]
    folder.settle(pair, digest, {"kinds": kinds}, parts)
    return UnitResult(record=kinds)


def _flush_disks() -> None:
    """Flush everything to the disk, so that draw.json never describes files that a power cut could take away."""
    try:
        os.sync()
    except OSError as error:
        raise StorageError(f"the disk refuses: {error.strerror or error}") from error
