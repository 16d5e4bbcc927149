"""The options of a build, and the description of a dataset that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.audio.amplitude import describe_counts
from bgknown.audio.files import RATE_HZ
from bgknown.corpora.headers import default_cache
from bgknown.corpora.pair import Corpora
from bgknown.errors import InvalidInputError
from bgknown.jobs.parallel import check_jobs, count_cores
from bgknown.jobs.problems import Problem
from bgknown.jobs.shards import Shard
from bgknown.mixtures import dataset
from bgknown.mixtures import recipe as recipes
from bgknown.mixtures.draw import Draw, DrawOptions
from bgknown.mixtures.engine import find_engine
from bgknown.mixtures.left_out import count_same_class, describe_pools
from bgknown.mixtures.manifest import derive_dataset_id
from bgknown.mixtures.snr import FADE_S, ReferenceGain
from bgknown.mixtures.worker import BuiltRow
from bgknown.render import scaper
from bgknown.render.layers import Container, Engine
from bgknown.version import VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """The options of a build."""

    draw: DrawOptions = field(default_factory=DrawOptions)
    """The draw; its minimum level and its duration also apply to a given recipe."""
    recipe: Path | None = None
    """A recipe to use instead of drawing one."""
    reference_gain: ReferenceGain = "mixture"
    """Whether references carry the gain that (a) has in the mixture, or none ("source")."""
    container: Container = "wav"
    """File type of the audio."""
    engine: Engine = field(default_factory=find_engine)
    """What renders: Scaper, or the direct engine, which equals it and does not need it (default: Scaper where it is
    installed)."""
    limit: int | None = None
    """Build only this many clips, each with all its draws, of as many classes as possible and both splits."""
    skip_broken: bool = False
    """Leave out broken inputs."""
    jobs: int = field(default_factory=count_cores)
    """Number of processes."""
    cache: Path = field(default_factory=default_cache)
    """Folder of the header cache."""
    shard: Shard | None = None
    """Make only this share of the rows, and no tables."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InvalidInputError(f"the limit is {self.limit}; it must be at least 1 clip")
        check_jobs(self.jobs)


def describe_build(corpora: Corpora, options: BuildOptions, given: pd.DataFrame | None) -> dict[str, Any]:
    """The part of dataset.json that is known before the build: no times, no paths of a machine."""
    return {
        "name": f"BgKnown {corpora.name}",
        "format": dataset.FORMAT,
        "version": VERSION,
        "configuration": {
            "renderer": f"{options.engine} {scaper.VERSION}",
            "rate_hz": RATE_HZ,
            "duration_s": options.draw.clip_frames / RATE_HZ,
            "fade_s": FADE_S,
            "reference_gain": options.reference_gain,
            "container": options.container,
            "min_level_lufs": options.draw.min_level_lufs,
            "keep_sources": options.draw.keep_sources,
            "limit": options.limit,
            "given_recipe_sha256": None if given is None else recipes.hash_recipe(given),
        },
        "draw": None if given is not None else _describe_draw(options.draw),
        "corpora": {
            name: {
                "name": index.facts.name,
                "clips": index.parts,
                **({"test_folds": list(index.test_folds)} if index.test_folds else {}),
                **({"published_clips": index.facts.counts} if index.facts.counts else {}),
                "listing_sha256": index.listing_sha256(),
                "headers_sha256": index.headers_sha256(),
                "licence": index.facts.licence,
                "citation": index.facts.citation,
                "url": index.facts.url,
            }
            for name, index in (
                (corpora.prefixes.foreground, corpora.foreground),
                (corpora.prefixes.background, corpora.background),
            )
        },
    }


def _describe_draw(draw: DrawOptions) -> dict[str, Any]:
    """The options of a draw; those of later versions only where they are used."""
    snr = {"snr_grid_db": list(draw.snr_grid_db)} if draw.snr_grid_db else {"snr_db": list(draw.snr_db)}
    return {
        "seed": draw.seed,
        **snr,
        "ref_db": draw.ref_db,
        **({"draws": draw.draws} if draw.draws > 1 else {}),
        **({"exclude_same_class": True} if draw.exclude_same_class else {}),
        **({"licences": list(draw.licences)} if draw.licences else {}),
    }


def describe_outcome(
    draw: Draw, recipe: pd.DataFrame, rows: Sequence[BuiltRow], table: pd.DataFrame, problems: Sequence[Problem]
) -> dict[str, Any]:
    """The part of dataset.json that is known only after the build: what it holds and what was left out.

    Args:
        draw: what was drawn.
        recipe: the recipe, or the part of it that was built.
        rows: the rows that were built.
        table: their manifest.
        problems: the inputs that were left out.
    """
    clips = len({row.manifest.clip for row in rows})
    skipped = [asdict(problem) for problem in sorted(set(problems))]
    silent, clipped = {file for row in rows for file in row.silent}, {file for row in rows for file in row.clipped}
    notes = describe_counts(silent=silent, clipped=clipped, what="sources, or crops of them,", cut_off=True)
    return {
        "dataset_id": derive_dataset_id(table),
        "recipe_sha256": recipes.hash_recipe(recipe),
        "counts": {
            "rows": len(rows),
            **({"clips": clips} if clips < len(rows) else {}),
            **{split: int((table["split"] == split).sum()) for split in recipes.DATASET_SPLITS},
            "skipped": len(skipped),
            **count_same_class(table),
            **{what: len(files) for what, files in (("silent", silent), ("clipped", clipped)) if files},
        },
        "skipped": skipped,
        **describe_pools(draw),
        **({"notes": notes} if notes else {}),
    }
