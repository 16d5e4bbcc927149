"""A dataset made from Python in one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bgknown.corpora.headers import default_cache
from bgknown.corpora.miniature import make
from bgknown.corpora.pair import CorpusPaths, open_corpus_paths
from bgknown.documents import shorten_value
from bgknown.errors import InvalidInputError
from bgknown.jobs.parallel import count_cores
from bgknown.mixtures.build import build
from bgknown.mixtures.dataset import Dataset, open_dataset
from bgknown.mixtures.engine import choose_engine
from bgknown.mixtures.options import BuildOptions
from bgknown.mixtures.recipe import MIXTURE_S
from bgknown.mixtures.snr import ReferenceGain
from bgknown.render.layers import Container, Engine
from bgknown.settings import read_record
from bgknown.userpath import user_path


def build_dataset(
    out: str | Path,
    *,
    esc50: str | Path | None = None,
    fsd50k: str | Path | None = None,
    foreground_table: str | Path | None = None,
    background_table: str | Path | None = None,
    test_folds: Sequence[int] = (),
    name: str | None = None,
    duration_s: float = MIXTURE_S,
    seed: int = 0,
    snr_db: tuple[float, float] = (0.0, 3.0),
    ref_db: float = -30.0,
    draws: int = 1,
    snr_grid_db: Sequence[float] = (),
    licences: Sequence[str] = (),
    exclude_same_class: bool = False,
    keep_sources: bool = False,
    recipe: str | Path | None = None,
    reference_gain: ReferenceGain = "mixture",
    container: Container = "wav",
    engine: Engine | None = None,
    limit: int | None = None,
    skip_broken: bool = False,
    jobs: int | None = None,
    cache: str | Path | None = None,
) -> Dataset:
    """Build BgKnown ESC-50, or BgKnown of other corpora, as ``bgknown build`` does, and open it.

    A build that was stopped resumes, and a finished one is only opened.

    Args:
        out: the dataset's folder; new, empty, or with the same build.
        esc50: folder of ESC-50.
        fsd50k: folder of FSD50K; without any corpus, the built-in miniature ones are used.
        foreground_table: a table of other clips, in place of ESC-50; see ``bgknown.corpora.table``.
        background_table: a table of other recordings, in place of FSD50K.
        test_folds: folds of tables that are for testing; by default the highest 40 %.
        name: what a dataset of tables is called, after "BgKnown"; by default after its corpora.
        duration_s: duration of mixtures and references, seconds, 0.5 to 60.
        seed: seed of the draw.
        snr_db: lowest and highest SNR, dB.
        ref_db: loudness of the background in the mixture, LUFS.
        draws: number of recordings, crops and SNRs of each clip.
        snr_grid_db: SNRs of which each draw gets a row with the same background, dB; ``snr_db`` is not used then.
        licences: families of licences that a background must have, such as ("cc0", "cc-by"); by default all.
        exclude_same_class: give no clip a background that contains its class.
        keep_sources: also use recordings as backgrounds that other clips were cut from.
        recipe: a recipe to use instead of drawing one.
        reference_gain: "mixture" or "source": whether references carry the gain that (a) has in the mixture.
        container: "wav" or "flac".
        engine: "scaper" or "direct"; by default Scaper where it is installed.
        limit: build only this many clips, each with all its draws.
        skip_broken: leave out broken inputs.
        jobs: number of processes; by default all cores.
        cache: folder for file headers; by default that of the command line.

    Raises:
        InvalidInputError: an argument or a recipe breaks a rule.
        NotFoundError: a corpus is missing, or Scaper was asked for and is not installed.
        BrokenInputError: inputs are broken; lists them.
        StorageError: the folder contains something else, is locked, or cannot be written.
    """
    folder = default_cache() if cache is None else user_path(cache)
    corpora = {"esc50": esc50, "fsd50k": fsd50k}
    corpora |= {"foreground_table": foreground_table, "background_table": background_table}
    draw = {
        "seed": seed,
        "snr_db": _read_range(snr_db),
        "ref_db": ref_db,
        "draws": draws,
        "snr_grid_db": snr_grid_db,
        "licences": licences,
        "exclude_same_class": exclude_same_class,
        "keep_sources": keep_sources,
        "duration_s": duration_s,
    }
    rows = {
        "recipe": None if recipe is None else user_path(recipe),
        "reference_gain": reference_gain,
        "container": container,
        "engine": choose_engine(out) if engine is None else engine,
        "limit": limit,
        "skip_broken": skip_broken,
        "jobs": count_cores() if jobs is None else jobs,
        "cache": folder,
    }
    paths = _read_paths(corpora, {"name": name, "test_folds": _make_plain(test_folds)}, folder)
    plain = {key: _make_plain(value) for key, value in rows.items()}
    plain["draw"] = {key: _make_plain(value) for key, value in draw.items()}
    options = read_record(BuildOptions, plain, "build_dataset")
    build(open_corpus_paths(paths, cache=folder), options, user_path(out))
    return open_dataset(out)


def _read_paths(corpora: Mapping[str, str | Path | None], others: Mapping[str, Any], cache: Path) -> CorpusPaths:
    """The corpora that were given, or the built-in miniature ones."""
    places = {corpus: user_path(path) for corpus, path in corpora.items() if path is not None}
    if not places:
        places = dict(zip(("esc50", "fsd50k"), make(cache / "miniature"), strict=True))
    return read_record(CorpusPaths, {**places, **others}, "build_dataset")


def _make_plain(value: Any) -> Any:
    """A value without NumPy's types, so that its own type can be checked."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple | range | set | frozenset | Iterator):
        return [_make_plain(item) for item in value]
    return value


def _read_range(snr_db: Any) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in snr_db)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"snr_db is {shorten_value(snr_db)}; it must be two numbers, the lowest and the highest SNR in dB"
        ) from error
    return low, high
