"""Embeddings of files that look new but may not be: their content decides."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark import processes
from benchmark.embedding.clips import Clip
from benchmark.embedding.hashes import hash_files
from benchmark.embedding.store import Entry, Store
from bgknown.jobs.files import FileState


def find_by_content(store: Store, found: dict[Clip, Entry | None], states: Mapping[Clip, FileState]) -> None:
    """Find embeddings of files with an unknown state by the hash of their content.

    Only files whose path, or name and size, the store knows are read: those that were touched or replaced, and those of
    a corpus that was copied or unpacked again.
    """
    candidates = [clip for clip, entry in found.items() if entry is None and store.may_hold(clip, states[clip])]
    paths = list(dict.fromkeys(clip.path for clip in candidates))
    digests = dict(zip(paths, hash_files(paths), strict=True))
    same = {
        clip: entry for clip in candidates if (entry := store.find_audio(digests[clip.path], clip.crop)) is not None
    }
    found.update(same)
    if same and processes.rank() == 0:
        store.alias(list(same.values()), [(clip, states[clip]) for clip in same])
