"""The measurements in ``full_size.json``, and the tables of README.md and REPRODUCE.md that are made from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from full_size_fit import Cost, Line, fit_line, format_bytes, format_duration, format_seconds, format_table
from full_size_lists import STEPS_OF_LISTS
from full_size_stages import AUDIOSET, PAIRS, RETRIEVAL_EPOCHS, SOUNDSCAPES, STAGES, STEPS, Stage

HERE = Path(__file__).resolve().parent
STORE = HERE / "full_size.json"
DOCUMENTS = (HERE / "README.md", HERE.parents[1] / ".github" / "REPRODUCE.md")
ON_GPU = " with a GPU"
"""Suffix of a stage that was measured on a GPU, in wall seconds."""
COLUMNS = (
    "stage", "a unit is", "measured with", "per unit, and fixed", "residual", "growth", "peak memory",
    "written per unit", "whole", "on one core", "on one GPU", "disk", "measured on",
)  # fmt: skip
LIST_COLUMNS = ("what", "files or rows", "first time", "headers in the cache", "memory added", "measured on")
STEP_COLUMNS = ("step", "one core", "one GPU", "disk")
MISSING = "not measured"
_BLOCK = re.compile(r"(<!-- full size: (?P<name>[a-z]+) -->\n)(?P<body>.*?)(<!-- end of full size -->)", re.DOTALL)
MODELS, EMBEDDING_BYTES = 5, 4 * 3_072
AUDIO_S = {
    "Table 1": 10_000 * 5.0,
    "Table 2": SOUNDSCAPES * 10.0,
    "Table 3": 2_000 * 5.0 + 8_732 * 4.0 + 105_829 * 1.0 + 153_516 * 8.2 + 176_428 * 5.8 + 7_438 * 2.5 + 930 * 30.0
    + 305_979 * 4.0 + 183_392 * 4.0,
}  # fmt: skip
"""Seconds of audio that each model embeds for a table: clips times the length that is used of them."""
CLIPS = {"Table 1": 10_000, "Table 2": SOUNDSCAPES, "Table 3": 944_244}
_EMBED, _EMBED_S = "embed-nsynth-audiontt2022", 4.0
"""The stage that gives the time of embedding a second of audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionStep:
    """A step of REPRODUCE.md: units of stages, and disk space."""

    title: str
    """Its cell in the table, with a link."""
    work: Mapping[str, float]
    """Stages, and how many units of each."""
    disk: float
    """Bytes that it leaves."""


def _embed(table: str) -> dict[str, float]:
    return {_EMBED: MODELS * AUDIO_S[table] / _EMBED_S}


REPRODUCTION = [
    ReproductionStep(
        title="2. [BgKnown](#2-bgknown)", work={"build": 2_000, "verify": 2_000}, disk=2_000 * 4 * 441_044
    ),
    ReproductionStep(
        title="3. [APwD](#3-apwd)", work={"apwd-prepare": 520, "apwd-build": SOUNDSCAPES}, disk=SOUNDSCAPES * 882_044
    ),
    ReproductionStep(
        title="4. [pre-training](#4-pre-training)",
        work={"pack": AUDIOSET, "train": 4 * STEPS, "train-byol-a": STEPS},
        disk=AUDIOSET * 320_000,
    ),
    ReproductionStep(
        title="5. [Table 1](#5-table-1-bgknown-esc-50)",
        work=_embed("Table 1"),
        disk=MODELS * CLIPS["Table 1"] * EMBEDDING_BYTES,
    ),
    ReproductionStep(
        title="6. [Table 2](#6-table-2-apwd)",
        work={**_embed("Table 2"), "retrieval": MODELS * 2 * PAIRS * RETRIEVAL_EPOCHS},
        disk=MODELS * CLIPS["Table 2"] * EMBEDDING_BYTES,
    ),
    ReproductionStep(
        title="7. [Table 3](#7-table-3-nine-tasks)",
        work=_embed("Table 3"),
        disk=MODELS * CLIPS["Table 3"] * EMBEDDING_BYTES,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A stage's costs by number of units, and where they were measured."""

    costs: Mapping[int, Cost]
    """The cost of each size."""
    measured_on: str
    """Card or CPU, and commit."""

    @property
    def seconds(self) -> Line:
        """The line through the seconds."""
        sizes = sorted(self.costs)
        return fit_line(sizes, [self.costs[size].seconds for size in sizes])

    @property
    def written(self) -> Line:
        """The line through the bytes."""
        sizes = sorted(self.costs)
        return fit_line(sizes, [self.costs[size].written for size in sizes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Everything that was measured."""

    stages: dict[str, Measurement]
    """By the stage's name, with ``ON_GPU`` on a GPU."""
    lists: dict[str, dict[str, float | str]]
    """By the step's name: files, first, again (s), added_mb, measured_on."""


def read_store(path: Path = STORE) -> Measurements:
    """The stored measurements; none where there is no file."""
    content = json.loads(path.read_text()) if path.exists() else {"stages": {}, "lists": {}}
    stages = {
        name: Measurement(
            costs={int(size): Cost(**cost) for size, cost in entry["costs"].items()}, measured_on=entry["measured_on"]
        )
        for name, entry in content["stages"].items()
    }
    return Measurements(stages=stages, lists=content["lists"])


def write_store(found: Measurements, path: Path = STORE) -> None:
    """Add measurements to the stored ones, and replace those of the same name."""
    before = read_store(path)
    stages = {
        name: {
            "costs": {str(size): asdict(cost) for size, cost in sorted(entry.costs.items())},
            "measured_on": entry.measured_on,
        }
        for name, entry in (before.stages | found.stages).items()
    }
    content = {"stages": stages, "lists": before.lists | found.lists}
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def format_stage(stage: Stage, found: Measurement, *, on_gpu: bool) -> list[str]:
    """The cells of a stage's row."""
    seconds, written, whole = found.seconds, found.written, stage.whole
    projected = "; ".join(format_duration(seconds.project(units)) for units in whole.values())
    elsewhere = ""
    if stage.gpu is not None:
        durations = "; ".join(format_duration(stage.gpu[0] * units) for units in whole.values())
        elsewhere = f"{durations} ({stage.gpu[1]})"
    return [
        f"`{stage.name}`" + ON_GPU * on_gpu,
        stage.unit,
        ", ".join(f"{size:,}" for size in sorted(found.costs)),
        f"{format_seconds(seconds.per_unit)}, {format_seconds(max(seconds.fixed, 0.0))}",
        f"{100 * seconds.residual:.1f} %",
        f"{seconds.growth:.2f}" + (" (grows)" if seconds.grows else ""),
        _format_memory([found.costs[size] for size in sorted(found.costs)]),
        format_bytes(max(written.per_unit, 0.0)),
        "; ".join(f"{name}: {units:,}" for name, units in whole.items()),
        "" if on_gpu else projected,
        projected if on_gpu else elsewhere,
        "; ".join(format_bytes(max(written.project(units), 0.0)) for units in whole.values()),
        found.measured_on,
    ]


def _format_memory(costs: Sequence[Cost]) -> str:
    """The largest memory of each size, and how much of it is not mapped files."""
    text = ", ".join(f"{cost.peak_mb:,.0f}" for cost in costs) + " MB"
    own = [cost.own_mb for cost in costs if cost.own_mb is not None]
    return text + f" ({', '.join(f'{each:,.0f}' for each in own)} without files)" * bool(own)


def _format_stages(found: Measurements) -> str:
    rows = []
    for stage in STAGES:
        for suffix in ("", ON_GPU):
            if entry := found.stages.get(stage.name + suffix):
                rows.append(format_stage(stage, entry, on_gpu=bool(suffix)))
            elif not suffix:
                rows.append([f"`{stage.name}`", stage.unit, MISSING, *[""] * (len(COLUMNS) - 3)])
    return format_table(COLUMNS, rows)


def _format_lists(found: Measurements) -> str:
    rows = []
    for step in STEPS_OF_LISTS:
        if facts := found.lists.get(step.name):
            again = format_seconds(float(facts["again"])) if step.reads_headers else ""
            first, added = format_seconds(float(facts["first"])), f"{float(facts['added_mb']):,.0f} MB"
            rows.append([step.title, f"{int(facts['files']):,}", first, again, added, str(facts["measured_on"])])
        else:
            rows.append([step.title, MISSING, "", "", "", ""])
    return format_table(LIST_COLUMNS, rows)


def _format_steps(found: Measurements) -> str:
    stages = {stage.name: stage for stage in STAGES}
    rows = []
    for step in REPRODUCTION:
        missing = [name for name in step.work if name not in found.stages]
        total = sum(found.stages[name].seconds.project(round(units)) for name, units in step.work.items()
                    if name in found.stages)  # fmt: skip
        core = [format_duration(total)] * (len(missing) < len(step.work)) + [f"`{name}` {MISSING}" for name in missing]
        rows.append([step.title, "; ".join(core), _describe_gpu(step, stages, found), format_bytes(step.disk)])
    return format_table(STEP_COLUMNS, rows)


def _describe_gpu(step: ReproductionStep, stages: Mapping[str, Stage], found: Measurements) -> str:
    """The time of those stages that were measured on a GPU."""
    parts = {}
    for name, units in step.work.items():
        elsewhere = stages[name].gpu
        if entry := found.stages.get(name + ON_GPU):
            parts[name] = entry.seconds.project(round(units))
        elif elsewhere is not None:
            parts[name] = elsewhere[0] * units
    if not parts:
        return ""
    left = [name for name in step.work if name not in parts]
    return format_duration(sum(parts.values())) + "".join(f", and `{name}` on CPUs" for name in left)


def list_tables(found: Measurements) -> dict[str, str]:
    """The tables, by the names of their blocks."""
    return {"stages": _format_stages(found), "lists": _format_lists(found), "steps": _format_steps(found)}


def fill_blocks(text: str, tables: Mapping[str, str]) -> str:
    """A document with the tables in its blocks."""
    return _BLOCK.sub(lambda found: found[1] + tables[found["name"]] + found[4], text)


def write_documents(documents: Sequence[Path] = DOCUMENTS, store: Path = STORE) -> None:
    """Write the tables of the stored measurements."""
    tables = list_tables(read_store(store))
    for path in documents:
        path.write_text(fill_blocks(path.read_text(), tables))
