"""One encoder on pairs with texts: embeddings to scores, predictions, and tables of queries."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmark.composed_retrieval import report
from benchmark.composed_retrieval.pairs import KINDS, Pairs, System
from benchmark.composed_retrieval.training import train_systems
from benchmark.composed_retrieval.zero_shot import apply_changes, average_changes, average_rows, fit_differences
from benchmark.embedding.texts import TextEncoder, embed_texts
from benchmark.predictions import add_optional_columns
from benchmark.probe import Resuming
from benchmark.protocol import Protocol
from benchmark.ranking import MEAN_RANK, MEDIAN_RANK, compute_ranks, score_queries
from benchmark.results.run_folder import BREAKDOWN
from bgknown.apwd.changes import Change, parse_codes

if TYPE_CHECKING:
    from benchmark.tasks.contract import Embeddings, Fold

UNCENTRED_MARK = ", uncentred"
"""What is added to the names of settings whose sides are not centred."""
CHANCE_SETTING = "chance"
"""The setting of a random order."""
SETTINGS = {
    "audio+text": ("trained: the latent of s1 plus that of the text", "s1", ""),
    "audio": ("control, trained: the latent of s1 alone", "s1", ""),
    "text": ("control, trained: the latent of the text alone", "s1", ""),
    "zero-shot difference": ("not trained: y_s1 plus the mean y_s2 - y_s1 of its changes in training", "s1", ""),
    "zero-shot audio": ("not trained: y_s1", "s1", ""),
    "zero-shot difference, uncentred": ("the same without taking off the means of the training pairs", "s1", ""),
    "zero-shot audio, uncentred": ("the same without taking off the means of the training pairs", "s1", ""),
    CHANCE_SETTING: ("a random order, in closed form", "s1", ""),
}
"""Settings, of which the first is the paper's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranked:
    """The rank of every test query's target."""

    setting: str
    """The setting."""
    seed: int | None
    """The seed; None where nothing was trained."""
    ranks: NDArray[np.int64]
    """[q] from 1."""
    first: NDArray[np.int64]
    """[q] the query whose target came first."""


def rank_queries(
    table: pd.DataFrame,
    fold: Fold,
    embeddings: Embeddings,
    text_encoder: TextEncoder,
    protocol: Protocol,
    *,
    device: str,
    cache: Path,
    resume: Resuming | None = None,
) -> Iterator[Ranked]:
    """Train the systems of all seeds and kinds of query at once, and rank all test targets for every test query.

    Args:
        table: one row per pair: clip_id, text, changes, classes_s1, classes_s2.
        fold: pairs to train on and to test; the gallery is the targets of all of the latter.
        embeddings: [n, D] of ``s1`` and ``s2``.
        text_encoder: embeds the texts.
        protocol: how systems are trained, and how many seeds.
        device: where.
        cache: cache folder, for the texts' embeddings.
        resume: as for ``train_systems``.
    """
    text, places = embed_texts(text_encoder, table["text"].tolist(), cache)
    classes = sorted({name for side in ("s1", "s2") for found in table[f"classes_{side}"] for name in _split(found)})
    heard = {side: _indicator(table[f"classes_{side}"], classes) for side in ("s1", "s2")}
    audio = torch.from_numpy(np.concatenate([embeddings["s1"], embeddings["s2"]]))
    names = table["clip_id"].to_numpy()

    def some(rows: NDArray[np.int64]) -> Pairs:
        return Pairs(
            audio=audio,
            text=torch.from_numpy(text),
            s1=rows,
            s2=rows + len(table),
            texts=places[rows],
            classes_s1=heard["s1"][rows],
            classes_s2=heard["s2"][rows],
            names=names[rows].tolist(),
        )

    systems = [System(kind=kind, seed=seed) for seed in range(protocol.seeds) for kind in KINDS]
    with tqdm(
        total=protocol.retrieval.epochs, desc="retrieval", unit="epoch", disable=not sys.stderr.isatty(), leave=False
    ) as bar:
        training = train_systems(
            some(fold.train), systems, protocol.retrieval, device=device, progress=bar.update, resume=resume
        )
    for latents in training.latents(some(fold.test)):
        yield _ranked(latents.system.kind, latents.system.seed, latents.queries, latents.targets)
    yield from _zero_shot(table, fold, embeddings)


def _zero_shot(table: pd.DataFrame, fold: Fold, embeddings: Embeddings) -> Iterator[Ranked]:
    changes = [tuple(_split(codes)) for codes in table["changes"]]
    trained = [changes[row] for row in fold.train]
    codes, found = fit_differences(embeddings["s1"], embeddings["s2"], fold.train, trained)
    query, target = (np.asarray(embeddings[side][fold.test]) for side in ("s1", "s2"))
    moved = apply_changes(query, [changes[row] for row in fold.test], codes, found)
    means = [average_rows(embeddings[side], fold.train) for side in ("s1", "s2")]
    moved_mean = means[0] + average_changes(trained, codes, found)
    for name, rows, mean in (("zero-shot difference", moved, moved_mean), ("zero-shot audio", query, means[0])):
        yield _ranked(name, None, torch.from_numpy(rows - mean), torch.from_numpy(target - means[1]))
        yield _ranked(f"{name}{UNCENTRED_MARK}", None, torch.from_numpy(rows), torch.from_numpy(target))


def _ranked(setting: str, seed: int | None, queries: torch.Tensor, targets: torch.Tensor) -> Ranked:
    places = torch.arange(len(queries))
    found, first = compute_ranks(queries, targets, places, places)
    return Ranked(setting=setting, seed=seed, ranks=found.numpy(), first=first.numpy())


def _split(text: str) -> list[str]:
    return [part for part in text.split(";") if part]


def _indicator(column: pd.Series, classes: Sequence[str]) -> torch.Tensor:
    """[n, C] 1 for the classes of each row."""
    place = {name: number for number, name in enumerate(classes)}
    found = torch.zeros(len(column), max(len(classes), 1))
    for row, names in enumerate(column):
        for name in _split(names):
            found[row, place[name]] = 1.0
    return found


def tabulate_queries(found: Sequence[Ranked], names: NDArray[np.object_]) -> pd.DataFrame:
    """One row per setting, seed and query: setting, seed, pair, rank, first.

    Args:
        found: ranks.
        names: [q] names of the test pairs.
    """
    tables = [
        pd.DataFrame({"pair": names, "rank": each.ranks, "first": names[each.first]}).assign(
            setting=each.setting, seed="" if each.seed is None else each.seed
        )
        for each in found
    ]
    return pd.concat(tables, ignore_index=True)[["setting", "seed", "pair", "rank", "first"]]


def read_changes(table: pd.DataFrame) -> list[tuple[Change, ...]]:
    """The changes of each row."""
    return [parse_codes(codes, str(name)) for codes, name in zip(table["changes"], table["clip_id"], strict=True)]


def make_report_tables(queries: pd.DataFrame, test: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What stands beside the predictions.

    Args:
        queries: what ``tabulate_queries`` gave.
        test: the test pairs in its order: clip_id, text, changes, s1, s2.
    """
    return {
        report.QUERIES: queries,
        BREAKDOWN: report.break_down(queries, read_changes(test)),
        report.WORST: report.list_worst_queries(queries, test.set_index("clip_id")),
    }


def score_setting(queries: pd.DataFrame, setting: str) -> tuple[dict[str, list[float]], dict[str, NDArray[np.float64]]]:
    """Scores of a setting: by metric, those of each seed, and those of each query (the mean over seeds)."""
    part = queries[queries["setting"] == setting]
    by_seed: dict[str, list[float]] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    seeds = part.groupby("seed", sort=True)
    for _, one in seeds:
        rank = torch.tensor(one["rank"].to_numpy(np.int64))
        for metric, values in score_queries(rank).items():
            by_seed.setdefault(metric, []).append(float(values.mean()))
            sums[metric] = sums.get(metric, 0.0) + values.numpy()
        by_seed.setdefault(MEDIAN_RANK, []).append(float(np.median(rank.numpy())))
    return by_seed, {metric: total / len(seeds) for metric, total in sums.items()}


def tabulate_predictions(queries: pd.DataFrame, task: str) -> pd.DataFrame:
    """The queries as rows of predictions, for each metric that is a share."""
    rank = torch.tensor(queries["rank"].to_numpy(np.int64))
    base = pd.DataFrame(
        {
            "task": task,
            "setting": queries["setting"],
            "fold": "",
            "seed": queries["seed"],
            "clip_id": queries["pair"],
            "label": queries["pair"],
            "predicted": queries["first"],
        }
    )
    shares = {metric: values for metric, values in score_queries(rank).items() if metric != MEAN_RANK}
    tables = [base.assign(metric=metric, score=values.numpy()) for metric, values in shares.items()]
    return add_optional_columns(pd.concat(tables, ignore_index=True))
