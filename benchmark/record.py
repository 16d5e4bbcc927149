"""What is stored of a measurement: rows, predictions and the resolved configuration; and how to find it again."""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bgknown
from benchmark import processes
from benchmark.contamination import check_training_data, check_with_head
from benchmark.embedding.clips import RESAMPLER
from benchmark.embedding.embed import EmbedSettings
from benchmark.embedding.hashes import hash_contents
from benchmark.encoders.contract import LoadedEncoder
from benchmark.heads.head import Head
from benchmark.predictions import PREDICTIONS, average_by_seed, read_predictions
from benchmark.probe import describe_endings
from benchmark.protocol import Protocol
from benchmark.results.leak_check import join_findings
from benchmark.results.rows import FILE, ResultRow, add_rows, make_row, read_rows
from benchmark.results.run_folder import CONFIGURATION, read_configuration, run_name, write_run
from benchmark.scores import Evaluation
from benchmark.tasks.contract import TaskData
from bgknown.errors import BgknownError, InvalidInputError
from bgknown.jobs.files import hash_bytes, hash_file
from bgknown.jobs.provenance import find_commit, read_clock

log = logging.getLogger(__name__)

OF_ONE_RUN = ("date", "seconds", "chosen", "probes", "data", "files_sha256", "predictions_sha256", "training_settings")
"""Entries of the configuration that may differ when a measurement is repeated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measuring:
    """One encoder on one task, and everything that its figures depend on."""

    loaded: LoadedEncoder
    """The encoder."""
    data: TaskData
    """The task."""
    protocol: Protocol
    """How probes are trained."""
    embedding: EmbedSettings
    """How embeddings are computed."""
    out: Path
    """Folder of results."""
    limit: int | None
    """Largest number of clips; None for all."""
    shuffle_labels: bool
    """Whether labels were shuffled."""
    head: Head | None = None
    """What takes the place of the subtraction in the settings of the task; None for the subtraction."""

    @property
    def identity(self) -> dict[str, str]:
        """The values that identify a run."""
        precision = self.embedding.precision
        name, weights = self.loaded.name, self.loaded.weights_sha256
        if self.head is not None:
            name, weights = f"{name}+{self.head.name}", hash_bytes(f"{weights} {self.head.sha256}".encode())
        marks = [self.data.variant] * bool(self.data.variant)
        marks += ["shuffled labels"] * self.shuffle_labels + [f"limit {self.limit}"] * (self.limit is not None)
        return {
            "encoder": name if precision == "float32" else f"{name} ({precision})",
            "checkpoint_sha256": weights,
            "task": self.data.facts.name,
            "protocol": ", ".join([self.protocol.name, *marks]),
            "dataset_sha256": self.data.sha256,
        }

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.out / "runs" / run_name(**self.identity)

    def files_sha256(self) -> str:
        """Fingerprint of all audio whose hashes the dataset does not list; empty if there is none."""
        files = {
            name: [clip.path for clip in clips if not clip.sha256 and clip.rendering is None]
            for name, clips in self.data.signals.items()
        }
        unique = sorted({path for paths in files.values() for path in paths})
        known = dict(zip(unique, hash_contents(unique, cache=self.embedding.cache), strict=True))
        lines = [f"{name} {known[path]}" for name, paths in files.items() for path in paths]
        return hash_bytes("\n".join(lines).encode()) if lines else ""

    def check_leaks(self) -> str:
        """The leak check of the rows: the task's own, and whether the encoder was trained on test clips."""
        own, cache = self.loaded.trained_on, self.embedding.cache
        if self.head is None:
            found = check_training_data(self.data, own, cache=cache)
        else:
            found = check_with_head(self.data, own, self.head.trained_on, cache=cache)
        return join_findings(self.data.leak_check, found)

    def configuration(self) -> dict[str, Any]:
        """Everything except the audio that the figures depend on, and the machine, as JSON values."""
        loaded, data = self.loaded, self.data
        facts = {
            **self.identity,
            "spec": loaded.spec,
            "kind": loaded.kind,
            "encoder_configuration": loaded.configuration,
            "trained_on_sha256": None if loaded.trained_on is None else loaded.trained_on.sha256,
            "rate_hz": loaded.encoder.rate_hz,
            "embedding_size": loaded.encoder.embedding_size,
            "data": str(data.root),
            "settings": {setting.name: setting.about for setting in data.settings},
            "limit": self.limit,
            "protocol_settings": dataclasses.asdict(self.protocol),
            "lr": data.facts.lr if self.protocol.lr is None else self.protocol.lr,
            "duration_s": data.facts.duration_s,
            "precision": self.embedding.precision,
            "batch_size": self.embedding.batch_size,
            "resampler": RESAMPLER,
            "device": processes.name_device(loaded.device),
            "versions": {
                "bgknown": bgknown.__version__,
                "commit": find_commit(),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
            "notes": data.notes,
        }
        if self.head is not None:
            facts["head"] = {"sha256": self.head.sha256, **dataclasses.asdict(self.head.facts)}
        if loaded.training_settings:
            facts["training_settings"] = loaded.training_settings
        if data.text_encoder is not None:
            facts["text_encoder"] = data.text_encoder.facts()
        if self.protocol.rates:
            del facts["lr"]
        as_json: dict[str, Any] = json.loads(json.dumps(facts))
        return as_json


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """The result of one encoder on one task."""

    encoder: str
    """Its name in results."""
    data: TaskData
    """The task."""
    protocol: str
    """The name of the protocol in results."""
    rows: list[ResultRow]
    """Its rows."""
    folder: Path
    """The folder of the run."""
    by_seed: Mapping[tuple[str, str], Sequence[float]]
    """For each setting and metric the score of each seed, 0..1."""
    endings: str = ""
    """How its probes ended, as one line; empty where nothing was trained or it is unknown."""
    kept: bool = False
    """Whether it existed already and was not measured again."""


def check_same(measuring: Measuring) -> None:
    """Refuse to replace results of the same name that were measured with another encoder of audio or of texts.

    Raises:
        InvalidInputError: says what to do.
    """
    before = _read_stored(measuring)
    if before is None:
        return
    identity = measuring.identity
    lost = sorted(set(before.get("settings", {})) - {setting.name for setting in measuring.data.settings})
    if lost:
        log.warning(
            "%s on %s was also measured with %s; those rows are removed",
            identity["encoder"],
            identity["task"],
            ", ".join(lost),
        )
    if before.get("encoder_configuration") != measuring.configuration()["encoder_configuration"]:
        raise InvalidInputError(
            f"{identity['encoder']} on {identity['task']} was measured with another configuration of the encoder "
            f"({measuring.folder / CONFIGURATION}); choose another name with --name, or delete that folder"
        )
    text, earlier = measuring.data.text_encoder, before.get("text_encoder")
    if text is not None and (not isinstance(earlier, dict) or earlier.get("sha256") != text.sha256):
        raise InvalidInputError(
            f"{identity['encoder']} on {identity['task']} was measured with another text encoder called {text.name} "
            f"({measuring.folder / CONFIGURATION}); rename the folder of this one, or delete that folder"
        )


def warn_of_earlier(out: Path, data: TaskData) -> None:
    """Log a warning if there are results of version 0.1.0 of the same dataset, under its earlier id."""
    try:
        earlier = [row for row in read_rows(out / FILE) if row.dataset_sha256 == data.sha256_of_0_1_0]
    except BgknownError:  # there is none, or writing it will report what is wrong
        return
    if data.sha256_of_0_1_0 and earlier:
        log.warning(
            "%s: %d rows of %s were measured with 0.1.0, which gave this dataset another id (%s..., now %s...); "
            "they remain as rows of another dataset",
            out / FILE,
            len(earlier),
            data.facts.name,
            data.sha256_of_0_1_0[:8],
            data.sha256[:8],
        )


def find_finished(measuring: Measuring) -> Outcome | None:
    """The stored result, if everything that it depends on is the same and it is complete; otherwise None.

    Audio is the same if its content is, regardless of its place and time of change. A damaged configuration, or
    predictions other than those written with it, count as absent.
    """
    before = _read_stored(measuring)
    if before is None:
        return None
    stored = {name: value for name, value in before.items() if name not in OF_ONE_RUN}
    requested = {name: value for name, value in measuring.configuration().items() if name not in OF_ONE_RUN}
    if stored != requested or find_commit().endswith("+"):  # uncommitted changes may have changed since
        return None
    if before.get("files_sha256") != measuring.files_sha256() or not _has_its_predictions(measuring, before):
        return None
    identity = measuring.identity
    try:
        rows = [
            row
            for row in read_rows(measuring.out / FILE)
            if row.source == "measured" and row.run[:-1] == tuple(identity.values())
        ]
        table = read_predictions(measuring.folder)
    except BgknownError:
        return None
    settings = {setting.name for setting in measuring.data.settings}
    if not settings <= {row.setting for row in rows}:
        return None
    scores = {(row.setting, row.metric): average_by_seed(table, row.setting, row.metric) for row in rows}
    return Outcome(
        encoder=identity["encoder"],
        data=measuring.data,
        protocol=identity["protocol"],
        rows=rows,
        folder=measuring.folder,
        by_seed=scores,
        endings=_describe_probes(before.get("probes", [])),
        kept=True,
    )


def write_outcome(measuring: Measuring, evaluation: Evaluation, *, files: str | None = None) -> Outcome:
    """Write the folder of a run and add its rows to the leaderboard.

    Args:
        measuring: what was measured.
        evaluation: its figures.
        files: ``files_sha256`` from before the audio was read; default: as it is now.

    Raises:
        StorageError: they cannot be written.
    """
    data, date = measuring.data, read_clock()
    rows = _make_rows(measuring, evaluation, date)
    config = {
        **measuring.configuration(),
        "files_sha256": measuring.files_sha256() if files is None else files,
        "date": date,
        **({"chosen": evaluation.chosen} if evaluation.chosen else {}),
        **({"probes": evaluation.probes} if evaluation.probes else {}),
    }
    encoder = measuring.identity["encoder"]
    folder = write_run(
        measuring.out,
        measuring.folder.name,
        config=config,
        predictions=evaluation.predictions.assign(encoder=encoder),
        log="".join(f"{note}\n" for note in [*data.notes, *evaluation.notes]),
        tables=evaluation.tables,
    )
    add_rows(measuring.out, rows)
    if evaluation.resuming is not None:
        evaluation.resuming.forget()
    return Outcome(
        encoder=encoder,
        data=data,
        protocol=measuring.identity["protocol"],
        rows=rows,
        folder=folder,
        by_seed={(score.setting, score.metric): score.by_seed for score in evaluation.scores},
        endings=_describe_probes(evaluation.probes),
    )


def _make_rows(measuring: Measuring, evaluation: Evaluation, date: str) -> list[ResultRow]:
    leak_check, seconds = measuring.check_leaks(), round(evaluation.seconds, 1)
    return [
        make_row(
            score,
            **measuring.identity,
            n_skipped=measuring.data.skipped,
            leak_check=leak_check,
            seconds=seconds,
            date=date,
        )
        for score in evaluation.scores
    ]


def _describe_probes(probes: Sequence[Mapping[str, Any]]) -> str:
    return describe_endings([(probe["ended"], probe["steps"]) for probe in probes])


def _read_stored(measuring: Measuring) -> dict[str, Any] | None:
    """The stored configuration of the same run; None where there is none, or it is damaged."""
    return read_configuration(measuring.folder)


def _has_its_predictions(measuring: Measuring, before: Mapping[str, Any]) -> bool:
    try:
        return hash_file(measuring.folder / PREDICTIONS) == before.get("predictions_sha256")
    except OSError:
        return False
