"""The folder of a run: configuration, checkpoint, log; and how a stopped run resumes.

    OUT/config.toml      the configuration in full; can be given to ``pretrain train --config``
    OUT/checkpoint.pt    the encoder, and everything that training resumes from; replaced as a whole
    OUT/log.csv          one row per ``log_every`` steps

The checkpoint is an encoder in the project's format (``pretrain.checkpoint``), so that it can be measured at any time.
The first process writes all of it. Every process reads the checkpoint to resume, so several machines need a shared
folder.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bgknown import __version__
from bgknown.errors import InvalidInputError, StorageError
from bgknown.jobs.files import advise_option, describe_storage_error, is_part, make_folder, write_whole
from bgknown.jobs.locking import hold
from bgknown.jobs.provenance import find_commit
from bgknown.jobs.stopping import clean_up_when_stopped
from bgknown.sounds import SoundList
from bgknown.userpath import absolute
from pretrain.checkpoint import is_own_checkpoint
from pretrain.config import DECIDED, Config
from pretrain.corpus import Corpus, read_card
from pretrain.initial import InitialEncoder
from pretrain.machine import pick_precision
from pretrain.ranks import Ranks
from pretrain.weights import read_tensors

log = logging.getLogger(__name__)

CHECKPOINT, CONFIG, LOG = "checkpoint.pt", "config.toml", "log.csv"
_MAY_CHANGE = {"training.steps", "training.epochs", "training.log_every", "training.checkpoint_every"}
"""Settings that do not affect the steps already done."""


class Run:
    """A run's folder, held by this process."""

    def __init__(
        self, out: Path, config: Config, corpus: Corpus, ranks: Ranks, initial: InitialEncoder | None = None
    ) -> None:
        self.out, self.config, self.corpus, self.ranks, self.initial = out, config, corpus, ranks, initial
        self.checkpoint = out / CHECKPOINT
        self.log = out / LOG

    @classmethod
    @contextlib.contextmanager
    def claim(
        cls, out: Path, config: Config, corpus: Corpus, ranks: Ranks, initial: InitialEncoder | None = None
    ) -> Iterator[Run]:
        """Lock the folder; the first process does so for all.

        Raises:
            StorageError: another process has locked it, it holds something else, or it cannot be written.
        """
        run = cls(out, config, corpus, ranks, initial)
        if ranks.rank:
            yield run
            return
        if out.is_dir() and not run.checkpoint.is_file() and any(not _is_ours(path) for path in out.iterdir()):
            raise StorageError(f"{out}: the folder is not empty and does not hold a run; give a new folder with --out")
        with advise_option("--out"):
            make_folder(out)
        busy = f"{out}: another process is training there; wait for it or give another --out"
        with hold(out / _LOCK, busy=busy), clean_up_when_stopped(run.remove_parts):
            with advise_option("--out"):
                run.remove_parts()
            yield run

    def remove_parts(self) -> None:
        """Remove unfinished files of a process that was killed while writing.

        Raises:
            StorageError: the folder cannot be written.
        """
        try:
            for part in filter(is_part, self.out.iterdir()):
                part.unlink(missing_ok=True)
        except OSError as error:
            raise describe_storage_error(error, self.out) from error

    def settle(self, device: torch.device) -> Config:
        """The configuration with a definite precision: that of the run so far, or the faster one on this machine.

        All processes use what the first one decides.

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
            log.info(
                "precision: %s, %s", DECIDED[decided], "as in the run so far" if known else f"the faster on {device}"
            )
        place = self.ranks.first(torch.tensor([decided], device=device)).item()
        self.config = replace(self.config, training=replace(training, precision=DECIDED[int(place)]))
        return self.config

    def _stored_precision(self) -> str | None:
        """The precision of the steps in the checkpoint; None if there are none."""
        if not self.checkpoint.is_file():
            return None
        card = self._read()["card"]
        precision = _flat(found if isinstance(found := card.get("config"), dict) else {}).get("training.precision")
        return precision if card.get("steps_done") and precision in DECIDED else None

    def _read(self) -> dict[str, Any]:
        content, _ = read_tensors(self.checkpoint)
        training = content.get("training")
        if (
            not is_own_checkpoint(content)
            or not isinstance(training, dict)
            or not isinstance(content.get("card"), dict)
        ):
            raise InvalidInputError(f"{self.checkpoint}: does not hold a training to resume; give another --out")
        return content

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The content of the checkpoint that this run resumes from; None where it starts.

        Args:
            device: the device of this process.

        Raises:
            StorageError: the checkpoint is of another configuration or corpus.
            InvalidInputError: the checkpoint is damaged.
        """
        exists = torch.tensor([float(self.checkpoint.is_file())], device=device)
        if not self.ranks.first(exists).item():  # the first process looks for all: it may write a checkpoint soon
            return None
        content = self._read()
        if content["card"].get("steps_done") == 0:  # no training is lost if the configuration is another one
            return None
        self._compare(content["card"])
        return content

    @contextlib.contextmanager
    def explain_mismatch(self, content: dict[str, Any]) -> Iterator[None]:
        """Report a checkpoint whose content does not fit these networks as one line.

        Args:
            content: of the checkpoint.

        Raises:
            InvalidInputError: what runs inside failed because another version wrote the checkpoint.
        """
        try:
            yield
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise InvalidInputError(
                f"{self.checkpoint}: another version of this software wrote it ({_first_line(error)}); "
                f"give another --out, or resume with version {content['card'].get('version')}"
            ) from error

    def write_configuration(self) -> None:
        """Write the configuration as TOML.

        Raises:
            StorageError: it cannot be written.
        """
        if self.ranks.rank == 0:
            write_whole(self.out / CONFIG, self.config.as_toml().encode())

    def store(self, content: dict[str, Any]) -> None:
        """Write the checkpoint, whole or not at all; the first process writes, and the others wait.

        Args:
            content: entries of the encoder, and ``training``, which training resumes from.

        Raises:
            StorageError: it cannot be written; the previous one is unchanged.
        """
        if self.ranks.rank == 0:
            buffer = io.BytesIO()
            torch.save(content, buffer)
            write_whole(self.checkpoint, buffer.getbuffer())
        self.ranks.wait()

    def make_card(self, steps_done: int) -> dict[str, Any]:
        """What is stored about the training with the encoder.

        Args:
            steps_done: number of steps done.
        """
        return {
            "name": absolute(self.out).name,
            "steps_done": steps_done,
            "steps": self.config.total_steps(len(self.corpus)),
            "config": self.config.tables(),
            "corpus": read_card(self.corpus.folder),
            "version": __version__,
            "commit": find_commit(),
            "torch": torch.__version__,
            **({} if self.initial is None else {"init": self.initial.describe()}),
        }

    def list_sounds(self) -> SoundList | None:
        """What the encoder is trained on, with what the encoder that it started from was; None if that is unknown."""
        if self.initial is None:
            return self.corpus.sounds
        before = self.initial.trained_on
        return None if before is None else before | self.corpus.sounds

    def _compare(self, card: dict[str, Any]) -> None:
        config, corpus = (found if isinstance(found := card.get(name), dict) else {} for name in ("config", "corpus"))
        there, here = _flat(config), _flat(self.config.tables())
        differences = [
            f"{name} is {there.get(name)} in the folder but {here.get(name)} was requested"
            for name in sorted({*there, *here} - _MAY_CHANGE)
            if there.get(name) != here.get(name)
        ]
        if corpus.get("index_sha256") != self.corpus.fingerprint:
            differences.append("the corpus is a different one")
        started = found if isinstance(found := card.get("init"), dict) else {}
        asked = {} if self.initial is None else self.initial.describe()
        if started.get("sha256") != asked.get("sha256"):
            was, now = (f"from {init['file']}" if init.get("file") else "from the seed" for init in (started, asked))
            differences.append(f"training started {was} in the folder but {now} was requested (--init)")
        if differences:
            raise StorageError(
                f"{self.out}: holds another run: {'; '.join(differences)}; "
                f"give another --out, or the options that it was started with"
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
