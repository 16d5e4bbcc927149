"""Whether a background contains the class of a clip, by the labels of both corpora.

FSD50K's labels of a recording include their ancestors in AudioSet's ontology, so a recording contains a class if it
has a label that means the class itself, or a narrower one. A wider label does not count: not every animal is a dog.
The labels of ESC-50's 50 categories are in ``data_manifests/esc50_to_fsd50k.csv``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from bgknown.tables import list_records, parse_csv

TABLE_NAME = "esc50_to_fsd50k.csv"


@cache
def read_class_labels() -> Mapping[str, frozenset[str]]:
    """For each ESC-50 category the FSD50K labels that mean it; none where FSD50K has no such label."""
    data = files("data_manifests").joinpath(TABLE_NAME).read_bytes()
    rows = list_records(parse_csv(data, TABLE_NAME, advice="install bgknown again"))
    return {
        row["category"]: frozenset(filter(None, [*row["labels"].split(";"), *row["descendants"].split(";")]))
        for row in rows
    }


def split_labels(labels: str) -> frozenset[str]:
    """The labels of a recording, which a table has in one field with commas between them."""
    return frozenset(filter(None, map(str.strip, labels.split(","))))


def find_class_labels(
    categories: Iterable[str], vocabulary: Iterable[str], *, fsd50k: bool
) -> dict[str, frozenset[str]]:
    """For each class of clips the labels of backgrounds that mean it; none where that is not known.

    Args:
        categories: the classes.
        vocabulary: the labels of the backgrounds.
        fsd50k: whether the labels are those of FSD50K; classes that ESC-50 has are then looked up in the table.

    Returns:
        For other classes and corpora, the labels that are the same word, whatever its capitals.
    """
    same: dict[str, set[str]] = {}
    for label in vocabulary:
        same.setdefault(_simplify(label), set()).add(label)
    listed = read_class_labels() if fsd50k else {}
    return {
        category: listed[category] if category in listed else frozenset(same.get(_simplify(category), ()))
        for category in set(categories)
    }


def contains_class(labels: str, class_labels: frozenset[str]) -> int | None:
    """Whether a recording contains a class: 1 or 0, None where that is not known.

    Args:
        labels: the recording's labels, with commas between them.
        class_labels: the labels that mean the class (``find_class_labels``).
    """
    there = split_labels(labels)
    return int(not there.isdisjoint(class_labels)) if there and class_labels else None


def _simplify(label: str) -> str:
    return label.casefold().replace(" ", "_").replace("-", "_")
