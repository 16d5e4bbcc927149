"""Encoders on tasks: load, measure, and write rows, predictions and the resolved configuration."""

from __future__ import annotations

import dataclasses
import functools
import logging
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark import processes, tasks
from benchmark.embedding.broken import describe
from benchmark.embedding.clips import BrokenClipError
from benchmark.embedding.embed import EmbedSettings
from benchmark.embedding.shares import embed_on_cluster
from benchmark.encoders.contract import LoadedEncoder
from benchmark.encoders.loading import try_out
from benchmark.encoders.registry import load_encoder
from benchmark.evaluate import embed_share_of_task, evaluate
from benchmark.heads.head import Head, check_head_fits, read_head
from benchmark.heads.settings import apply_head, has_references
from benchmark.protocol import TEXT_ENCODER, Protocol, choose_protocols
from benchmark.record import Measuring, Outcome, check_same, find_finished, warn_of_earlier, write_outcome
from benchmark.results.run_folder import claim
from benchmark.tasks import own as own_task
from benchmark.tasks.contract import TaskData, TaskOptions, check_folds
from benchmark.tasks.locations import Locations
from bgknown.errors import InvalidInputError
from bgknown.jobs.cluster import Cluster
from bgknown.jobs.shards import Shard
from bgknown.sounds import read_sound_list
from bgknown.userpath import expand_fields

__all__ = ["Outcome", "RunOptions", "run"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What to measure, and how."""

    encoders: tuple[str, ...]
    """What ``benchmark.encoders.registry`` loads encoders by."""
    tasks: tuple[str, ...]
    """Names of tasks, or tables of a user's own."""
    data: Locations
    """Where their data are."""
    out: Path
    """Folder of results."""
    embedding: EmbedSettings
    """How embeddings are computed."""
    protocols: tuple[Protocol, ...] = ()
    """How probes are trained; None for the protocol of the figures that are published for each task."""
    seeds: int | None = None
    """Number of seeds; None for the protocol's."""
    retrieval_patience: int | None = None
    """Epochs without a better one after which training for retrieval stops; None for the protocol's."""
    splits: Mapping[str, Path] = field(default_factory=dict)
    """Tables of labels and splits to use in place of the tasks' own."""
    text_encoder: str = TEXT_ENCODER
    """What embeds the texts of tasks with texts: a folder, or an id on the hub."""
    text_pooling: str = "mean"
    """``mean`` of the tokens, or ``cls``."""
    skip_broken: bool = False
    """Leave out clips that are missing or cannot be read, and count them."""
    shuffle_labels: bool = False
    """Control: labels shuffled."""
    again: bool = False
    """Repeat measurements that already exist."""
    device: str = "cpu"
    """Where encoders and probes run."""
    name: str | None = None
    """Name of the encoder in results; only for a single encoder."""
    trained_on: tuple[Path, ...] = ()
    """Lists of sounds that the encoder was trained on, added to what it says itself; only for a single encoder."""
    heads: tuple[Path, ...] = ()
    """Heads, each trained for one of the encoders, that are measured beside it."""
    limit: int | None = None
    """Use at most this many clips of each task."""
    trust_code: bool = False
    """Whether an encoder may run arbitrary code."""

    def __post_init__(self) -> None:
        expand_fields(self, "out", "splits", "trained_on", "heads")
        if self.limit is not None and self.limit < 1:
            raise InvalidInputError(f"the limit is {self.limit}; it must be at least 1")
        if self.name is not None and len(self.encoders) > 1:
            raise InvalidInputError(f"the name {self.name!r} is for one encoder, but {len(self.encoders)} are given")
        if self.name is not None and not self.name.strip():
            raise InvalidInputError("the name of the encoder is empty")
        if self.trained_on and len(self.encoders) > 1:
            raise InvalidInputError(
                f"--trained-on {self.trained_on[0]} is for one encoder, but {len(self.encoders)} are given; "
                f"measure them separately"
            )
        names = [tasks.name_of(task) for task in self.tasks]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInputError(f"task {twice} is given twice; each has its own rows in the results")


def run(options: RunOptions) -> Iterator[Outcome]:
    """Measure every encoder on every task; each outcome is written before it is yielded.

    Measurements that already exist, with the same configuration and version of this software, are not repeated unless
    ``options.again`` is set.

    Raises:
        BgknownError: a task, an encoder or their data break a rule, or the folder of results cannot be written; what
            was measured before is kept.
    """
    heads = [read_head(path) for path in options.heads]
    data_of, task_options = _prepare_tasks(options)
    if heads and not any(map(has_references, data_of.values())):
        raise InvalidInputError(
            f"--head {options.heads[0]}: none of the tasks {', '.join(map(tasks.name_of, options.tasks))} subtracts "
            f"backgrounds; heads are measured on bgknown"
        )
    for data in data_of.values():
        if processes.rank() == 0:
            warn_of_earlier(options.out, data)
    for loaded in _load_in_turn(options, list(data_of.values()), heads):
        own = [head for head in heads if head.facts.encoder_key == loaded.key]
        if processes.rank() == 0:
            with claim(options.out):  # fails before anything is measured if nothing can be written
                pass
        for task in options.tasks:
            for protocol in _list_protocols(options, data_of[task]):
                for head in (None, *(own if has_references(data_of[task]) else ())):
                    outcome = _measure_until_usable(
                        *(options, loaded, protocol, head),
                        task=task,
                        task_options=task_options[task],
                        data=data_of[task],
                    )
                    if outcome is not None:
                        yield outcome


def embed_shares(options: RunOptions) -> Iterator[str]:
    """Embed a share of the audio of every task with every encoder (``options.embedding.shard``), into the cache.

    Yields:
        a line for each encoder and task.

    Raises:
        BgknownError: as ``run``.
    """
    data_of, _ = _prepare_tasks(options)
    for loaded in _load_in_turn(options, list(data_of.values())):
        for task, data in data_of.items():
            held = embed_share_of_task(loaded, data, options.embedding)
            yield f"{loaded.name} on {tasks.name_of(task)}: the cache holds {held:,} embeddings"


def embed_elsewhere(options: RunOptions, cluster: Cluster) -> None:
    """Let the workers of a cluster embed the audio of all tasks with all encoders, into the cache.

    Raises:
        BgknownError: as ``run``, or a fault of the cluster.
    """
    for spec in dict.fromkeys(options.encoders):
        work = functools.partial(_embed_one_share, dataclasses.replace(options, encoders=(spec,)))
        embed_on_cluster(work, cluster, options.embedding.cache, f"embed {spec}")


def _embed_one_share(options: RunOptions, shard: Shard) -> None:
    settings = dataclasses.replace(options.embedding, shard=shard)
    for _ in embed_shares(dataclasses.replace(options, embedding=settings)):
        pass


def _prepare_tasks(options: RunOptions) -> tuple[dict[str, TaskData], dict[str, TaskOptions]]:
    """Read all tasks, and refuse what would fail after hours."""
    own = [tasks.name_of(task) for task in options.tasks if tasks.is_own(task)]
    needs = [need for name in (*options.tasks, *tasks.MODULES) for need in tasks.list_needs(name)]
    options.data.check(sorted({*tasks.MODULES, *needs, *own}))
    roots = {task: _find_root(options, task) for task in options.tasks}
    task_options = {task: _make_task_options(options, task) for task in options.tasks}
    data_of = {task: tasks.prepare(task, roots[task], task_options[task]) for task in options.tasks}
    for data in data_of.values():
        check_folds(data)  # before hours are spent on the first tasks
    return data_of, task_options


def _load_in_turn(options: RunOptions, data: Sequence[TaskData], heads: Sequence[Head] = ()) -> Iterator[LoadedEncoder]:
    """Load the encoders one after another, but check all of them before the first is measured.

    No two are in memory at the same time, so that one command can measure many large ones.
    """
    lengths = [one.facts.duration_s for one in data if one.facts.duration_s]
    keys: dict[str, tuple[str, str]] = {}
    for spec in options.encoders:
        loaded = _load(options, spec)
        for one in data:
            for protocol in _list_protocols(options, one):
                check_same(_describe(options, loaded, one, protocol))
        if len(options.encoders) == 1:
            _check_heads(options, heads, {loaded.name: loaded.key})
            yield loaded
            return
        before, key = keys.setdefault(loaded.name, (spec, loaded.key))
        if key != loaded.key:
            raise InvalidInputError(
                f"{before} and {spec} are both called {loaded.name!r}, but are different encoders; rename one of the "
                f"files, or measure them separately with --name"
            )
        try_out(loaded, min(lengths, default=1.0))
        del loaded  # before the next is loaded
    _check_heads(options, heads, {name: key for name, (_, key) in keys.items()})
    for spec in dict.fromkeys(options.encoders):
        loaded = _load(options, spec)
        if keys.get(loaded.name, ("", ""))[1] != loaded.key:
            raise InvalidInputError(
                f"{spec}: is not the encoder that was checked when this command started: its file was replaced, or it "
                f"draws random weights whenever it is loaded; run the command again, with a fixed seed in the encoder"
            )
        yield loaded


def _check_heads(options: RunOptions, heads: Sequence[Head], keys: Mapping[str, str]) -> None:
    """Check that every head was trained for one of the encoders."""
    for path, head in zip(options.heads, heads, strict=False):
        check_head_fits(head, path, keys)


def _load(options: RunOptions, spec: str) -> LoadedEncoder:
    """Load an encoder, with all that is known of its training data."""
    loaded = load_encoder(spec, trust_code=options.trust_code, device=options.device, name=options.name)
    known = {loaded.name: loaded.trained_on, **{str(path): read_sound_list(path) for path in options.trained_on}}
    for where, sounds in known.items():
        if sounds is not None and sounds.unidentified:
            log.warning(
                "%s: %s sounds of the training data have neither a Freesound id nor a SHA-256; they are not compared",
                where,
                f"{sounds.unidentified:,}",
            )
    lists = [sounds for sounds in known.values() if sounds is not None]
    return dataclasses.replace(loaded, trained_on=functools.reduce(operator.or_, lists) if lists else None)


def _find_root(options: RunOptions, task: str) -> Path:
    """The folder of a task; for a user's own task the folder of its table, unless --data gives another."""
    name = tasks.name_of(task)
    if tasks.is_own(task) and name not in options.data.named:
        return own_task.locate_table(task).parent
    return options.data.of(name)


def _make_task_options(options: RunOptions, task: str) -> TaskOptions:
    """The options for reading a task."""
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


def _measure_until_usable(
    options: RunOptions,
    loaded: LoadedEncoder,
    protocol: Protocol,
    head: Head | None = None,
    *,
    task: str,
    task_options: TaskOptions,
    data: TaskData,
) -> Outcome | None:
    """Measure a task; with ``skip_broken`` again and again, each time without the clips just found to be broken.

    Clips may be broken for this encoder only (NaN for silence), so the next encoder gets the whole task again.
    """
    while True:
        try:
            return _measure(_describe(options, loaded, data, protocol, head), again=options.again)
        except BrokenClipError as error:
            if not options.skip_broken or error.problems.keys() <= task_options.broken.keys():
                raise
            broken = {**task_options.broken, **error.problems}
            task_options = dataclasses.replace(task_options, broken=broken)
            data = tasks.prepare(task, data.root, task_options)
            check_folds(data)
            if processes.rank() == 0:
                count = len(error.problems)
                plural = "clips are" if count > 1 else "clip is"
                log.warning("%s: %d %s left out: %s", data.facts.name, count, plural, describe(error.problems))


def _list_protocols(options: RunOptions, data: TaskData) -> list[Protocol]:
    """The protocols of a task, with the seeds and the patience that the options give where there are any."""
    return [
        _adapt_protocol(protocol, options, data)
        for protocol in choose_protocols(data.facts.protocols, options.protocols)
    ]


def _adapt_protocol(protocol: Protocol, options: RunOptions, data: TaskData) -> Protocol:
    """A protocol changed by the options, which are then marks of its name."""
    drawn, patience = protocol.probe == "gradient" or data.text_encoder is not None, options.retrieval_patience
    if drawn and options.seeds not in {None, protocol.seeds}:
        name = f"{protocol.name}, seeds {options.seeds}"
        protocol = dataclasses.replace(protocol, seeds=options.seeds, name=name)
    if data.text_encoder is not None and patience not in {None, protocol.retrieval.patience}:
        retrieval = dataclasses.replace(protocol.retrieval, patience=patience)
        name = f"{protocol.name}, retrieval patience {patience}"
        protocol = dataclasses.replace(protocol, retrieval=retrieval, name=name)
    return protocol


def _describe(
    options: RunOptions, loaded: LoadedEncoder, data: TaskData, protocol: Protocol, head: Head | None = None
) -> Measuring:
    """What is measured: an encoder on a task by a protocol, with or without a head."""
    return Measuring(
        loaded=loaded,
        data=data if head is None else apply_head(data, head),
        head=head,
        protocol=protocol,
        embedding=options.embedding,
        out=options.out,
        limit=options.limit,
        shuffle_labels=options.shuffle_labels,
    )


def _measure(measuring: Measuring, *, again: bool) -> Outcome | None:
    """Measure, unless a measurement exists; None in all processes except the first."""
    finished = None if again else find_finished(measuring)
    if finished is not None:
        return finished if processes.rank() == 0 else None
    files = measuring.files_sha256() if processes.rank() == 0 else None  # before files may change
    evaluation = evaluate(measuring.loaded, measuring.data, measuring.protocol, measuring.embedding)
    return write_outcome(measuring, evaluation, files=files) if processes.rank() == 0 else None
