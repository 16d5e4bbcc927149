"""What a page of BgKnown shows: mixtures, their references and what is left without the background."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from bgknown.audio.files import RATE_HZ
from bgknown.corpora.columns import ESC50_PREFIXES, CorpusPrefixes
from bgknown.freesound import find_freesound_id
from bgknown.mixtures.attribution import ATTRIBUTION, read_attribution
from bgknown.mixtures.dataset import Dataset
from bgknown.mixtures.manifest import SAME_CLASS, SIGNALS
from bgknown.pages.listening import AudioRow
from bgknown.pages.rows import Fact, PageListing, PageSignal, choose_rows, count_snr, index_values
from bgknown.tables import list_records

_SOURCE_GAIN = (
    "The references carry no gain (reference_gain is source): the remainder is the mixture minus a, with the gain that "
    "a has in the mixture."
)
_OPTIONAL = ("labels", "licence", "uploader", "title")


def list_mixtures(data: Dataset, *, count: int | None, inline: bool) -> PageListing:
    """List the rows of a page.

    Args:
        data: the dataset.
        count: use at most this many rows; None for the default.
        inline: whether the page holds its audio.
    """
    prefixes = data.prefixes
    groups = list(zip(data.table["split"], data.table["category"], strict=True))
    chosen = choose_rows(data.table["clip_id"].tolist(), groups, count)
    table = data.table.iloc[chosen].reset_index(drop=True)
    labelled = prefixes.name_column("background_labels") in table
    exact = data.description["configuration"]["reference_gain"] == "mixture"
    return PageListing(
        kind="mixtures",
        title=str(data.description["name"]),
        total=len(data),
        signals=_name_signals(exact=exact),
        columns=_list_columns(table) | _list_sources(data, table, prefixes),
        audio=tuple(
            AudioRow(
                files=tuple(data.root / row[f"{name}_file"] for name in SIGNALS),
                remainder_gain=1.0 if exact else 10.0 ** (row["background_gain_db"] / 20.0),
                jams=None if labelled else data.root / row["jams_file"],
                inline=inline,
            )
            for row in list_records(table)
        ),
        facts=_list_facts(data, prefixes),
        corpora=_list_corpora(data.description["corpora"]),
        licences=_count_licences(data),
        snr_bars=count_snr(data.table["achieved_snr_db"].to_numpy(float), (data.table["split"] == "test").to_numpy()),
        notes=() if exact else (_SOURCE_GAIN,),
    )


def _name_signals(*, exact: bool) -> tuple[PageSignal, ...]:
    return (
        PageSignal(name="mix", about="the clip in the background"),
        PageSignal(name="a", about="the same background alone"),
        PageSignal(name="b", about="overlaps a by half"),
        PageSignal(name="c", about="another part of the recording"),
        PageSignal(name="mix − a" if exact else "mix − g·a", about="the remainder"),
    )


def _list_columns(table: pd.DataFrame) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "id": table["clip_id"].tolist(),
        "split": index_values(table["split"]),
        "category": index_values(table["category"]),
        "fold": table["fold"].tolist(),
        "start": [[int(start) for start in starts] for starts in table[["a_start", "b_start", "c_start"]].to_numpy()],
        "rateHz": RATE_HZ,
        "event": table["event_frames"].tolist(),
    }
    for name, column in (("asked", "snr_db"), ("achieved", "achieved_snr_db"), ("reference", "ref_db")):
        columns[name] = table[column].tolist()
    for name, column in (("eventGain", "event_gain_db"), ("backgroundGain", "background_gain_db"), ("scale", "scale")):
        columns[name] = [round(value, 4) for value in table[column].tolist()]
    if "draw" in table:
        columns["draw"] = table["draw"].tolist()
    if SAME_CLASS in table:
        columns["same"] = ["" if pd.isna(value) else str(value) for value in table[SAME_CLASS]]
    paths = [[row[f"{name}_file"] for name in SIGNALS] for row in list_records(table)]
    suffix = PurePosixPath(paths[0][0]).suffix
    plain = [[f"audio/{name}/{clip_id}{suffix}" for name in SIGNALS] for clip_id in columns["id"]]
    columns |= {"suffix": suffix} if paths == plain else {"files": paths}
    return columns


def _list_sources(data: Dataset, table: pd.DataFrame, prefixes: CorpusPrefixes) -> dict[str, Any]:
    """The sources of both sides, each once, and the place of each row's among them."""
    attribution, records = _index_attribution(data.root), list_records(table)
    columns: dict[str, Any] = {}
    for name, side in zip(("clip", "recording"), (prefixes.foreground, prefixes.background), strict=True):
        files = table[f"{side}_file"].tolist()
        first = {file: row for row, file in reversed(list(enumerate(files)))}
        known = sorted(first)
        places = {file: place for place, file in enumerate(known)}
        corpus = str(data.description["corpora"].get(side, {}).get("name", ""))
        columns[name] = [places[file] for file in files]
        columns[f"{name}s"] = [
            _describe_source(file, side, records[first[file]], attribution.get(file, []), corpus) for file in known
        ]
    return columns


def _describe_source(
    file: str, side: str, row: dict[str, Any], listed: Sequence[dict[str, Any]], corpus: str
) -> dict[str, str]:
    """What is known of a source: from the manifest's row, else from the table of sources, else from its name."""
    found = next((one for one in listed if one.get("corpus") == corpus), listed[0] if listed else {})
    about = {name: row.get(f"{side}_{name}") or found.get(name, "") for name in _OPTIONAL}
    about |= {"file": file, "url": found.get("url", ""), "licence_url": found.get("licence_url", "")}
    is_freesound = side in {ESC50_PREFIXES.foreground, ESC50_PREFIXES.background}
    sound = find_freesound_id(file) if is_freesound else None
    if sound is not None and not about["url"]:
        about["url"] = f"https://freesound.org/s/{sound}/"
    return {name: text for name, text in about.items() if text}


def _index_attribution(root: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of ATTRIBUTION.csv by file; none where the dataset is of a version that had no such table."""
    rows: dict[str, list[dict[str, Any]]] = {}
    if (root / ATTRIBUTION).is_file():
        for row in list_records(read_attribution(root / ATTRIBUTION)):
            rows.setdefault(row["file"], []).append(row)
    return rows


def _list_facts(data: Dataset, prefixes: CorpusPrefixes) -> tuple[Fact, ...]:
    table, settings = data.table, data.description["configuration"]
    clips, recordings = table[prefixes.foreground_file].nunique(), table[prefixes.background_file].nunique()
    splits = " and ".join(f"{int((table['split'] == split).sum()):,} {split}" for split in ("train", "test"))
    snr, asked, reference = table["achieved_snr_db"], table["snr_db"], table["ref_db"]
    scaled = int((table["scale"] < 1).sum())
    levels = " to ".join(f"{level:g}" for level in sorted({reference.min(), reference.max()}))
    facts = {
        "Mixtures": f"{len(table):,}: {splits}",
        "Clips": f"{clips:,} of {table['category'].nunique():,} classes",
        "Background recordings": f"{recordings:,}",
        "Length": f"{data.duration_s:g} s each, {_format_length(data.duration_s * len(table))} in all",
        "SNR": _set_minus(f"{snr.min():.2f} to {snr.max():.2f} dB, on average {snr.mean():.2f} dB"),
        "Largest SNR error": f"{(snr - asked).abs().max():.4f} dB",
        "Background level": _set_minus(f"{levels} LUFS"),
        "Scaled to avoid clipping": f"{scaled:,}",
        "Gain of the references": {"mixture": "as in the mixture", "source": "none, as in the source"}[
            settings["reference_gain"]
        ],
        "Files": f"{settings['container'].upper()}, 16 bits, 44.1 kHz, mono",
        "Made by": f"bgknown {data.description['version']}, {settings['renderer']}",
        "Dataset id": data.id[:12],
    }
    if skipped := data.description["counts"]["skipped"]:
        facts["Skipped"] = f"{skipped:,} broken inputs (listed in dataset.json)"
    return tuple(Fact(name=name, value=value) for name, value in facts.items())


def _format_length(seconds: float) -> str:
    """A length of time in a unit in which it is not zero."""
    unit, size = next((one for one in (("h", 3_600), ("min", 60)) if seconds >= one[1] / 10), ("s", 1))
    return f"{seconds / size:,.1f} {unit}"


def _set_minus(text: str) -> str:
    return text.replace("-", "−")


def _list_corpora(corpora: dict[str, Any]) -> tuple[dict[str, str], ...]:
    about = [corpus for corpus in corpora.values() if isinstance(corpus, dict)]
    return tuple({name: str(corpus.get(name) or "") for name in ("name", "licence", "url")} for corpus in about)


def _count_licences(data: Dataset) -> tuple[tuple[str, int], ...]:
    """How many sources have each licence, most first; none where the dataset does not say."""
    rows = [row for rows in _index_attribution(data.root).values() for row in rows]
    counts = Counter(row.get("licence") or "not known" for row in rows)
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))) if set(counts) - {"not known"} else ()
