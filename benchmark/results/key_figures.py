"""Which figures of a task a reader looks at first, and which are controls."""

from __future__ import annotations

from benchmark.predictions import MINUS

SETTINGS = {"bgknown": ("a", "a*", "a* - mix", "a* - shuffled*", "mix", "clean")}
"""Columns of a task's first table."""
COMPARED = {"bgknown": ("a*", "a", "a* - mix", "a - mix", "a* - shuffled*", "a - shuffled", "mix", "clean")}
"""Settings of a task that ``benchmark compare`` lists first."""
ORDER = {"bgknown": "a*"}
"""The column by which a task's encoders are ranked, where it was measured."""
_FAMILY = "bgknown-"
"""What the names of tasks begin with that are BgKnown of other corpora or durations."""
METRICS = ("accuracy", "R@1", "R@5", "R@10")
"""Metrics of the first tables."""
CHANCE = "chance"
"""The setting of a random order, which is not an encoder's."""
CONTROLS = frozenset(
    {"bg", "shuffled", "shuffled*", "clean", CHANCE, "audio", "text", "zero-shot audio", "zero-shot audio, uncentred"}
)
"""Settings that are measured to put the others in perspective; a high figure of theirs is not an achievement."""


def find_family(task: str) -> str:
    """The task whose key figures a task has: itself, or ``bgknown`` for BgKnown of other corpora."""
    return "bgknown" if task.startswith(_FAMILY) else task


def is_control(setting: str) -> bool:
    """Whether a setting is a control."""
    return setting in CONTROLS


def is_gain(setting: str) -> bool:
    """Whether a setting is the paired difference of two others, which may be negative."""
    return MINUS in setting


def order_compared(task: str, setting: str, metric: str) -> tuple[int, int, int]:
    """A key that sorts key figures first: the key metrics, then the key settings, and controls last."""
    first = COMPARED.get(find_family(task), ())
    place = first.index(setting) if setting in first else len(first) + is_control(setting)
    return (METRICS.index(metric) if metric in METRICS else len(METRICS), place, is_control(setting))
