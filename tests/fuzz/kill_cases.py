"""The commands that are killed, on inputs made here, and what of their results must be the same."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import soundfile

from tests.bgknown.apwd.conftest import make_pairs
from tests.conftest import contents, make_tiny, noise
from tests.pretrain.made import make_corpus
from tests.pretrain.runs import stored, tensors

TIMES = {"seconds", "clips_per_s", "date"}
"""Columns of tables that hold times."""


@dataclass(frozen=True, kw_only=True)
class KillCase:
    """A command that may be killed at any moment."""

    name: str
    """Its name here."""
    arguments: tuple[str, ...]
    """The command without its output folder."""
    jobs: tuple[str, ...] = ("--jobs", "2")
    """Options that start processes; empty if it has none."""
    cluster: bool = True
    """Whether it can work on a cluster."""
    cache: bool = True
    """Whether it has a cache folder."""
    read: Callable[[Path], Mapping[str, object]] = contents
    """What must be the same, by name."""

    def command(self, folder: Path, cluster: str | None = None) -> list[str]:
        """The whole command, with its output (and its cache) in a folder."""
        work = ("--cluster", cluster) if cluster else self.jobs
        cache = ("--cache", str(folder / "cache")) if self.cache else ()
        return [sys.executable, "-m", *self.arguments, *work, *cache, "--out", str(folder / "out")]


def make_cases(root: Path) -> list[KillCase]:
    """Make all inputs in a folder."""
    tiny = make_tiny(root / "corpora")
    pairs = make_pairs(root / "pairs")
    for number in range(40):
        (root / "audio").mkdir(exist_ok=True)
        soundfile.write(root / "audio" / f"{number}.wav", noise(1.0, number), 16_000)
    corpus = make_corpus(root / "corpus")
    config = root / "train.toml"
    smoke = Path(__file__).parents[2] / "pretrain" / "configurations" / "smoke.toml"
    config.write_text(smoke.read_text().replace("checkpoint_every = 4", "checkpoint_every = 1"))
    table = root / "task.csv"
    rows = "".join(
        f"audio/{number}.wav,{'ab'[number % 2]},{'train' if number < 24 else 'test'}\n" for number in range(40)
    )
    table.write_text(f"file,label,split\n{rows}")
    build = ("bgknown", "build", "--esc50", str(tiny.esc50), "--fsd50k", str(tiny.fsd50k))
    apwd = ("bgknown", "apwd", "build", "--jams", str(pairs.jams), "--source", str(pairs.source))
    train = ("pretrain", "train", "--corpus", str(corpus), "--config", str(config), "--device", "cpu")
    run = ("benchmark", "run", "--encoder", "melpower", "--task", str(table), "--device", "cpu", "--batch", "4")
    return [
        KillCase(name="build, Scaper", arguments=(*build, "--engine", "scaper")),
        KillCase(name="build, direct", arguments=(*build, "--engine", "direct")),
        KillCase(name="apwd build", arguments=apwd, cache=False),
        KillCase(name="pack", arguments=("pretrain", "pack", "--audio", str(root / "audio")), cache=False),
        KillCase(name="train", arguments=train, jobs=(), cluster=False, cache=False, read=_read_training),
        KillCase(name="run", arguments=run, read=_read_results),
    ]


def _read_training(out: Path) -> Mapping[str, object]:
    """Tensors and numbers of the checkpoint, and the log without rates."""
    checkpoint = {place: _plain(value) for place, value in tensors(stored(out)).items()}
    return checkpoint | {"log.csv": _without_times((out / "log.csv").read_text())}


def _plain(value: object) -> object:
    return value.numpy().tobytes() if hasattr(value, "numpy") else value


def _read_results(out: Path) -> Mapping[str, object]:
    """All files but the log: tables without times, their rows in a fixed order; configurations without dates."""
    found: dict[str, object] = {}
    for name, data in contents(out).items():
        if name.endswith(".csv"):
            found[name] = _without_times(data.decode())
        elif name.endswith(".json"):
            found[name] = {key: value for key, value in json.loads(data).items() if key not in {"date", "check"}}
        elif not name.endswith("log.txt"):  # it also tells of the runs that were killed
            found[name] = data
    return found


def _without_times(text: str) -> list[tuple[tuple[str, str], ...]]:
    rows: Iterable[dict[str, str]] = csv.DictReader(io.StringIO(text))
    return sorted(tuple((name, value) for name, value in row.items() if name not in TIMES) for row in rows)
