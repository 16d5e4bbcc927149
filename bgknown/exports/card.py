"""The README.md of an export: a dataset card with licences, citation, identity and the meaning of the columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from bgknown.exports.columns import format_column_table
from bgknown.exports.licences import Licences, find_licences, format_licences
from bgknown.exports.source import ExportSource
from bgknown.shown import markdown
from bgknown.version import VERSION

CARD = "README.md"
"""The card's file, which is written last."""
_CITATIONS = {
    False: (
        "takeuchi-difference-aware",
        "D. Takeuchi, M. Yasuda, D. Niizumi and N. Harada, "
        "Towards Learning a Difference-Aware General-Purpose Audio Representation",
        "",
    ),
    True: (
        "takeuchi-apwd",
        "D. Takeuchi, Y. Ohishi, D. Niizumi, N. Harada and K. Kashino, Introducing Auxiliary Text Query-modifier "
        "to Content-based Audio Retrieval, Interspeech 2022",
        "https://github.com/nttcslab/apwd-dataset",
    ),
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a format adds to a card."""

    title: str
    """What the export is."""
    layout: str
    """Its files, as a block of text."""
    loading: str
    """Python that reads it."""
    columns: Sequence[tuple[str, str]]
    """Name and type of what a row has."""
    header: Sequence[str] = ()
    """Further lines of the YAML at the top."""
    notes: str = ""
    """What else a reader should know."""


def compose_card(source: ExportSource, facts: CardFacts) -> bytes:
    """The card as a file.

    Args:
        source: the dataset.
        facts: what the format adds.
    """
    licences = find_licences(source)
    sections = [
        "\n".join(["---", *_list_header(source, licences), *facts.header, "---"]),
        f"# {markdown(source.name)}",
        f"{_describe(source)} {facts.title}",
        _format_identity(source),
        f"```text\n{facts.layout}\n```",
        f"## Load\n\n```python\n{facts.loading}\n```",
        *([facts.notes] if facts.notes else []),
        f"## Columns\n\n{format_column_table(facts.columns)}",
        f"## Licences\n\n{format_licences(licences)}",
        f"## Citation\n\n```bibtex\n{format_citations(source)}\n```",
    ]
    return ("\n\n".join(sections) + "\n").encode()


def format_citations(source: ExportSource) -> str:
    """What to cite, as BibTeX: the paper, and the corpora."""
    entries = [_CITATIONS[source.is_pairs]]
    for facts in find_licences(source).corpora:
        if facts.citation:
            entries.append((make_plain_name(facts.name), facts.citation, facts.url))
    return "\n\n".join(_format_entry(*entry) for entry in entries)


def make_plain_name(name: str) -> str:
    """A name in lower-case letters, digits and hyphens.

    >>> make_plain_name("BgKnown ESC-50")
    'bgknown-esc-50'
    """
    plain = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in name.lower())
    return "-".join(plain.split()) or "dataset"


def quote_yaml(text: str) -> str:
    """Text as a YAML scalar."""
    return json.dumps(text, ensure_ascii=False)


def _format_entry(key: str, citation: str, url: str) -> str:
    lines = [f"@misc{{{key},", f"  note = {{{citation}}},", *([f"  howpublished = {{\\url{{{url}}}}},"] if url else [])]
    return "\n".join([*lines, "}"])


def _list_header(source: ExportSource, licences: Licences) -> list[str]:
    rows = len(source.table)
    size = next((name for limit, name in _SIZES if rows < limit), "1M<n<10M")
    tasks = ["audio-text-to-audio-retrieval"] if source.is_pairs else ["audio-classification"]
    lines = [f"pretty_name: {quote_yaml(source.name)}", f"license: {licences.card_id}"]
    if licences.card_id == "other":
        lines.append(f"license_name: {licences.card_name}")
    if source.is_pairs:
        lines += ["language:", "- en", "tags:", "- audio", *(f"- {task}" for task in tasks)]
    else:
        lines += ["task_categories:", *(f"- {task}" for task in tasks), "tags:", "- audio"]
    return [*lines, "- bgknown", "size_categories:", f"- {size}"]


def _describe(source: ExportSource) -> str:
    if source.is_pairs:
        return "Pairs of soundscapes, and a text that says what to change to get from the first to the second."
    return "Sounds mixed with known backgrounds: each clip with its mixture and three reference backgrounds."


def _format_identity(source: ExportSource) -> str:
    counts = source.table["split"].value_counts(sort=False)
    lines = ["| fact | value |", "| --- | --- |", f"| dataset id | `{source.dataset_id}` |"]
    if "recipe_sha256" in source.description:
        lines.append(f"| recipe, SHA-256 | `{source.description['recipe_sha256']}` |")
    lines += [
        f"| built with | bgknown {markdown(str(source.description.get('version', '')))} |",
        f"| exported with | bgknown {VERSION} |",
        f"| rows | {', '.join(f'{markdown(split)} {counts[split]:,}' for split in source.splits)} |",
        f"| audio | {', '.join(f'`{signal}`' for signal in source.signals)}; {source.rate_hz:,} Hz, mono |",
    ]
    return "\n".join(lines)
