"""The commands that are killed, on inputs made here, and what of their results must be the same."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from tests.benchmark.heads.conftest import make_recordings
from tests.bgknown.apwd.conftest import make_pairs
from tests.bgknown.apwd.made_sources import make_small
from tests.conftest import contents, make_tiny, noise
from tests.pretrain.made import make_corpus
from tests.pretrain.runs import stored, tensors

TIMES = {"seconds", "clips_per_s", "date"}
"""Columns of tables that hold times."""


@dataclass(frozen=True, kw_only=True)
class KillCase:
    """A command that may be killed at any moment."""

    arguments: tuple[str, ...]
    """The command without its output folder."""
    jobs: tuple[str, ...] = ("--jobs", "2")
    """Options that start processes; empty if it has none."""
    cluster: bool = True
    """Whether it can work on a cluster."""
    cache: bool = True
    """Whether it has a cache folder."""
    file: str = ""
    """The file in the output folder that it writes; empty if it writes the folder."""
    read: Callable[[Path], Mapping[str, object]] = contents
    """What must be the same, by name."""
    name: str = ""
    """Its name here."""

    def command(self, folder: Path, cluster: str | None = None) -> list[str]:
        """The whole command, with its output (and its cache) in a folder."""
        work = ("--cluster", cluster) if cluster else self.jobs
        cache = ("--cache", str(folder / "cache")) if self.cache else ()
        return [sys.executable, "-m", *self.arguments, *work, *cache, "--out", str(folder / "out" / self.file)]


def name_folder(name: str) -> str:
    """The name of a case as that of a folder."""
    return name.replace(" ", "_").replace(",", "")


def make_cases(root: Path, names: Iterable[str] | None = None) -> list[KillCase]:
    """Make the inputs of commands in a folder.

    Args:
        root: the folder.
        names: the commands; None for all.
    """
    cases = []
    for name in MAKERS if names is None else names:
        folder = root / name_folder(name)
        folder.mkdir(parents=True)
        cases.append(replace(MAKERS[name](folder), name=name))
    return cases


def _make_build(root: Path, engine: str) -> KillCase:
    tiny = make_tiny(root / "corpora")
    corpora = ("--esc50", str(tiny.esc50), "--fsd50k", str(tiny.fsd50k))
    return KillCase(arguments=("bgknown", "build", *corpora, "--engine", engine))


def _make_export(root: Path) -> KillCase:
    make_tiny(root / "corpora").build(root / "dataset", engine="direct")
    small = ("--format", "webdataset", "--shard-mb", "1")
    export = ("bgknown", "export", str(root / "dataset"), *small)
    return KillCase(arguments=export, jobs=(), cluster=False, cache=False)


def _make_prepare(root: Path) -> KillCase:
    small = make_small(root / "small")
    corpora = ("--esc50", str(small.esc50), "--fsd50k", str(small.fsd50k))
    classes = ("--background", "rain=Rain", "--event", "chime=bell", "--event", "tap=drum")
    return KillCase(arguments=("bgknown", "apwd", "prepare", *corpora, *classes))


def _make_draw(root: Path) -> KillCase:
    source = make_pairs(root / "pairs").source
    shutil.rmtree(source / "eval")  # has recordings of the same names as dev, which a draw refuses
    # pairs shorter than the published ones, because the sources are
    short = ("--duration", "1", "--event-length", "0.2", "0.3", "--onset", "0", "0.5")
    kinds = ("--kind", "event_added=1", "--kind", "event_removed=1", "--kind", "event_louder=1")
    classes = ("--scene", "rain", "--event", "dog", "--event", "thunder")
    draw = ("bgknown", "apwd", "draw", "--source", str(source), *classes, *kinds, *short)
    return KillCase(arguments=(*draw, "--pairs", "dev=60", "--pairs", "eval=0"), cluster=False, cache=False)


def _make_pair_build(root: Path) -> KillCase:
    pairs = make_pairs(root / "pairs")
    build = ("bgknown", "apwd", "build", "--jams", str(pairs.jams), "--source", str(pairs.source))
    return KillCase(arguments=build, cache=False)


def _make_pack(root: Path) -> KillCase:
    return KillCase(arguments=("pretrain", "pack", "--audio", str(_make_noises(root / "audio"))), cache=False)


def _make_training(root: Path, command: str, *more: str) -> KillCase:
    config = root / "train.toml"
    smoke = Path(__file__).parents[2] / "pretrain" / "configurations" / "smoke.toml"
    config.write_text(smoke.read_text().replace("checkpoint_every = 4", "checkpoint_every = 1"))
    given = ("--corpus", str(make_corpus(root / "corpus")), "--config", str(config), "--device", "cpu")
    read = _read_sweep if command == "sweep" else _read_training
    return KillCase(
        arguments=("pretrain", command, *given, *more), jobs=(), cluster=False, cache=False, read=read
    )  # fmt: skip


def _make_run(root: Path) -> KillCase:
    _make_noises(root / "audio")
    rows = [f"audio/{number}.wav,{'ab'[number % 2]},{'train' if number < 24 else 'test'}\n" for number in range(40)]
    (root / "task.csv").write_text(f"file,label,split\n{''.join(rows)}")
    run = ("benchmark", "run", *_ENCODER, "--batch", "4", "--task", str(root / "task.csv"))
    return KillCase(arguments=run, read=_read_results)


def _make_retrieval(root: Path) -> KillCase:
    from tests.benchmark.embedding.test_texts import distilbert  # noqa: PLC0415  (transformers take long)

    make_pairs(root / "pairs").build(root / "set")
    protocol = root / "quick.toml"
    protocol.write_text("seeds = 2\n[retrieval]\nepochs = 4\nsize = 16\nbatch_size = 4\nvalidation_share = 0.3\n")
    task = ("--task", "apwd-rain", "--data", f"apwd-rain={root / 'set'}", "--protocol", str(protocol))
    texts = ("--text-encoder", str(distilbert(root / "encoder")))
    return KillCase(arguments=("benchmark", "run", *_ENCODER, *task, *texts), read=_read_results)


def _make_embed(root: Path) -> KillCase:
    embed = ("benchmark", "embed", *_ENCODER, "--batch", "4", str(_make_noises(root / "audio")))
    return KillCase(arguments=embed, read=_read_results)


def _make_head(root: Path) -> KillCase:
    audio = str(make_recordings(root / "recordings"))
    head = ("benchmark", "head", *_ENCODER, "--audio", audio, "--mixtures", "64", "--duration", "0.5")
    return KillCase(arguments=head, cluster=False, file="head.safetensors", read=_read_results)


_ENCODER = ("--encoder", "melpower", "--device", "cpu")
MAKERS: dict[str, Callable[[Path], KillCase]] = {
    "build, Scaper": lambda root: _make_build(root, "scaper"),
    "build, direct": lambda root: _make_build(root, "direct"),
    "export": _make_export,
    "apwd prepare": _make_prepare,
    "apwd draw": _make_draw,
    "apwd build": _make_pair_build,
    "pack": _make_pack,
    "train": lambda root: _make_training(root, "train"),
    "sweep": lambda root: _make_training(root, "sweep", "--lambdas", "0,0.5"),
    "run": _make_run,
    "run, retrieval": _make_retrieval,
    "embed": _make_embed,
    "head": _make_head,
}
"""Makes each command's inputs in a folder, and gives the command."""


def _make_noises(folder: Path) -> Path:
    """A folder with files of noise, one second each."""
    folder.mkdir(exist_ok=True)
    for number in range(40):
        soundfile.write(folder / f"{number}.wav", noise(1.0, number), 16_000)
    return folder


def _read_training(out: Path) -> Mapping[str, object]:
    """Tensors and numbers of the checkpoint, and the log without rates."""
    checkpoint = {place: _plain(value) for place, value in tensors(stored(out)).items()}
    return checkpoint | {"log.csv": _without_times((out / "log.csv").read_text())}


def _read_sweep(out: Path) -> Mapping[str, object]:
    """What ``_read_training`` reads of each run, and the other files of the sweep."""
    runs = {path.parent for path in out.glob("*/checkpoint.pt")}
    found = {f"{run.name}/{name}": value for run in runs for name, value in _read_training(run).items()}
    return found | {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


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
