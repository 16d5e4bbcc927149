"""Check a set of pairs: hash every file, describe the JAMS and render some of them with Scaper again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bgknown import seeding
from bgknown.apwd.manifest import COLUMNS, OTHER_CHANGES, derive_pair_set_id, read_manifest, read_pair_description
from bgknown.apwd.pairs import SIDES, PairFiles
from bgknown.apwd.scenes import Scenes
from bgknown.apwd.text_style import TextStyle, find_style
from bgknown.apwd.worker import PairTask, build_pairs
from bgknown.audio.decoding import AudioFile
from bgknown.audio.files import RATE_HZ, read_header
from bgknown.errors import BgknownError, InvalidInputError
from bgknown.jobs.files import hash_bytes
from bgknown.jobs.parallel import in_processes
from bgknown.mixtures.dataset import DESCRIPTION, MANIFEST
from bgknown.mixtures.verify import find_edited_tables, find_stray_files
from bgknown.render import passes, scaper
from bgknown.tables import list_records
from bgknown.userpath import user_path

_SIDE_COLUMNS = {"split", "scene", "changes", "classes_s1", "classes_s2", "jams_s1_sha256", "jams_s2_sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCheck:
    """The result of a check."""

    pairs: int
    """Pairs of the set."""
    files: int
    """Files of audio that were hashed."""
    faults: list[str]
    """One line per fault, each with the file or row, the value found and the value expected."""
    against_scaper: tuple[int, int] = (0, 0)
    """Files that were rendered again with Scaper, and how many of them differ by one step in some sample."""


def verify(
    root: Path,
    *,
    jobs: int,
    scenes: Scenes,
    jams: Path | None = None,
    source: Path | None = None,
    against_scaper: int = 0,
    seed: int = 0,
) -> PairCheck:
    """Check a finished set.

    Args:
        root: its folder.
        jobs: number of processes.
        scenes: the scenes it was built with.
        jams: folder of its JAMS, to hash and describe them again.
        source: its source tree, for ``against_scaper``.
        against_scaper: render this many files, drawn at random, with Scaper again and compare every sample.
        seed: seed of that draw.

    Raises:
        NotFoundError, InvalidInputError: there is no finished set, it cannot be read at all, or a required folder was
            not given.
    """
    root = user_path(root)
    description, table = read_pair_description(root), read_manifest(root)
    faults = [*find_edited_tables(root, description), *find_count_faults(description, table)]
    faults += _list_stray_files(root, table)
    rows = list_records(table)
    for found in in_processes(
        partial(_find_file_faults, root=root), rows, jobs=jobs, title="verify", unit="pair", batch=16
    ):
        faults += found
    if jams is not None:
        style, columns = find_style(description), set(_SIDE_COLUMNS)
        if str(description["configuration"].get("texts", "")).startswith("templates"):
            columns.add("text")
        if style > 1:  # earlier versions did not store it
            columns.add(OTHER_CHANGES)
        again = partial(_find_jams_faults, jams=jams, scenes=scenes, style=style, columns=columns)
        for found in in_processes(again, rows, jobs=jobs, title="JAMS", unit="pair", batch=64):
            faults += found
    rendered, stepped = 0, 0
    if against_scaper:
        if jams is None or source is None:
            raise InvalidInputError(
                "rendering with Scaper needs the JAMS and the source tree: give --jams and --source"
            )
        scaper.check_installed()
        chosen = _choose_files(rows, against_scaper, seed)
        compare = partial(_compare_with_scaper, root=root, jams=jams, source=source)
        for fault, steps in in_processes(compare, chosen, jobs=jobs, title="Scaper", unit="file"):
            rendered += 1
            stepped += steps
            faults += [fault] if fault else []
    count = sum(1 for row in rows for side in SIDES if row[side])
    return PairCheck(pairs=len(rows), files=count, faults=sorted(set(faults)), against_scaper=(rendered, stepped))


def find_count_faults(description: dict[str, Any], table: pd.DataFrame) -> Iterator[str]:
    """Manifest against description: the id and the counts of pairs."""
    counts = description["counts"]
    known = derive_pair_set_id(table)
    if description.get("dataset_id", known) != known:  # 0.1.0 did not store it
        yield f"{DESCRIPTION}: dataset_id is {description['dataset_id']!r}, the manifest's rows give {known}"
    found = {"pairs": len(table)}
    found |= Counter(f"{scene}/{split}" for scene, split in zip(table["scene"], table["split"], strict=True))
    for name in sorted({*found, *counts} - {"skipped"}):
        if counts.get(name) != found.get(name):
            yield f"{DESCRIPTION}: counts.{name} is {counts.get(name)}, the manifest has {found.get(name)}"


def _list_stray_files(root: Path, table: pd.DataFrame) -> Iterator[str]:
    listed = {file for side in SIDES for file in table[side]}
    yield from find_stray_files(root, ("audio",), listed)


def _find_file_faults(row: dict[str, Any], *, root: Path) -> list[str]:
    faults = []
    for side in SIDES:
        file = row[side]
        if not file:
            continue
        try:
            found = hash_bytes((root / file).read_bytes())
            header = read_header(root / file)
        except OSError as error:
            faults.append(f"{file}: {error.strerror or error}")
            continue
        except BgknownError as error:
            faults.append(f"{file}: {error}")
            continue
        if found != row[f"{side}_sha256"]:
            faults.append(f"{file}: sha256 is {found[:12]}..., the manifest says {row[f'{side}_sha256'][:12]}...")
        if (header.rate_hz, header.channels) != (RATE_HZ, 1):
            faults.append(f"{file}: is {header.rate_hz} Hz with {header.channels} channels; it must be 44100 Hz mono")
    return faults


def _find_jams_faults(
    row: dict[str, Any], *, jams: Path, scenes: Scenes, style: TextStyle, columns: set[str]
) -> list[str]:
    files = PairFiles(pair=row["pair"], s1=row["jams_s1"], s2=row["jams_s2"] or None)
    (result,) = build_pairs([PairTask(files=files, jams=jams, scenes=scenes, texts=None, target=None, style=style)])
    if result.record is None:
        return [] if result.problem is None else [result.problem.line()]
    again = {name: getattr(result.record.row, name) for name in COLUMNS if name in columns}
    return [
        f"{MANIFEST}: pair {row['pair']}: {name} is {row[name]!r}, the JAMS give {value!r}"
        for name, value in again.items()
        if row[name] != value
    ]


def _choose_files(rows: list[dict[str, Any]], count: int, seed: int) -> list[tuple[dict[str, Any], str]]:
    files = [(row, side) for row in rows for side in SIDES if row[side]]
    places = seeding.make_generator(seed, "against-scaper").permutation(len(files))[:count]
    return [files[place] for place in sorted(places)]


def _compare_with_scaper(item: tuple[dict[str, Any], str], *, root: Path, jams: Path, source: Path) -> tuple[str, bool]:
    """A fault, or "", and whether the file differs from Scaper's by one step somewhere."""
    row, side = item
    split = source / row["split"]
    try:
        mixed = scaper.render_jams(jams / row[f"jams_{side}"], split / "foreground", split / "background")
        wide = _is_32_bits(root / row[side])
        expected = passes.round_to_32_bits(mixed) if wide else passes.round_to_16_bits(mixed)
        found = _read_pcm(root / row[side], wide)
    except (BgknownError, OSError) as error:
        return f"{row[side]}: {error}", False
    if found.shape != expected.shape:
        return f"{row[side]}: has {found.size:,} samples, Scaper renders {expected.size:,}", False
    apart = int(np.abs(found.astype(np.int64) - expected).max())
    if apart > 1:
        return f"{row[side]}: differs from what Scaper renders by up to {apart:,} steps", False
    return "", apart == 1


def _is_32_bits(path: Path) -> bool:
    with AudioFile(path) as file:
        return file.coding == "PCM_32"


def _read_pcm(path: Path, wide: bool) -> Any:
    with AudioFile(path) as file:
        pcm = np.concatenate([block.copy() for block in file.blocks(np.int32 if wide else np.int16)])
    return pcm[:, 0] if pcm.shape[1] == 1 else pcm
