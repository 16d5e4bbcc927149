"""Whether a background contains the class of a clip, by the labels of both corpora.

FSD50K's labels of a recording include their ancestors in AudioSet's ontology, so a recording contains a class if it
has a label that means the class itself, or a narrower one. A wider label does not count: not every animal is a dog.
The labels of ESC-50's 50 categories are in ``data_manifests/esc50_to_fsd50k.csv``.
"""

from __future__ import annotations

from collections.abc import Mapping
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
