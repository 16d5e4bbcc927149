"""The folder of a run: configuration, checkpoint, log; and how a run that was stopped goes on.

    OUT/config.toml      the configuration in full; can be given to ``pretrain train --config``
    OUT/checkpoint.pt    the encoder, and everything that training goes on from; replaced as a whole
    OUT/log.csv          a row per ``log_every`` steps

The checkpoint is an encoder in the project's format (``pretrain.checkpoint``), so that it can be measured at any time.
The first process writes all of it. Each reads the checkpoint to go on, so several machines need a folder that they
share.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bgknown import __version__
from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs.files import advise_option, describe_storage_error, is_part, make_folder, write_whole
from bgknown.jobs.locking import hold
from bgknown.jobs.provenance import find_commit
from bgknown.jobs.stopping import clean_up_when_stopped
from bgknown.userpath import absolute
from pretrain.checkpoint import is_own_checkpoint, make_entries
from pretrain.config import DECIDED, Config
from pretrain.corpus import Corpus, read_card
from pretrain.frontend import Statistics
from pretrain.machine import pick_precision
from pretrain.ranks import Ranks
from pretrain.weights import read_tensors_file

if TYPE_CHECKING:
    from pretrain.train import Trainer

log = logging.getLogger(__name__)

CHECKPOINT, CONFIG, LOG = "checkpoint.pt", "config.toml", "log.csv"
_MAY_CHANGE = {"training.steps", "training.epochs", "training.log_every", "training.checkpoint_every"}
"""Settings that change nothing about the steps that are done."""


class Run:
    """A run's folder, held by this process."""

    def __init__(self, out: Path, config: Config, corpus: Corpus, ranks: Ranks) -> None:
        self.out, self.config, self.corpus, self.ranks = out, config, corpus, ranks
        self.checkpoint = out / CHECKPOINT
        self.log = out / LOG

    @classmethod
    @contextlib.contextmanager
    def claim(cls, out: Path, config: Config, corpus: Corpus, ranks: Ranks) -> Iterator[Run]:
        """Hold the folder; the first process does for all.

        Raises:
            StorageError: another process holds it, it holds something else, or it cannot be written.
        """
        run = cls(out, config, corpus, ranks)
        if ranks.rank:
            yield run
            return
        if out.is_dir() and not run.checkpoint.is_file() and any(not _is_ours(path) for path in out.iterdir()):
            raise StorageError(f"{out}: the folder is not empty and holds no run; give a new folder with --out")
        with advise_option("--out"):
            make_folder(out)
        busy = f"{out}: another process trains there; wait for it or give another --out"
        with hold(out / _LOCK, busy=busy), clean_up_when_stopped(run.remove_parts):
            with advise_option("--out"):
                run.remove_parts()
            yield run

    def remove_parts(self) -> None:
        """Remove what a process left that was killed while it wrote.

        Raises:
            StorageError: the folder cannot be written.
        """
        try:
            for part in filter(is_part, self.out.iterdir()):
                part.unlink(missing_ok=True)
        except OSError as error:
            raise describe_storage_error(error, self.out) from error

    def settle(self, device: torch.device) -> Config:
        """The configuration with its precision decided: the one that the run has, or the faster one on this machine.

        All processes take what the first one decides.

        Raises:
            InvalidInputError: the checkpoint is damaged.
        """
        training = self.config.training
        if training.precision != "auto":
            return self.config
        decided = 0
        if self.ranks.rank == 0:
            known = self._stored_precision()
            decided = DECIDED.index(known or pick_precision(device))
            log.info("precision: %s, %s", DECIDED[decided], "as the run has it" if known else f"the faster on {device}")
        place = self.ranks.first(torch.tensor([decided], device=device)).item()
        self.config = replace(self.config, training=replace(training, precision=DECIDED[int(place)]))
        return self.config

    def _stored_precision(self) -> str | None:
        """The precision of the steps that the checkpoint holds; None where it holds none."""
        if not self.checkpoint.is_file():
            return None
        card = self._read()["card"]
        precision = _flat(found if isinstance(found := card.get("config"), dict) else {}).get("training.precision")
        return precision if card.get("steps_done") and precision in DECIDED else None

    def _read(self) -> dict[str, Any]:
        content, _ = read_tensors_file(self.checkpoint)
        training = content.get("training")
        if (
            not is_own_checkpoint(content)
            or not isinstance(training, dict)
            or not isinstance(content.get("card"), dict)
        ):
            raise InvalidInputError(f"{self.checkpoint}: holds no training to go on from; give another --out")
        return content

    def restore(self, trainer: Trainer) -> None:
        """Take up the run where its checkpoint is, or begin it: take statistics, see that the folder can be written.

        Raises:
            StorageError: the checkpoint is of another configuration or corpus.
            InvalidInputError: the checkpoint is damaged.
        """
        begun = torch.tensor([float(self.checkpoint.is_file())], device=trainer.device)
        if not self.ranks.first(begun).item():  # the first process has looked for all: it may write one soon
            self._begin(trainer)
            return
        content = self._read()
        if content["card"].get("steps_done") == 0:  # nothing is lost by another configuration
            self._begin(trainer)
            return
        self._compare(content["card"])
        try:
            trainer.statistics = Statistics(**content["statistics"])
            trainer.load_state_dict(content["training"])
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise InvalidInputError(
                f"{self.checkpoint}: another version of this software wrote it ({_first_line(error)}); "
                f"give another --out, or go on with version {content['card'].get('version')}"
            ) from error
        if self.ranks.rank == 0:
            write_whole(self.out / CONFIG, self.config.as_toml().encode())

    def _begin(self, trainer: Trainer) -> None:
        trainer.take_statistics()
        if self.ranks.rank == 0:
            write_whole(self.out / CONFIG, self.config.as_toml().encode())
        self.store(trainer)

    def store(self, trainer: Trainer) -> None:
        """Write the checkpoint, whole or not at all.

        Raises:
            StorageError: it cannot be written; the one before is as it was.
        """
        if self.ranks.rank == 0:
            content = {
                **make_entries(
                    trainer.learner.encoder, self.config.front_end, trainer.statistics, card=self.card(trainer)
                ),
                "training": trainer.state_dict(),
            }
            buffer = io.BytesIO()
            torch.save(content, buffer)
            write_whole(self.checkpoint, buffer.getbuffer())
        self.ranks.wait()

    def card(self, trainer: Trainer) -> dict[str, Any]:
        """What is worth telling about the encoder, as stored with it."""
        return {
            "name": absolute(self.out).name,
            "steps_done": trainer.steps_done,
            "steps": self.config.total_steps(len(self.corpus)),
            "config": self.config.tables(),
            "corpus": read_card(self.corpus.folder),
            "version": __version__,
            "commit": find_commit(),
            "torch": torch.__version__,
        }

    def _compare(self, card: dict[str, Any]) -> None:
        config, corpus = (found if isinstance(found := card.get(name), dict) else {} for name in ("config", "corpus"))
        there, here = _flat(config), _flat(self.config.tables())
        differences = [
            f"{name} is {there.get(name)} there and {here.get(name)} here"
            for name in sorted({*there, *here} - _MAY_CHANGE)
            if there.get(name) != here.get(name)
        ]
        if corpus.get("index_sha256") != self.corpus.fingerprint:
            differences.append("the corpus is another one")
        if differences:
            raise StorageError(
                f"{self.out}: holds another run: {'; '.join(differences)}; "
                f"give another --out, or what it was begun with"
            )


_LOCK = ".lock"


def _is_ours(path: Path) -> bool:
    return path.name in {_LOCK, CONFIG, LOG} or is_part(path)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _flat(tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        f"{table}.{name}": value
        for table, values in tables.items()
        if isinstance(values, Mapping)
        for name, value in values.items()
    }
