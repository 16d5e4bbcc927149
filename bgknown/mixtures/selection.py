"""Some clips of a recipe, for a quick try."""

from __future__ import annotations

import pandas as pd

from bgknown import seeding
from bgknown.mixtures.naming import list_clip_names


def take_rows(recipe: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """All rows of ``limit`` clips of a recipe, of as many classes as possible and of both splits.

    A smaller limit takes some of the clips of a larger one.
    """
    names = pd.Series(list_clip_names(recipe), index=recipe.index)
    clips = recipe[~names.duplicated()]
    if limit is None or limit >= len(clips):
        return recipe
    classes = sorted(set(clips["category"]), key=lambda name: seeding.derive_key(0, "limit", name))
    ranked = pd.DataFrame(
        {
            "clip": seeding.draw_ranks(0, "limit", names[clips.index].tolist()),
            "class": clips["category"].map(classes.index),
            "split": clips["split"] == "test",
        },
        index=clips.index,
    )
    ranked["round"] = ranked.groupby(["class", "split"])["clip"].rank(method="first")
    ranked["second"] = ranked["split"] != (ranked["class"] % 2 == 1)  # every other class begins with a test clip
    first = ranked.sort_values(["round", "second", "class"]).head(limit)
    return recipe[names.isin(names[first.index])].sort_values("clip_id", ignore_index=True)
