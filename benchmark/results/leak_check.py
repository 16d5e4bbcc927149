"""The text of a row's leak check: what was found within the task, then what the encoder was trained on.

``ok; the encoder was trained on the source of 3 of 160 test clips``. A row without the second part is of an encoder
that was not trained, or was measured by a version that did not look.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.results.row import OF_ITS_TASKS, ResultRow
from bgknown.shown import name_few

UNKNOWN = "training data of the encoder unknown"
NOT_COMPARABLE = "training data of the encoder not comparable with this task"
TRAINED_ON = "the encoder was trained on"
_BEGINNINGS = (UNKNOWN, NOT_COMPARABLE, TRAINED_ON)


def join_findings(of_task: str, of_encoder: str) -> str:
    """One text of both parts, of which any may be empty."""
    return "; ".join(part for part in (of_task, of_encoder) if part)


def split_findings(text: str) -> tuple[str, str]:
    """The two parts of a text of ``join_findings``.

    >>> split_findings("2 speakers in training and test; training data of the encoder unknown")
    ('2 speakers in training and test', 'training data of the encoder unknown')
    """
    parts = text.split("; ")
    if parts[-1].startswith(_BEGINNINGS):
        return "; ".join(parts[:-1]), parts[-1]
    return text, ""


def describe_overlap(*, sources: int, backgrounds: int, clips: int) -> str:
    """The second part: of how many test clips the encoder was trained on the source, or on the background.

    >>> describe_overlap(sources=3, backgrounds=0, clips=160)
    'the encoder was trained on the source of 3 of 160 test clips'
    >>> describe_overlap(sources=3, backgrounds=12, clips=160)
    'the encoder was trained on the source of 3 and the background of 12 of 160 test clips'
    """
    counts = {"source": sources, "background": backgrounds}
    found = " and ".join(f"the {what} of {count:,}" for what, count in counts.items() if count)
    return f"{TRAINED_ON} {found or 'none'} of {clips:,} test clips"


def list_leaks(rows: Sequence[ResultRow]) -> list[str]:
    """Notes on leaks within tasks, encoders trained on test clips, and encoders whose training data are unknown."""
    checks = dict.fromkeys((row.task, row.encoder, *split_findings(row.leak_check)) for row in rows)
    leaks = {task: found for task, _, found, _ in checks if found not in {"", "ok", OF_ITS_TASKS}}
    notes = [f"leak check of {task}: {found}" for task, found in leaks.items()]
    for task, encoder, _, found in checks:
        if found.startswith(f"{TRAINED_ON} the "):
            notes.append(f"{encoder} {found.removeprefix('the encoder ')} of {task}")
    for text in (UNKNOWN, NOT_COMPARABLE):
        encoders = dict.fromkeys(encoder for _, encoder, _, found in checks if found == text)
        if encoders:
            notes.append(f"{text}: {name_few(encoders, 3)}")
    return notes
