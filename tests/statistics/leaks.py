"""Draws with the real ids of ESC-50 and FSD50K and made durations: sources of clips among backgrounds, and uniformity.

    python -m tests.statistics.leaks --esc50 ESC-50/meta/esc50.csv --fsd50k fsd50k_index.json --seeds 20

``fsd50k_index.json`` is the index of FSD50K in soundata (``soundata/datasets/indexes``), which names every file. No
audio is read: durations are made (0.3 to 30 s, with the means of dev and eval), and every crop counts as loud enough.

The table has, for the rule of today and for ``--keep-sources``, the rows whose background is the source of a clip, of a
clip of the other split, and of the row's own clip; then the size of the pools. Uniform are the SNR, the start of (a)
among those that leave room for (b) and (c), the side of (b) where both are possible, and the start of (c). Each has the
p-value of a Kolmogorov-Smirnov or binomial test over all rows of all seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from benchmark.text_tables import align_columns
from bgknown.corpora import CorpusIndex, esc50, fsd50k
from bgknown.corpora.pair import Corpora
from bgknown.mixtures.draw import Draw, DrawOptions, draw_recipe
from bgknown.mixtures.hearing import CropVerdict
from bgknown.mixtures.recipe import CLIP_FRAMES as W
from bgknown.tables import list_records

RATE_HZ = 44_100
MEAN_S = {"dev": 7.1, "eval": 9.8}
SHORTEST_S, LONGEST_S = 0.3, 30.0


def make_corpora(clips: pd.DataFrame, parts: dict[str, str]) -> Corpora:
    """Indexes without files.

    Args:
        clips: filename, fold, target, category and src_file of ESC-50's table.
        parts: dev or eval for each recording of FSD50K.
    """
    foreground = pd.DataFrame(
        {
            "clip_id": [Path(name).stem for name in clips["filename"]],
            "fold": clips["fold"].astype(int).tolist(),
            "split": [esc50.SPLIT_OF_FOLD[int(fold)] for fold in clips["fold"]],
            "target": clips["target"].astype(int).tolist(),
            "category": clips["category"].tolist(),
            "source": clips["src_file"].astype(str).tolist(),
            "group": clips["src_file"].astype(str).tolist(),
            "file": [f"audio/{name}" for name in clips["filename"]],
        }
    ).sort_values("clip_id", ignore_index=True)
    split_of = {part: split for split, part in fsd50k.PART_OF_SPLIT.items()}
    names = sorted(parts)
    random = np.random.default_rng(50)
    means_s = np.array([MEAN_S[parts[name]] for name in names])
    durations_s = np.minimum(SHORTEST_S + random.exponential(means_s - SHORTEST_S), LONGEST_S)
    background = pd.DataFrame(
        {
            "recording_id": names,
            "part": [parts[name] for name in names],
            "split": [split_of[parts[name]] for name in names],
            "labels": "",
            "label": "",
            "source": names,
            "group": names,
            "file": [f"FSD50K.{parts[name]}_audio/{name}.wav" for name in names],
            "frames": np.rint(durations_s * RATE_HZ).astype(int),
        }
    )
    facts = {"size": 1, "mtime_ns": 1, "rate_hz": RATE_HZ, "channels": 1, "container": "WAV", "problem": ""}
    return Corpora(
        foreground=_index(esc50, foreground.assign(frames=5 * RATE_HZ, **facts), "clip_id", "esc50"),
        background=_index(fsd50k, background.assign(**facts), "recording_id", "fsd50k"),
    )


def _index(corpus, table: pd.DataFrame, key: str, reader: str) -> CorpusIndex:
    parts = {"part_of_split": fsd50k.PART_OF_SPLIT} if reader == "fsd50k" else {}
    return CorpusIndex(
        facts=corpus.FACTS, root=Path(), table=table, parts={}, key=key, identity={}, reader=reader, **parts
    )


def hear_all(checks):
    """Every crop is loud enough."""
    for check in checks:
        chosen = {clip: starts[0] for clip, starts in check.starts.items()}
        yield CropVerdict(recording_id=check.recording["recording_id"], chosen=chosen)


def count_leaks(draw: Draw, corpora: Corpora) -> Counter[str]:
    """Rows whose background is the source of any clip, of a clip of the other split, and of their own clip."""
    clips = {row["file"]: row for row in list_records(corpora.foreground.table)}
    splits: dict[str, set[str]] = {}
    for row in clips.values():
        splits.setdefault(row["source"], set()).add(row["split"])
    found: Counter[str] = Counter()
    for row in list_records(draw.recipe):
        source = Path(row["fsd50k_file"]).stem
        found["any"] += source in splits
        found["other split"] += bool(splits.get(source, set()) - {row["split"]})
        found["own"] += source == clips[row["esc50_file"]]["source"]
    return found


def rank_draws(draw: Draw, corpora: Corpora) -> dict[str, list[float]]:
    """What must be uniform, as fractions: snr, a, c; and the side of b, 0 or 1, where both are possible."""
    frames_of = dict(zip(corpora.background.table["file"], corpora.background.table["frames"], strict=True))
    ranks: dict[str, list[float]] = {"snr": [], "a": [], "b": [], "c": []}
    for row in list_records(draw.recipe):
        frames, a, b, c = frames_of[row["fsd50k_file"]], row["a_start"], row["b_start"], row["c_start"]
        ranks["snr"].append(row["snr_db"] / 3.0)
        first = frames - 2 * W + 1  # starts of a that leave room after it; others must leave room before it
        second = max(W, first)
        ranks["a"].append(((a if a < first else a - second + first) + 0.5) / (first + frames - W - second + 1))
        if W // 2 <= a <= frames - W - W // 2:
            ranks["b"].append(float(b > a))
        before, after = max(a - W + 1, 0), max(frames - 2 * W - a + 1, 0)
        ranks["c"].append(((c if c < a else c - (a + W) + before) + 0.5) / (before + after))
    return ranks


def measure(corpora: Corpora, seeds: int) -> tuple[dict[str, list[Counter[str]]], dict[str, float], Draw]:
    """Leaks by rule and seed, p-values over all seeds of the rule of today, and its last draw."""
    leaks: dict[str, list[Counter[str]]] = {"default": [], "--keep-sources": []}
    ranks: dict[str, list[float]] = {}
    draw = None
    for seed in range(seeds):
        kept = draw_recipe(corpora, DrawOptions(seed=seed, keep_sources=True), hear_all)
        draw = draw_recipe(corpora, DrawOptions(seed=seed), hear_all)
        leaks["default"].append(count_leaks(draw, corpora))
        leaks["--keep-sources"].append(count_leaks(kept, corpora))
        for name, values in rank_draws(draw, corpora).items():
            ranks.setdefault(name, []).extend(values)
    sides = ranks.pop("b")
    p_values = {name: float(stats.kstest(values, "uniform").pvalue) for name, values in ranks.items()}
    p_values["side of b"] = float(stats.binomtest(int(sum(sides)), len(sides)).pvalue)
    assert draw is not None
    return leaks, p_values, draw


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--esc50", type=Path, required=True)
    parser.add_argument("--fsd50k", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    clips = pd.read_csv(options.esc50, dtype=str)
    names = json.loads(options.fsd50k.read_text())["clips"]
    parts = {name: "dev" if "dev_audio" in entry["audio"][0] else "eval" for name, entry in names.items()}
    corpora = make_corpora(clips, parts)
    sources = set(corpora.foreground.table["source"])
    print(f"{len(sources)} sources of clips, {len(sources & set(parts))} of them in FSD50K")
    leaks, p_values, draw = measure(corpora, options.seeds)
    rows = [["rule", *("any", "other split", "own")]]
    for rule, counts in leaks.items():
        ranges = [[found[name] for found in counts] for name in rows[0][1:]]
        rows.append([rule, *(f"{min(values)}-{max(values)}" for values in ranges)])
    print(align_columns(rows[0], rows[1:]))
    print("\n".join(counts.describe(split) for split, counts in draw.pools.items()))
    print("p-values:", ", ".join(f"{name} {value:.3f}" for name, value in p_values.items()))


if __name__ == "__main__":
    sys.exit(main())
