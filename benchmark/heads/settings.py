"""The settings of a task with a head in place of the subtraction."""

from __future__ import annotations

import dataclasses

from benchmark.heads.head import Head
from benchmark.tasks.contract import Setting, TaskData

CONTROLS_OF_BACKGROUND = ("bg",)
"""Settings that a head does not change and that say nothing of it."""


def has_references(data: TaskData) -> bool:
    """Whether a task subtracts backgrounds, so that a head can be measured on it."""
    return any(setting.minus for setting in data.settings)


def apply_head(data: TaskData, head: Head) -> TaskData:
    """The task with the head's settings.

    ``a``, ``b``, ``c`` and ``shuffled`` are the head's prediction instead of the difference; ``mix`` is the head on
    y_mix alone; ``clean`` stays the embedding of the clip, and ``clean -> a`` is tested on the head's prediction.
    Settings that choose a weight are left out: a head has none.
    """
    settings = [
        _use_head(setting, head)
        for setting in data.settings
        if len(setting.alphas) == 1 and setting.name not in CONTROLS_OF_BACKGROUND
    ]
    return dataclasses.replace(data, settings=settings)


def _use_head(setting: Setting, head: Head) -> Setting:
    if setting.tested is not None:
        about = f"trained on the clip itself, tested on the prediction of the head {head.name}"
        return dataclasses.replace(setting, about=about, tested=_use_head(setting.tested, head))
    if setting.signal == "clean":
        return setting
    by = "control: the head on y_mix alone" if not setting.minus else f"by the head instead of: {setting.about}"
    return dataclasses.replace(setting, about=by, remainder=head.subtract)
