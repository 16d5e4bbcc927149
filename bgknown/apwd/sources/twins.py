"""The same audio in dev and eval of a source tree, by the hashes of its table."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

from bgknown.apwd.sources.manifest import TABLE, read_table
from bgknown.apwd.sources.tree import SourceTree


def find_twins(tree: SourceTree) -> frozenset[str]:
    """Files of dev that are the same audio as a file of eval; none for a tree without sources.csv.

    Raises:
        InvalidInputError: sources.csv is damaged.
    """
    if not (tree.root / TABLE).is_file():
        return frozenset()
    table = read_table(tree.root)
    hash_of = dict(zip(table["file"], table["sha256"], strict=True))
    files = {
        split: {source.file for place, sources in tree.files.items() if place[0] == split for source in sources}
        for split in ("dev", "eval")
    }
    there = {hash_of[file] for file in files["eval"] if file in hash_of}
    return frozenset(file for file in files["dev"] if hash_of.get(file) in there)


def count_recordings(files: Collection[str], labels: Collection[str]) -> int:
    """How many recordings of some labels files are of; one may be a background and a foreground."""
    paths = map(PurePosixPath, files)
    return len({(path.parts[0], path.name) for path in paths if path.parent.name in labels})
