"""pretrain: train BYOL-A and its difference-aware extension.

``load_checkpoint`` loads a trained network together with its front end, and ``plot_runs`` draws the logs of runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgknown.lazy import export_lazily

if TYPE_CHECKING:
    from pretrain.checkpoint import Checkpoint, load_checkpoint
    from pretrain.plot import plot_runs

__all__ = ["Checkpoint", "load_checkpoint", "plot_runs"]
__getattr__, __dir__ = export_lazily(
    __name__,
    {
        "Checkpoint": "pretrain.checkpoint",
        "load_checkpoint": "pretrain.checkpoint",
        "plot_runs": "pretrain.plot",
    },
)
