"""The difference map as one HTML file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import tasks
from benchmark.embedding.embed import EmbedSettings
from benchmark.encoders.registry import load_encoder
from benchmark.evaluate import embed_folds
from benchmark.pages.audio_beside import CLEAN, Beside, list_mixture_files
from benchmark.pages.leaderboard_page import ASSETS_FOLDER, ResultPage
from benchmark.pages.map_data import MapRows, describe_map, find_map_rows, has_umap
from benchmark.pages.packing import Names, pack_numbers
from benchmark.pages.run_data import pack_audio
from benchmark.tasks.contract import TaskData, TaskOptions
from benchmark.tasks.locations import Locations
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import make_folder, write_whole
from bgknown.pages.options import check_page
from bgknown.pages.shell import render_page
from bgknown.userpath import user_path

log = logging.getLogger(__name__)

TASK = "bgknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOptions:
    """What a difference map shows."""

    encoders: tuple[str, ...]
    """What ``benchmark.encoders.registry`` loads encoders by."""
    data: Locations
    """Where BgKnown is, and ESC-50 for the clean clips."""
    embedding: EmbedSettings
    """How embeddings are computed; those that ``benchmark run`` has computed are found in its cache."""
    device: str = "cpu"
    """Where encoders run."""
    trust_code: bool = False
    """Whether an encoder may run arbitrary code."""
    name: str | None = None
    """Name of the encoder; only for a single encoder."""
    limit: int | None = None
    """Use at most this many clips."""


def write_map_page(options: MapOptions, page: Path) -> ResultPage:
    """Embed the clips of BgKnown with some encoders, and write their map.

    Args:
        options: what is shown.
        page: the file.

    Returns:
        what was written; its predictions are the remainders that it shows.

    Raises:
        BgknownError: encoder or data break a rule, the file exists and is not a page, or it cannot be written.
    """
    if options.name is not None and len(options.encoders) > 1:
        raise InvalidInputError(f"the name {options.name!r} is for one encoder, but {len(options.encoders)} are given")
    page = user_path(page)
    check_page(page, "--out")
    options.data.check([TASK, *tasks.list_needs(TASK)])
    root, needs = options.data.of(TASK), options.data.known(tasks.list_needs(TASK))
    data = tasks.prepare(TASK, root, TaskOptions(cache=options.embedding.cache, data=needs, limit=options.limit))
    if "clean" not in data.signals:
        log.warning("clean clips are not shown: give ESC-50 with --data esc50=DIR")
    umap, rows = has_umap(), find_map_rows(data)
    blocks: dict[str, Any] = {
        "points": describe_points(data, rows, list_mixture_files(root, needs.get("esc50"), page), page)
    }
    maps = [_describe_encoder(options, spec, data, umap=umap) for spec in dict.fromkeys(options.encoders)]
    blocks |= {f"map-{number}": block for number, block in enumerate(maps)}
    blocks["encoders"] = _name_encoders([str(block["name"]) for block in maps])
    html = render_page(
        ASSETS_FOLDER / "map.html",
        title="Difference map",
        data=blocks,
        styles=[ASSETS_FOLDER / "map.css"],
        scripts=[ASSETS_FOLDER / f"{script}.js" for script in ("packed", "map_drawing", "map")],
        dataset=data.sha256[:8],
        has_clean="clean" in data.signals,
    ).encode()
    make_folder(page.absolute().parent)
    write_whole(page, html)
    shown = sum(len(rows.test) * len(block["references"]) for block in maps)
    return ResultPage(path=page, size=len(html), predictions=shown)


def _describe_encoder(options: MapOptions, spec: str, data: TaskData, *, umap: bool) -> dict[str, Any]:
    loaded = load_encoder(spec, trust_code=options.trust_code, device=options.device, name=options.name)
    _, embeddings = next(embed_folds(loaded, data, options.embedding, []))
    return describe_map(loaded, data, embeddings, umap=umap)


def _name_encoders(names: Sequence[str]) -> list[str]:
    """Names of encoders, with a number where two are equal."""
    return [f"{name} ({place + 1})" if names.count(name) > 1 else name for place, name in enumerate(names)]


def describe_points(data: TaskData, rows: MapRows, beside: Beside, page: Path) -> dict[str, Any]:
    """What is known of every point: test mixtures, and clean clips."""
    table = data.table
    ids = [str(name) for name in table["clip_id"].to_numpy()[rows.test]]
    names, classes = data.clips(), data.classes()
    sources = Names(str(name) for name in names[rows.clean])
    backgrounds = Names()
    numbers = [backgrounds.number(str(name)) for name in data.backgrounds()[rows.test]]
    return {
        "mixtures": ids,
        "clean": sources.list() if CLEAN in data.signals else [],
        "classes": classes,
        "label": pack_numbers(data.labels()[rows.test], largest=len(classes)),
        "cleanLabel": pack_numbers(data.labels()[rows.clean], largest=len(classes)),
        "own": pack_numbers(rows.own.astype(np.int64), largest=len(sources)),
        "background": pack_numbers(numbers, largest=len(backgrounds)),
        "backgrounds": backgrounds.list(),
        "snr": [round(beside.snr_db[name], 2) for name in ids],
        "audio": pack_audio(beside, ids),
    }
