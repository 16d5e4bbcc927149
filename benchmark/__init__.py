"""benchmark: measure any audio encoder on difference-aware and general tasks.

``load_encoder`` loads an encoder by its name, ``embed_audio`` embeds arrays, ``probe_embeddings`` and ``recall_at_k``
measure embeddings, ``read_leaderboard`` reads results as a table, and ``plot`` draws them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgknown.lazy import export_lazily

if TYPE_CHECKING:
    from benchmark.arrays import ProbeOutcome, embed_audio, probe_embeddings, recall_at_k
    from benchmark.encoders.registry import load_encoder
    from benchmark.plots.make import Plots, plot
    from benchmark.results.frame import read_leaderboard

__all__ = [
    "Plots",
    "ProbeOutcome",
    "embed_audio",
    "load_encoder",
    "plot",
    "probe_embeddings",
    "read_leaderboard",
    "recall_at_k",
]
__getattr__, __dir__ = export_lazily(
    __name__,
    {
        "Plots": "benchmark.plots.make",
        "ProbeOutcome": "benchmark.arrays",
        "embed_audio": "benchmark.arrays",
        "load_encoder": "benchmark.encoders.registry",
        "plot": "benchmark.plots.make",
        "probe_embeddings": "benchmark.arrays",
        "read_leaderboard": "benchmark.results.frame",
        "recall_at_k": "benchmark.arrays",
    },
)
