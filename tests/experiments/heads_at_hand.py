"""What heads gain: on sounds they know, on sounds they have never heard, and with more recordings.

    python tests/experiments/heads_at_hand.py --data ../shared/data --dataset one=bgk400 --dataset six=bgk400x6 \
        --encoder logmel --encoder 'byola=byola512.pth?mean=-7.1&std=4.2' --mixtures 4000 --out heads

Trains heads by `benchmark head`, measures them by `benchmark run --protocol linear`, and prints a table: accuracy in
percent on the test clips, and paired differences with 95 % intervals over sources and backgrounds. Every dataset is a
BgKnown of the same corpora, `esc10` and `fsd50k` below --data (`bgknown build --esc50 ... --fsd50k ...`, with `--draws`
for several); no head is trained on the test part of any. Parts, by --part:

- known: foregrounds are the training clips of ESC-10, without their labels, and the development recordings of FSD50K,
  which are the backgrounds of all parts. The classes that are tested are among them.
- unknown: the same without the clips of five of the ten classes, in turn; every test clip is measured by the head that
  has not heard its class. `known` with as many mixtures is next to it.
- other: foregrounds are the sounds of `foregrounds`, speech (`tasks/librispeech_speakers`), or FSD50K's alone.
- curve: the same number of mixtures of an eighth, a quarter, half and all of the sources of foregrounds, for `known`
  and for `foregrounds` with FSD50K's. With M mixtures drawn, M/8 are used.

Mixtures of known, unknown and its curve are embedded once, and so are those of `foregrounds` and its curve. What exists
is not made again: stop it as you like, and add encoders, mixtures or parts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.heads.head import read_head
from benchmark.heads.recordings import RecordingChoice, list_recordings
from benchmark.predictions import list_groupings, read_predictions, score_clips
from benchmark.results.paired import compare_paired
from benchmark.results.sides import find_side
from benchmark.text_tables import align_columns
from bgknown.corpora.headers import default_cache
from bgknown.seeding import draw_ranks

PARTS = ("known", "unknown", "other", "curve")
SHARES = (1, 2, 4, 8)
"""Eighths of the sources of foregrounds in a curve."""
CURVES = ("known", "foregrounds")
"""Pools of recordings with a curve."""
ACCURACIES = ("mix", "a", "b", "c", "shuffled", "clean -> a")
PAIRS = {
    "a: head - subtraction": ("a", "a"),
    "c: head - subtraction": ("c", "c"),
    "a: head - a*": ("a", "a*"),
    "c: head - c*": ("c", "c*"),
    "a - shuffled: head - subtraction": ("a - shuffled", "a - shuffled"),
    "a - shuffled: head - starred": ("a - shuffled", "a* - shuffled*"),
}
"""Differences: the head's setting, and the encoder's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One head: the folders and lists of `benchmark head`, and the number of mixtures."""

    name: str
    audio: tuple[Path, ...]
    mixtures: int
    no_foreground: Path | None = None
    groups: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The options of this script."""

    data: Path
    out: Path
    cache: Path
    datasets: dict[str, Path]
    encoders: dict[str, str]
    features: str
    device: str

    @property
    def development(self) -> Path:
        return self.data / "fsd50k" / "FSD50K.dev_audio"

    def list_pools(self) -> dict[str, tuple[tuple[Path, ...], Path | None]]:
        """Folders of each pool of recordings, and its table of groups."""
        backgrounds = self.development
        foregrounds = self.data / "foregrounds"
        return {
            "known": ((self.data / "esc10" / "audio", backgrounds), None),
            "foregrounds": ((foregrounds / "audio", backgrounds), foregrounds / "table.csv"),
            "speech": ((self.data / "tasks" / "librispeech_speakers", backgrounds), None),
            "fsd50k": ((backgrounds,), None),
        }

    def plan(self, pool: str, mixtures: int, name: str = "", listed: Sequence[str] | None = None) -> Plan:
        """A head of a pool of recordings; sounds that are listed are not its foregrounds."""
        name = name or pool
        audio, groups = self.list_pools()[pool]
        path = None
        if listed:
            path = self.out / "lists" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join([*sorted(listed), ""]), encoding="utf-8")
        return Plan(name=f"{name}-{mixtures}", audio=audio, mixtures=mixtures, no_foreground=path, groups=groups)


def split_name(word: str) -> tuple[str, str]:
    """NAME=VALUE, or a value that is its own name."""
    name, _, value = word.partition("=")
    return (name, value) if value and name.isalnum() else (word, word)


def run(*words: object) -> None:
    """A command of `benchmark`; its progress and warnings go to stderr."""
    subprocess.run([sys.executable, "-m", "benchmark", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def read_training_classes(work: Work) -> dict[str, list[str]]:
    """Training clips of ESC-10 by class."""
    table = pd.read_csv(work.data / "esc10" / "meta" / "esc50.csv")
    table = table[table["fold"] <= 3]
    return {str(name): part["filename"].tolist() for name, part in table.groupby("category")}


def list_other_sources(work: Work, pool: str, eighths: int) -> list[str]:
    """SHA-256 of the recordings that a share of the sources of a pool leaves out."""
    audio, groups = work.list_pools()[pool]
    choice = RecordingChoice(audio=audio, groups=groups, exclude=tuple(work.datasets.values()))
    recordings = list_recordings(choice, cache=work.cache).recordings
    sources = sorted({each.source for each in recordings})
    order = np.argsort(draw_ranks(0, "curve of heads", sources), kind="stable")
    kept = {sources[place] for place in order[: len(sources) * eighths // 8]}
    return [each.sha256 for each in recordings if each.source not in kept]


def list_plans(
    work: Work, parts: Sequence[str], mixtures: Sequence[int], curves: Sequence[str] = CURVES
) -> Iterator[Plan]:
    """All heads of one encoder, those of most use first."""
    least = min(mixtures)
    halves = split_classes(read_training_classes(work))
    if "known" in parts:
        yield from (work.plan("known", count) for count in mixtures)
    if "unknown" in parts:
        for name, left_out in halves.items():
            clips = [clip for found in left_out.values() for clip in found]
            yield from (work.plan("known", count, name, clips) for count in mixtures)
    development = sorted(path.name for path in work.development.iterdir() if path.is_file())
    if "other" in parts:
        for pool in ("foregrounds", "speech"):
            yield work.plan(pool, least, f"{pool}-alone", development)
        yield work.plan("foregrounds", least)
        yield work.plan("fsd50k", least)
    if "curve" in parts:
        for pool in curves:
            for eighths in SHARES:
                others = list_other_sources(work, pool, eighths)
                yield work.plan(pool, max(mixtures) // eighths, f"{pool}-{eighths}of8", others)


def split_classes(clips: dict[str, list[str]]) -> dict[str, dict[str, list[str]]]:
    """Two halves of the classes, each the name of the heads that do not hear it."""
    names = list(clips)
    return {f"without-{half}": {name: clips[name] for name in names[half::2]} for half in (0, 1)}


def train_and_measure(work: Work, encoder: str, plans: Sequence[Plan]) -> None:
    """Train heads and measure them on every dataset."""
    excluded = [word for path in work.datasets.values() for word in ("--exclude", path)]
    common = ("--cache", work.cache, "--device", work.device)
    heads = []
    for plan in plans:
        path = work.out / "heads" / encoder / f"{plan.name}.safetensors"
        heads += ["--head", path]
        if path.exists():
            continue
        print(f"{encoder}: {plan.name}", file=sys.stderr, flush=True)
        audio = [word for folder in plan.audio for word in ("--audio", folder)]
        more = [] if plan.no_foreground is None else ["--no-foreground", plan.no_foreground]
        more += [] if plan.groups is None else ["--groups", plan.groups]
        options = ("--mixtures", plan.mixtures, "--features", work.features, "--out", path, *common)
        run("head", "--encoder", work.encoders[encoder], *audio, *excluded, *more, *options)
    for name, folder in work.datasets.items():
        data = ("--data", f"bgknown={folder}", "--data", f"esc50={work.data / 'esc10'}", "--protocol", "linear")
        out = work.out / f"results-{name}" / encoder
        run("run", "--encoder", work.encoders[encoder], *heads, *data, "--out", out, *common)


def list_predictions(work: Work, encoder: str, dataset: str) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Predictions of an encoder by itself, and with each of its heads."""
    out = work.out / f"results-{dataset}" / encoder
    plain = pd.DataFrame()
    with_heads = {}
    for name in pd.read_csv(out / "leaderboard.csv")["encoder"].unique():
        table = read_predictions(find_side(out, name).runs[-1].folder)
        _, plus, head = name.rpartition("+")
        if plus:
            with_heads[head] = table
        else:
            plain = table
    return plain, with_heads


def add_unknown_classes(with_heads: dict[str, pd.DataFrame], halves: dict[str, dict[str, list[str]]]) -> None:
    """Join heads that leave out each half: every clip as measured by the head that has not heard its class."""
    for count in {name.rsplit("-", 1)[1] for name in with_heads if name.startswith("without-")}:
        parts = [(with_heads.pop(f"{name}-{count}", None), left_out) for name, left_out in halves.items()]
        tables = [table[table["label"].isin(left_out)] for table, left_out in parts if table is not None]
        if len(tables) == len(halves):
            with_heads[f"unknown-{count}"] = pd.concat(tables, ignore_index=True)


def measure(work: Work, encoder: str, dataset: str) -> list[dict[str, object]]:
    """Rows of the table: figures in percent."""
    plain, with_heads = list_predictions(work, encoder, dataset)
    add_unknown_classes(with_heads, split_classes(read_training_classes(work)))
    own = ("a", "c", "a*", "c*", "shuffled", "shuffled*", "clean")
    first: dict[str, object] = {name: _average(plain, name) for name in ("mix", *own)}
    first |= {gain: _format(plain, gain, None, "") for gain in ("a - shuffled", "a* - shuffled*")}
    rows: list[dict[str, object]] = [{"dataset": dataset, "encoder": encoder, "head": "", "mixtures": "", **first}]
    for name, table in with_heads.items():
        row: dict[str, object] = {
            "dataset": dataset,
            "encoder": encoder,
            "head": name,
            "mixtures": _count_mixtures(work, encoder, name),
        }
        row |= {setting: _average(table, setting) for setting in ACCURACIES}
        row["a - shuffled"] = _format(table, "a - shuffled", None, "")
        row |= {title: _format(table, ours, plain, theirs) for title, (ours, theirs) in PAIRS.items()}
        rows.append(row)
    return rows


def _count_mixtures(work: Work, encoder: str, name: str) -> str:
    """How many mixtures heads were trained on, and how many of their recordings may be foregrounds."""
    kind, _, count = name.rpartition("-")
    names = [f"without-{half}-{count}" for half in (0, 1)] if kind == "unknown" else [name]
    facts = [read_head(work.out / "heads" / encoder / f"{each}.safetensors").facts for each in names]
    return " and ".join(f"{each.mixtures} of {each.foregrounds + each.held_out_foregrounds}" for each in facts)


def _average(table: pd.DataFrame, setting: str) -> float:
    return round(100 * float(score_clips(table, setting, "accuracy").mean()), 1)


def _format(table: pd.DataFrame, setting: str, other: pd.DataFrame | None, other_setting: str) -> str:
    """A paired difference with its interval; without another table, the setting is a gain already."""
    scores = score_clips(table, setting, "accuracy")
    others = scores * 0 if other is None else score_clips(other, other_setting, "accuracy")[scores.index]
    found = compare_paired(scores.to_numpy(), others.to_numpy(), list_groupings(table, scores.index), draws=100)
    return f"{100 * found.mean:+.1f} [{100 * (found.low or 0):.1f}, {100 * (found.high or 0):.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder with esc10, fsd50k, foregrounds and tasks.")
    parser.add_argument("--dataset", action="append", required=True, help="NAME=DIR of a BgKnown; may be repeated.")
    parser.add_argument("--encoder", action="append", required=True, help="NAME=ENCODER, or logmel; may be repeated.")
    parser.add_argument("--mixtures", type=int, nargs="+", default=[4000], help="Numbers of mixtures.")
    parser.add_argument("--part", action="append", choices=PARTS, help="May be repeated; all by default.")
    parser.add_argument("--curve", action="append", choices=CURVES, help="Pools with a curve; both by default.")
    parser.add_argument("--features", default="full", help="As for benchmark head.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for everything that is made.")
    parser.add_argument("--cache", type=Path, default=None, help="Cache folder of the project.")
    parser.add_argument("--device", default="cpu", help="As for benchmark.")
    given = parser.parse_args()
    work = Work(
        data=given.data,
        out=given.out,
        cache=given.cache or default_cache(),
        datasets={name: Path(path) for name, path in map(split_name, given.dataset)},
        encoders=dict(split_name(word) for word in given.encoder),
        features=given.features,
        device=given.device,
    )
    plans = list(list_plans(work, given.part or PARTS, given.mixtures, given.curve or CURVES))
    rows = []
    for encoder in work.encoders:
        train_and_measure(work, encoder, plans)
        for dataset in work.datasets:
            rows += measure(work, encoder, dataset)
            table = pd.DataFrame(rows)
            table.to_csv(work.out / "table.csv", index=False)
    print(align_columns(table.columns.tolist(), table.astype(object).fillna("").astype(str).to_numpy().tolist()))


if __name__ == "__main__":
    main()
