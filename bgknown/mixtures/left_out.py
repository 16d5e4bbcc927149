"""Recordings that a draw left out, and rows whose background has the clip's class: in dataset.json and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from bgknown.corpora.classes import contains_class
from bgknown.corpora.names import drop_type
from bgknown.corpora.pair import Corpora
from bgknown.mixtures.draw import Draw
from bgknown.mixtures.manifest import SAME_CLASS
from bgknown.mixtures.pool import PoolCounts, list_class_labels
from bgknown.settings import read_record


def describe_pools(draw: Draw) -> dict[str, Any]:
    """What dataset.json says of the recordings of a draw; nothing for a given recipe."""
    if not draw.pools:
        return {}
    twins = [{"left_out": file, "same_as": other} for file, other in sorted(draw.twins.items())]
    return {
        "backgrounds": {split: {**asdict(counts), "left": counts.left} for split, counts in draw.pools.items()},
        **({"identical_audio": twins} if twins else {}),
    }


def mark_same_class(recipe: pd.DataFrame, corpora: Corpora) -> pd.DataFrame:
    """A recipe with the column same_class, as a manifest has it."""
    class_labels = list_class_labels(corpora)
    files = zip(corpora.background.table["file"], corpora.background.table["labels"], strict=True)
    labels_of = {drop_type(file): labels for file, labels in files}
    backgrounds = recipe[corpora.prefixes.background_file]
    pairs = list(zip(backgrounds, recipe["category"], strict=True))
    found = {
        (file, category): contains_class(labels_of[drop_type(file)], class_labels[category])
        for file, category in set(pairs)
    }
    same = [found[pair] for pair in pairs]
    return recipe.assign(**{SAME_CLASS: pd.array(same, dtype="Int64")})


def count_same_class(table: pd.DataFrame) -> dict[str, int]:
    """How many rows have the clip's class in their background, and for how many it is not known; none if for all."""
    unknown = int(table[SAME_CLASS].isna().sum())
    if unknown == len(table):
        return {}
    return {"same_class": int((table[SAME_CLASS] == 1).sum()), "same_class_unknown": unknown}


def describe_backgrounds(described: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about backgrounds, from the part of dataset.json that describes them."""
    for split, counts in described.get("backgrounds", {}).items():
        yield read_record(PoolCounts, counts, f"backgrounds.{split}", others=True).describe(split)
    counts = described.get("counts", {})
    if "same_class" in counts:
        unknown = counts.get("same_class_unknown", 0)
        more = f" (not known for {unknown:,})" if unknown else ""
        same = counts["same_class"]
        have = "row has the clip's class in its" if same == 1 else "rows have the clip's class in their"
        yield f"{same:,} {have} background{more}"
