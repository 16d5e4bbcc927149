"""Encoders on tasks: load, measure, and write rows, predictions and the resolved configuration."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmark import processes, tasks
from benchmark.embedding.broken import describe
from benchmark.embedding.clips import BrokenClipError
from benchmark.embedding.embed import EmbedSettings
from benchmark.encoders.contract import LoadedEncoder
from benchmark.encoders.loading import try_out
from benchmark.encoders.registry import load_encoder
from benchmark.evaluate import evaluate
from benchmark.protocol import TEXT_ENCODER, Protocol, choose_protocol
from benchmark.record import Measuring, Outcome, check_same, find_finished, warn_of_earlier, write_outcome
from benchmark.results.rows import ResultRow
from benchmark.results.run_folder import claim
from benchmark.tasks import own as own_task
from benchmark.tasks.contract import TaskData, TaskOptions, check_folds
from benchmark.tasks.locations import Locations
from bgknown.errors import InvalidInputError
from bgknown.userpath import expand_fields

__all__ = ["Outcome", "RunOptions", "pick_device", "run", "summarise_rows"]

log = logging.getLogger(__name__)

DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What to measure, and how."""

    encoders: tuple[str, ...]
    """What ``benchmark.encoders.registry`` loads encoders by."""
    tasks: tuple[str, ...]
    """Names of tasks, or tables of a user's own."""
    data: Locations
    """Where their data lies."""
    out: Path
    """Folder of results."""
    embedding: EmbedSettings
    """How embeddings are computed."""
    protocol: Protocol | None = None
    """How probes are trained; by default as in the figures that are published for each task."""
    seeds: int | None = None
    """How many seeds, where other than the protocol's."""
    splits: Mapping[str, Path] = field(default_factory=dict)
    """Tables of labels and splits to take in place of tasks' own."""
    text_encoder: str = TEXT_ENCODER
    """What embeds the texts of tasks that have some: a folder, or an id on the hub."""
    text_pooling: str = "mean"
    """``mean`` of the tokens, or ``cls``."""
    skip_broken: bool = False
    """Leave out clips that are missing or cannot be read, and count them."""
    shuffle_labels: bool = False
    """Control: labels dealt out anew."""
    again: bool = False
    """Measure anew what was measured before in the same way."""
    device: str = "cpu"
    """Where encoders and probes run."""
    name: str | None = None
    """What the encoder is called in results, where there is one only."""
    limit: int | None = None
    """Only so many clips of each task."""
    trust_code: bool = False
    """Whether an encoder may be a program."""

    def __post_init__(self) -> None:
        expand_fields(self, "out", "splits")
        if self.limit is not None and self.limit < 1:
            raise InvalidInputError(f"the limit is {self.limit}; it must be at least 1")
        if self.name is not None and len(self.encoders) > 1:
            raise InvalidInputError(f"the name {self.name!r} is for one encoder, {len(self.encoders)} are given")
        if self.name is not None and not self.name.strip():
            raise InvalidInputError("the name of the encoder is empty")
        names = [tasks.name_of(task) for task in self.tasks]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInputError(f"task {twice} is given twice; each has its own rows in the results")


def run(options: RunOptions) -> Iterator[Outcome]:
    """Measure every encoder on every task; each outcome is written before it is handed on.

    What was measured before in the same way, to the configuration and the version of this software, is not measured
    again unless so asked.

    Raises:
        BgknownError: a task, an encoder or their data break a rule, or the folder of results cannot be written; what
            was measured before is kept.
    """
    own = [tasks.name_of(task) for task in options.tasks if tasks.is_own(task)]
    needs = [need for name in (*options.tasks, *tasks.MODULES) for need in tasks.list_needs(name)]
    options.data.check(sorted({*tasks.MODULES, *needs, *own}))
    roots = {task: _root(options, task) for task in options.tasks}
    asked = {task: _asked(options, task) for task in options.tasks}
    prepared = {task: tasks.prepare(task, roots[task], asked[task]) for task in options.tasks}
    for data in prepared.values():
        check_folds(data)  # before hours are spent on the tasks that come first
        if processes.rank() == 0:
            warn_of_earlier(options.out, data)
    for loaded in _encoders(options, list(prepared.values())):
        if processes.rank() == 0:
            with claim(options.out):  # where nothing can be written, nothing need be measured
                pass
        for task in options.tasks:
            outcome = _without_broken(options, loaded, task, asked[task], prepared[task])
            if outcome is not None:
                yield outcome


def pick_device(name: str | None) -> str:
    """The device that was asked for, or the fastest there is; under torchrun every process takes its own GPU.

    Raises:
        InvalidInputError: there is no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available():
        name = f"cuda:{processes.local_rank() % torch.cuda.device_count()}"
    try:
        if torch.device(name).type not in DEVICES:
            raise RuntimeError(f"no device {name!r} here")
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise InvalidInputError(f"device is {name!r}; this machine has {', '.join(there)}") from error
    return name


def summarise_rows(rows: Sequence[ResultRow]) -> list[list[str]]:
    """Rows as texts for a table: setting, metric, mean, 95 % interval over clips, standard deviation over seeds."""
    lines = []
    for row in rows:
        clips = "" if row.low is None else f"[{row.low:.1f}, {row.high:.1f}]"
        seeds = "" if row.std is None else f"{row.std:.1f}"
        lines.append([row.setting, row.metric, f"{row.mean:.1f}", clips, seeds])
    return lines


def _encoders(options: RunOptions, data: Sequence[TaskData]) -> Iterator[LoadedEncoder]:
    """The encoders, each loaded when its turn comes, but all checked before the first is measured.

    No two are in memory at the same time, so that many large ones can be measured by one command.
    """
    lengths = [one.facts.duration_s for one in data if one.facts.duration_s]
    keys: dict[str, tuple[str, str]] = {}
    for spec in options.encoders:
        loaded = load_encoder(spec, trust_code=options.trust_code, device=options.device, name=options.name)
        for one in data:
            check_same(_measuring(options, loaded, one))
        if len(options.encoders) == 1:
            yield loaded
            return
        before, key = keys.setdefault(loaded.name, (spec, loaded.key))
        if key != loaded.key:
            raise InvalidInputError(
                f"{before} and {spec} are both called {loaded.name!r}, but are different encoders; rename one of the "
                f"files, or measure them one by one with --name"
            )
        try_out(loaded, min(lengths, default=1.0))
        del loaded  # before the next is loaded
    for spec in dict.fromkeys(options.encoders):
        loaded = load_encoder(spec, trust_code=options.trust_code, device=options.device, name=options.name)
        if keys.get(loaded.name, ("", ""))[1] != loaded.key:
            raise InvalidInputError(
                f"{spec}: is not the encoder that was checked when this command began: its file was replaced, or it "
                f"draws random weights each time it is loaded; run the command again, with a fixed seed in the encoder"
            )
        yield loaded


def _root(options: RunOptions, task: str) -> Path:
    """The folder of a task; a user's own lies beside its table unless said otherwise."""
    name = tasks.name_of(task)
    if tasks.is_own(task) and name not in options.data.named:
        return own_task.locate_table(task).parent
    return options.data.of(name)


def _asked(options: RunOptions, task: str) -> TaskOptions:
    """What was said about how to read a task."""
    return TaskOptions(
        cache=options.embedding.cache,
        data=options.data.known(tasks.list_needs(task)),
        limit=options.limit,
        splits=options.splits.get(tasks.name_of(task)),
        skip_broken=options.skip_broken,
        shuffle_labels=options.shuffle_labels,
        text_encoder=options.text_encoder,
        text_pooling=options.text_pooling,
        device=options.device,
    )


def _without_broken(
    options: RunOptions, loaded: LoadedEncoder, task: str, asked: TaskOptions, data: TaskData
) -> Outcome | None:
    """Measure a task; with ``skip_broken`` without the clips that turn out to be broken while it is embedded.

    They may be broken for this encoder alone (NaN for silence), so the next encoder gets the whole task again.
    """
    while True:
        try:
            return _measured(_measuring(options, loaded, data), again=options.again)
        except BrokenClipError as error:
            if not options.skip_broken or error.problems.keys() <= asked.broken.keys():
                raise
            asked = dataclasses.replace(asked, broken={**asked.broken, **error.problems})
            data = tasks.prepare(task, data.root, asked)
            check_folds(data)
            if processes.rank() == 0:
                count = len(error.problems)
                plural = "clips are" if count > 1 else "clip is"
                log.warning("%s: %d %s left out: %s", data.facts.name, count, plural, describe(error.problems))


def _measuring(options: RunOptions, loaded: LoadedEncoder, data: TaskData) -> Measuring:
    protocol = choose_protocol(data.facts.protocol, options.protocol)
    if options.seeds not in {None, protocol.seeds}:
        protocol = dataclasses.replace(protocol, seeds=options.seeds, name=f"{protocol.name}, seeds {options.seeds}")
    return Measuring(
        loaded=loaded,
        data=data,
        protocol=protocol,
        embedding=options.embedding,
        out=options.out,
        limit=options.limit,
        shuffle_labels=options.shuffle_labels,
    )


def _measured(measuring: Measuring, *, again: bool) -> Outcome | None:
    """Measure, unless it is done; None in all processes but the first."""
    before = None if again else find_finished(measuring)
    if before is not None:
        return before if processes.rank() == 0 else None
    files = measuring.files_sha256() if processes.rank() == 0 else None  # first: what is replaced meanwhile will differ
    evaluation = evaluate(measuring.loaded, measuring.data, measuring.protocol, measuring.embedding)
    return write_outcome(measuring, evaluation, files=files) if processes.rank() == 0 else None
