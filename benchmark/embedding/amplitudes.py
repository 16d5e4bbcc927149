"""Which clips of a store of embeddings are silent or beyond full scale, kept next to the embeddings.

A clip that is already embedded is not decoded again, so these facts are remembered.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bgknown.audio.amplitude import Amplitude, describe_amplitudes
from bgknown.jobs.files import append_line

log = logging.getLogger(__name__)

FILE = "amplitudes.jsonl"


def report_amplitudes(folder: Path, clips: Mapping[tuple[Path, str], str], notes: list[str]) -> None:
    """Log one sentence on silent clips and one on clips beyond full scale, if there are any.

    Args:
        folder: folder of the store.
        clips: SHA-256 of the file, by its path and the part of it.
        notes: receives the sentences.
    """
    known = read_amplitudes(folder)
    found = {str(path): known[sha256, crop] for (path, crop), sha256 in clips.items() if (sha256, crop) in known}
    for sentence in describe_amplitudes(found, what="clips", cut_off=False):
        log.warning("%s", sentence)
        if sentence not in notes:
            notes.append(sentence)


def read_amplitudes(folder: Path) -> dict[tuple[str, str], Amplitude]:
    """The remembered facts, by SHA-256 and part of the file; truncated lines are skipped."""
    found: dict[tuple[str, str], Amplitude] = {}
    with contextlib.suppress(OSError), (folder / FILE).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                entry = json.loads(line)
                key = (str(entry["sha256"]), str(entry["crop"]))
                found[key] = Amplitude(silent=bool(entry["silent"]), clipped=bool(entry["clipped"]))
    return found


def write_amplitudes(folder: Path, clips: Sequence[tuple[str, str, Amplitude]]) -> None:
    """Remember the clips that are silent or beyond full scale.

    Args:
        folder: folder of the store.
        clips: SHA-256 of the file, part of it, and what is known of its samples.

    Raises:
        StorageError: the disk is full or refuses.
    """
    lines = [
        json.dumps({"sha256": sha256, "crop": crop, **asdict(amplitude)})
        for sha256, crop, amplitude in clips
        if amplitude != Amplitude()
    ]
    if lines:
        with contextlib.suppress(OSError):  # the next line reports what is wrong
            (folder / FILE).touch()
        append_line(folder / FILE, "\n".join(lines))
