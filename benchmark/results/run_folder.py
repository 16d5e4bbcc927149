"""The folder of one run below ``OUT/runs``: its options, and the result for every clip.

- ``config.json``: the resolved configuration, the hash of the predictions, and a checksum of both;
- ``predictions.csv``: one row for each setting, metric, seed and test clip, with the columns ``PREDICTION_COLUMNS``.
  ``score`` is what the metric averages, 0..1: 1 or 0 for a right or wrong class, 1 or 0 for R@k. ``predicted`` is the
  class, or for retrieval the clip that was ranked first. ``seed`` is empty where nothing was trained;
- ``log.txt``, if there is a log.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.predictions import OPTIONAL_COLUMNS, PREDICTION_COLUMNS, PREDICTIONS, add_optional_columns
from bgknown.errors import InvalidInputError
from bgknown.jobs.files import advise_option, hash_bytes, make_folder, write_whole
from bgknown.jobs.locking import hold
from bgknown.jobs.sealed import CHECK, add_check, read_checked, read_json_object
from bgknown.tables import encode_csv

CONFIGURATION = "config.json"
LOG = "log.txt"
SNR_TABLE = "snr.csv"
"""Accuracy and gains by band of SNR (``benchmark.results.bands``)."""
BREAKDOWN = "breakdown.csv"
"""Retrieval by kind of change (``benchmark.composed_retrieval.report``)."""
ALPHA_TABLE = "alphas.csv"
"""Accuracy by weight of the background (``benchmark.evaluation.linear``)."""
LOCK = "leaderboard.csv.lock"
LOCK_TIMEOUT_S = 60.0
"""How long to wait for another process that writes to the same folder."""


def run_name(*, encoder: str, checkpoint_sha256: str, task: str, protocol: str, dataset_sha256: str) -> str:
    """Name of the folder of a run: the same run has the same folder, and different ones never share one.

    Returns:
        Readable parts and a hash of all five facts, of letters, digits, ``.``, ``_`` and ``-`` only.
    """
    facts = [encoder, checkpoint_sha256, task, protocol, dataset_sha256]
    parts = [encoder[-40:], checkpoint_sha256[:8], task[:40], protocol[:40], hash_bytes(json.dumps(facts).encode())[:8]]
    clean = [re.sub(r"[^A-Za-z0-9_-]+", "-", part).strip("-_") for part in parts]
    return "-".join(part for part in clean if part)


def write_run(
    out: Path,
    name: str,
    *,
    config: Mapping[str, Any],
    predictions: pd.DataFrame,
    log: str | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> Path:
    """Write the folder of a run; one of the same name is replaced.

    Every file is whole at any moment; ``config.json`` is written last.

    Args:
        out: folder of results.
        name: what ``run_name`` gave.
        config: the resolved configuration, writable as JSON.
        predictions: a table with ``PREDICTION_COLUMNS`` (the optional ones may be missing); scores 0..1.
        log: text of the log, if there is one.
        tables: further tables, by the names of their files.

    Returns:
        ``OUT/runs/{name}``.

    Raises:
        InvalidInputError: the name is not a folder name, or columns are missing.
        StorageError: it cannot be written, or another process keeps the results locked.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise InvalidInputError(f"run name is {name!r}; it must be made of letters, digits, '.', '_' and '-' only")
    needed = [column for column in PREDICTION_COLUMNS if column not in OPTIONAL_COLUMNS]
    missing = [column for column in needed if column not in predictions.columns]
    if missing:
        raise InvalidInputError(f"run {name}: the predictions lack column {missing[0]}; give {', '.join(needed)}")
    folder = out / "runs" / name
    table = encode_csv(add_optional_columns(predictions))
    with claim(out):
        make_folder(folder)
        write_whole(folder / PREDICTIONS, table)
        for file, more in (tables or {}).items():
            write_whole(folder / file, encode_csv(more))
        if log is None:
            (folder / LOG).unlink(missing_ok=True)
        else:
            write_whole(folder / LOG, log.encode())
        stored = add_check({**config, "predictions_sha256": hash_bytes(table)})
        text = json.dumps(stored, indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(folder / CONFIGURATION, f"{text}\n".encode())
    return folder


def read_configuration(folder: Path) -> dict[str, Any] | None:
    """The configuration of a run; None where there is none, or it is damaged."""
    try:
        data = (folder / CONFIGURATION).read_bytes()
    except OSError:
        return None
    plain = read_json_object(data)
    if plain is None or CHECK in plain:
        return read_checked(data)
    versions, settings = plain.get("versions"), plain.get("settings")
    of_0_1_0 = isinstance(versions, dict) and versions.get("bgknown") == "0.1.0" and isinstance(settings, dict)
    return plain if of_0_1_0 else None


@contextlib.contextmanager
def claim(out: Path) -> Iterator[None]:
    """Hold a folder of results while writing to it; the folder is made where it is missing.

    Raises:
        StorageError: the folder cannot be written, or another process has held it for too long.
    """
    with advise_option("--out"):
        make_folder(out)
    busy = f"{out}: another process has held {LOCK} for {LOCK_TIMEOUT_S:g} s; wait for it to end and try again"
    with hold(out / LOCK, busy=busy, wait_s=LOCK_TIMEOUT_S), advise_option("--out"):
        yield
