"""What a page of APwD shows: two soundscapes, the text between them, and what changes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from bgknown.apwd.changes import parse_codes
from bgknown.apwd.pairs import SIDES
from bgknown.errors import NotFoundError
from bgknown.jams.reading import parse_jams
from bgknown.mixtures.dataset import MANIFEST
from bgknown.pages.listening import AudioRow
from bgknown.pages.rows import Fact, PageListing, PageSignal, choose_rows, index_values
from bgknown.soundscape import Soundscape
from bgknown.tables import list_records

NO_JAMS = "Give the folder of the JAMS (--jams) when making the page to see the events on a time line."
WIDE_AUDIO = "Not every browser plays WAV files of 32 bits; pages made with --inline-audio play everywhere."
NO_AUDIO = "This set was built with --manifest-only, so there is no audio to listen to."


def list_pairs(
    root: Path, table: pd.DataFrame, description: dict[str, Any], *, count: int | None, inline: bool, jams: Path | None
) -> PageListing:
    """List the rows of a page.

    Args:
        root: folder of the set.
        table: its manifest.
        description: the content of its dataset.json.
        count: use at most this many pairs; None for the default.
        inline: whether the page holds its audio.
        jams: folder of the JAMS; None leaves the time lines out.

    Raises:
        NotFoundError: a JAMS is missing.
        InvalidInputError: a JAMS or a code of a change cannot be read.
    """
    chosen = choose_rows(
        table["pair"].tolist(), list(zip(table["split"], table["scene"], table["changes"], strict=True)), count
    )
    rows = table.iloc[chosen].reset_index(drop=True)
    has_audio = bool((rows["s1"] != "").any())
    columns: dict[str, Any] = {
        "id": rows["pair"].tolist(),
        "split": index_values(rows["split"]),
        "scene": index_values(rows["scene"]),
        "text": rows["text"].tolist(),
        "changes": [
            [[change.kind, change.label] for change in parse_codes(codes, f"{root / MANIFEST}: pair {pair}")]
            for pair, codes in zip(rows["pair"], rows["changes"], strict=True)
        ],
        "classes": rows[[f"classes_{side}" for side in SIDES]].to_numpy().tolist(),
        "files": rows[list(SIDES)].to_numpy().tolist(),
    }
    if jams is not None:
        columns["scapes"] = [[_read_scape(jams, row[f"jams_{side}"]) for side in SIDES] for row in list_records(rows)]
    return PageListing(
        kind="pairs",
        title=str(description["name"]),
        total=len(table),
        signals=(PageSignal(name="s1", about="before"), PageSignal(name="s2", about="after")) if has_audio else (),
        columns=columns,
        audio=tuple(
            AudioRow(files=tuple(root / row[side] if row[side] else None for side in SIDES), inline=inline)
            for row in list_records(rows)
            if has_audio
        ),
        facts=_list_pair_facts(table, description),
        corpora=({"name": "APwD", "licence": str(description.get("licence", "")), "url": ""},),
        notes=_list_notes(description, has_audio=has_audio, has_jams=jams is not None),
    )


def _list_notes(description: dict[str, Any], *, has_audio: bool, has_jams: bool) -> tuple[str, ...]:
    audio = description["configuration"].get("audio")
    is_wide = isinstance(audio, dict) and audio.get("bits") == 32
    notes = {NO_JAMS: not has_jams, NO_AUDIO: not has_audio, WIDE_AUDIO: has_audio and is_wide}
    return tuple(note for note, holds in notes.items() if holds)


def _read_scape(jams: Path, file: str) -> dict[str, Any] | None:
    """Backgrounds and events of a JAMS, with times in seconds and levels in dB; None if the side does not exist."""
    if not file:
        return None
    try:
        data = (jams / file).read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"{jams / file}: {error.strerror or error}; --jams must be the folder that the set was built from"
        ) from error
    return _describe_scape(parse_jams(data, str(jams / file)))


def _describe_scape(scape: Soundscape) -> dict[str, Any]:
    return {
        "duration": scape.duration_s,
        "level": round(scape.ref_db, 2),
        "backgrounds": sorted({layer.label for layer in scape.backgrounds}),
        "events": [
            [layer.label, round(layer.event_time_s, 3), round(layer.duration_s, 3), round(layer.snr_db, 2)]
            for layer in scape.events
        ],
    }


def _list_pair_facts(table: pd.DataFrame, description: dict[str, Any]) -> tuple[Fact, ...]:
    kinds = Counter(code.partition(":")[0] for codes in table["changes"] for code in codes.split(";") if code)
    audio = description["configuration"].get("audio") or {}
    groups = Counter(zip(table["scene"], table["split"], strict=True))
    facts = {
        "Pairs": f"{len(table):,}: " + ", ".join(f"{n:,} {scene} {split}" for (scene, split), n in groups.items()),
        "Changes": ", ".join(f"{kind.replace('_', ' ')} {n:,}" for kind, n in kinds.most_common()) or "none",
        "Made by": f"bgknown {description.get('version', '')}",
        "Dataset id": str(description.get("dataset_id", "not stored"))[:12],
    }
    if isinstance(audio, dict) and audio:
        facts["Files"] = f"{str(audio.get('container', '')).upper()}, {audio.get('bits')} bits, 44.1 kHz, mono"
    if skipped := description["counts"].get("skipped"):
        facts["Skipped"] = f"{skipped:,} broken pairs (listed in dataset.json)"
    return tuple(Fact(name=name, value=value) for name, value in facts.items())
