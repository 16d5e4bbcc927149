"""APwD: retrieval of audio by audio and a text that says what to change (Takeuchi et al., section 5.3).

The query is a soundscape s1 and a modifier text, the target s2, the gallery the targets of all test pairs of the scene.
``benchmark.composed_retrieval`` is the system. The task's folder is a set that ``bgknown apwd build`` made; of one made
with ``--manifest-only`` the audio is rendered while it is embedded, from ``apwd-jams`` and ``apwd-source``.

``apwd_rain`` and ``apwd_traffic`` are the tasks, this module is what they share.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.composed_retrieval import evaluation
from benchmark.embedding.broken import find_usable_rows
from benchmark.embedding.clips import Clip, Rendering
from benchmark.embedding.hashes import hash_contents
from benchmark.embedding.texts import load_text_encoder
from benchmark.tasks.contract import Fold, Setting, TaskData, TaskFacts, TaskOptions
from benchmark.tasks.labelled import take_limit
from bgknown.apwd.manifest import derive_pair_set_id, read_manifest
from bgknown.apwd.pairs import SIDES
from bgknown.apwd.sources.tree import open_tree
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes

SETTINGS = evaluation.SETTINGS
_SPLITS = {"dev": "train", "eval": "test"}
JAMS, SOURCE = "apwd-jams", "apwd-source"
NEEDS = (JAMS, SOURCE)
"""Other data it can use: what pairs without audio are rendered from."""


def make_facts(scene: str) -> TaskFacts:
    """What is published about a scene's task."""
    return TaskFacts(
        name=f"apwd-{scene}",
        title=f"APwD, {scene}: retrieval of audio by audio and a text that says what to change",
        metric="R@1",
        classes=6,
        counts={"train": 50_000, "test": 1_000},
        duration_s=None,
        lr=1e-3,
        licence="that of ESC-50 (CC BY-NC) and of each FSD50K recording",
        citation=(
            "D. Takeuchi, Y. Ohishi, D. Niizumi, N. Harada and K. Kashino, Introducing Auxiliary Text Query-modifier "
            "to Content-based Audio Retrieval, Interspeech 2022"
        ),
        url="https://github.com/nttcslab/apwd-dataset; bgknown apwd build --jams apwd-dataset/datasets --out apwd",
        groups="soundscapes",
    )


def prepare(of: TaskFacts, root: Path, options: TaskOptions) -> TaskData:
    """Read the pairs of a scene.

    Args:
        of: the scene's facts.
        root: the set.
        options: ``data`` may name JAMS and source tree; ``text_encoder`` embeds the texts.

    Raises:
        NotFoundError: there is no finished set, it has no pair of the scene, or the text encoder is not available.
        InvalidInputError: the set is damaged, or has no audio and nothing to render it from.
    """
    if options.splits is not None or options.shuffle_labels:
        name = "--splits" if options.splits is not None else "--shuffle-labels"
        raise InvalidInputError(
            f"{name}: {of.name} has a fixed split and no labels; omit --splits and --shuffle-labels"
        )
    table = _read_pairs(of, root).rename(columns={"pair": "file"})
    table = take_limit(table.assign(label="", split=table["split"].map(_SPLITS)), options.limit)
    table = table.rename(columns={"file": "clip_id"})
    signals = _list_signals(table, root, options)
    rendering = signals["s1"][0].rendering
    keep, notes = find_usable_rows(table, signals, options.broken)
    table = table[keep].reset_index(drop=True)
    signals = {side: list(itertools.compress(clips, keep)) for side, clips in signals.items()}
    parts = {split: np.flatnonzero(table["split"] == split) for split in _SPLITS.values()}
    return TaskData(
        facts=of,
        root=root,
        table=table.assign(**{side: _locate(table, side) for side in SIDES}),
        signals=signals,
        settings=[Setting(name=name, about=about, signal=signal) for name, (about, signal, _) in SETTINGS.items()],
        folds=[Fold(name="", train=parts["train"], test=parts["test"])],
        sha256=derive_pair_set_id(
            table.rename(columns={"clip_id": "pair"}), sources="" if rendering is None else rendering.fingerprint
        ),
        sha256_of_0_1_0=hash_bytes(table.to_csv(index=False, lineterminator="\n").encode()),
        leak_check=check_soundscape_leaks(table),
        skipped=int((~keep).sum()),
        in_part=not keep.all(),
        notes=[*_describe_difference(of, table), *notes],
        text_encoder=load_text_encoder(options.text_encoder, pooling=options.text_pooling, device=options.device),
    )


def check_soundscape_leaks(table: pd.DataFrame) -> str:
    """Look for soundscapes that are in both splits."""
    known: dict[str, set[str]] = {"train": set(), "test": set()}
    for side in SIDES:
        for split, digest in zip(table["split"], table[f"jams_{side}_sha256"], strict=True):
            known[split] |= {digest} - {""}
    shared = known["train"] & known["test"]
    return f"{len(shared):,} soundscapes in training and test" if shared else "ok"


def _read_pairs(of: TaskFacts, root: Path) -> pd.DataFrame:
    """The scene's pairs that have both sides, sorted by name."""
    scene = of.name.removeprefix("apwd-")
    table = read_manifest(root)
    found = table[(table["scene"] == scene) & (table["jams_s2"] != "")]
    if found.empty:
        there = ", ".join(sorted(set(table["scene"])))
        raise NotFoundError(f"{root}: has no pairs of the scene {scene} with both sides; its scenes are {there}")
    strange = set(found["split"]) - set(_SPLITS)
    if strange:
        raise InvalidInputError(f"{root}: a split is {sorted(strange)[0]!r}; it must be one of {', '.join(_SPLITS)}")
    return found.sort_values("pair", ignore_index=True)


def _list_signals(table: pd.DataFrame, root: Path, options: TaskOptions) -> dict[str, list[Clip]]:
    """Clips of both sides: files, or JAMS to render."""
    if bool((table[list(SIDES)] != "").all(axis=None)):
        return {
            side: [
                Clip(path=root / file, sha256=digest)
                for file, digest in zip(table[side], table[f"{side}_sha256"], strict=True)
            ]
            for side in SIDES
        }
    data = options.data
    missing = [name for name in NEEDS if name not in data]
    if missing:
        raise InvalidInputError(
            f"{root}: the pairs have no audio; give the folders to render it from, "
            f"{' '.join(f'--data {name}=DIR' for name in missing)}, "
            f"or build them with audio (`bgknown apwd build --source`)"
        )
    rendering = Rendering(source=data[SOURCE], fingerprint=_hash_tree(data[SOURCE], options.cache))
    return {
        side: [
            Clip(path=data[JAMS] / file, sha256=digest, rendering=rendering)
            for file, digest in zip(table[f"jams_{side}"], table[f"jams_{side}_sha256"], strict=True)
        ]
        for side in SIDES
    }


def _hash_tree(source: Path, cache: Path) -> str:
    """Fingerprint of the names and content of a source tree's files; the same tree elsewhere has the same."""
    files = [source_file.file for sources in open_tree(source).files.values() for source_file in sources]
    hashes = hash_contents([source / file for file in files], cache=cache)
    return hash_bytes(
        "\n".join(sorted(f"{digest} {file}" for digest, file in zip(hashes, files, strict=True))).encode()
    )


def _locate(table: pd.DataFrame, side: str) -> pd.Series:
    """Where a person finds a side: its audio, or its JAMS."""
    return table[side].where(table[side] != "", table[f"jams_{side}"])


def _describe_difference(of: TaskFacts, table: pd.DataFrame) -> list[str]:
    there = {part: int((table["split"] == part).sum()) for part in of.counts}
    found = [f"{there[part]:,} of {count:,} {part} pairs" for part, count in of.counts.items() if there[part] != count]
    return [f"these are not the published pairs: {', '.join(found)}"] if found else []
