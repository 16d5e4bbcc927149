"""The choice of the engine that renders a dataset, if the user makes none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import get_args

from bgknown.jobs.sealed import read_json_object
from bgknown.jobs.workspace import WORK
from bgknown.mixtures.dataset import DESCRIPTION
from bgknown.render import scaper
from bgknown.render.layers import Engine
from bgknown.userpath import user_path

log = logging.getLogger(__name__)


def find_engine() -> Engine:
    """Scaper where it is installed, the direct engine elsewhere."""
    return "direct" if scaper.explain_absence() else "scaper"


def choose_engine(out: str | Path) -> Engine:
    """The engine that a dataset was begun with, or that of ``find_engine`` for a new one.

    If the direct engine takes Scaper's place, one line is logged.

    Args:
        out: the dataset's folder, which need not exist.
    """
    out = user_path(out)
    for path in (out / DESCRIPTION, out / WORK / "build.json"):
        engine = _read_engine(path)
        if engine is not None:
            return engine
    fault = scaper.explain_absence()
    if fault:
        log.warning("%s; the direct engine renders instead and writes the same bytes", fault)
    return find_engine()


def _read_engine(path: Path) -> Engine | None:
    """The engine that a description names; None where there is no description, or it names none."""
    try:
        configuration = (read_json_object(path.read_bytes()) or {}).get("configuration")
    except OSError:
        return None
    renderer = configuration.get("renderer") if isinstance(configuration, dict) else None
    name = renderer.partition(" ")[0] if isinstance(renderer, str) else None
    return next((engine for engine in get_args(Engine) if engine == name), None)
