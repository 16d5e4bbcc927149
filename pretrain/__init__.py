"""pretrain: train BYOL-A and its difference-aware extension.

``load_checkpoint`` loads a trained network together with its front end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgknown.lazy import export_lazily

if TYPE_CHECKING:
    from pretrain.checkpoint import Checkpoint, load_checkpoint

__all__ = ["Checkpoint", "load_checkpoint"]
__getattr__, __dir__ = export_lazily(
    __name__, {"Checkpoint": "pretrain.checkpoint", "load_checkpoint": "pretrain.checkpoint"}
)
