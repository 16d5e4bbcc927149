"""Corpora with the published numbers of files: what reading their lists and headers takes, and a draw from them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from full_size_corpora import FSD50K, make_esc50, make_fsd50k, make_nsynth, make_vc1
from full_size_stages import Workshop


def read_corpora(folder: Path) -> int:
    """ESC-50 and FSD50K as ``bgknown build`` reads them."""
    from bgknown.corpora.pair import open_corpora  # noqa: PLC0415

    corpora = open_corpora(folder / "esc50", folder / "fsd50k", cache=folder / "cache")
    return len(corpora.foreground.table) + len(corpora.background.table)


def draw(folder: Path, *, draws: int) -> int:
    """The recipe, with every first crop taken as loud enough: what listening costs is a part of the stage ``build``."""
    from bgknown.corpora.pair import open_corpora  # noqa: PLC0415
    from bgknown.mixtures.draw import DrawOptions, draw_recipe  # noqa: PLC0415
    from bgknown.mixtures.hearing import CropCheck, CropVerdict  # noqa: PLC0415

    def listen(checks: Sequence[CropCheck]) -> Iterator[CropVerdict]:
        for check in checks:
            first = {clip: starts[0] for clip, starts in check.starts.items()}
            yield CropVerdict(recording_id=check.recording["recording_id"], chosen=first)

    corpora = open_corpora(folder / "esc50", folder / "fsd50k", cache=folder / "cache")
    return len(draw_recipe(corpora, DrawOptions(draws=draws), listen).recipe)


def read_task(folder: Path, *, name: str) -> int:
    """A task as ``benchmark run`` reads it."""
    from benchmark import tasks  # noqa: PLC0415
    from benchmark.tasks.contract import TaskOptions  # noqa: PLC0415

    return len(tasks.prepare(name, folder / name, TaskOptions(cache=folder / "cache")).table)


def list_for_packing(folder: Path) -> int:
    """A folder as ``pretrain pack`` lists it."""
    from pretrain.audio_files import find_audio  # noqa: PLC0415

    return len(find_audio([folder / "nsynth"])[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that is done with the corpora."""

    name: str
    """Its name on the command line."""
    title: str
    """What the table calls it."""
    work: Callable[[Path], int]
    """Does it in a folder of corpora; the number of files or rows."""
    reads_headers: bool = False
    """Whether a second time finds headers in the cache."""


STEPS_OF_LISTS = [
    Step(name="bgknown", title="ESC-50 and FSD50K: lists and headers", work=read_corpora, reads_headers=True),
    Step(name="draw", title="the recipe of one draw, in rows, without listening", work=partial(draw, draws=1)),
    Step(name="draw-six", title="the recipe of six draws, in rows, without listening", work=partial(draw, draws=6)),
    Step(
        name="vc1",
        title="VoxCeleb1: list, headers, split, views",
        work=partial(read_task, name="vc1"),
        reads_headers=True,
    ),
    Step(
        name="nsynth",
        title="NSynth: lists, headers, split, views",
        work=partial(read_task, name="nsynth"),
        reads_headers=True,
    ),
    Step(name="listing", title="listing NSynth's folder for `pretrain pack`", work=list_for_packing),
]


def run_step(name: str, folder: Path) -> dict[str, float]:
    """Do a step twice in this process; files, CPU seconds of each time, and the memory that the first added, MB."""
    step = next(step for step in STEPS_OF_LISTS if step.name == name)
    import benchmark.tasks  # noqa: PLC0415
    import bgknown.corpora.pair  # noqa: PLC0415, F401

    if name in {"vc1", "nsynth"}:
        benchmark.tasks.load_task(name)
    seconds, before_mb = [], _peak_mb()
    for _ in range(2):
        began = time.process_time()
        files = step.work(folder)
        seconds.append(time.process_time() - began)
    return {"files": files, "first": seconds[0], "again": seconds[1], "added_mb": _peak_mb() - before_mb}


def measure_lists(shop: Workshop, measured_on: str, script: Path) -> dict[str, dict[str, float | str]]:
    """Make the corpora, and measure every step in a process of its own."""
    folder = shop.folder / "corpora"
    folder.mkdir()
    make_esc50(folder / "esc50")
    make_fsd50k(folder / "fsd50k", FSD50K)
    make_vc1(folder / "vc1")
    make_nsynth(folder / "nsynth")
    found = {}
    for step in STEPS_OF_LISTS:
        command = [sys.executable, str(script), "--step", step.name, str(folder)]
        done = subprocess.run(
            command, env=shop.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
        )
        found[step.name] = {**json.loads(done.stdout.splitlines()[-1]), "measured_on": measured_on}
        print(f"{step.name}: {found[step.name]}", file=sys.stderr, flush=True)
    shutil.rmtree(folder)
    return found


def _peak_mb() -> float:
    """Largest resident memory of this process; that of ``getrusage`` includes the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
