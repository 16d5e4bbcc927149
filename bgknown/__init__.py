"""bgknown: build and check difference-aware audio datasets.

``build_dataset`` makes BgKnown ESC-50 or BgKnown of other corpora, ``open_dataset`` opens it, ``open_pairs`` opens APwD
pairs, ``export_dataset`` writes either in the format of another library, and ``mix_at_snr`` mixes two arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgknown.lazy import export_lazily
from bgknown.version import VERSION

if TYPE_CHECKING:
    from bgknown.apwd.dataset import PairSet, open_pairs
    from bgknown.exports.export import export_dataset
    from bgknown.mixtures.arrays import mix_at_snr
    from bgknown.mixtures.dataset import Dataset, open_dataset
    from bgknown.mixtures.making import build_dataset

__version__ = VERSION
__all__ = [
    "Dataset",
    "PairSet",
    "__version__",
    "build_dataset",
    "export_dataset",
    "mix_at_snr",
    "open_dataset",
    "open_pairs",
]
__getattr__, __dir__ = export_lazily(
    __name__,
    {
        "Dataset": "bgknown.mixtures.dataset",
        "PairSet": "bgknown.apwd.dataset",
        "build_dataset": "bgknown.mixtures.making",
        "export_dataset": "bgknown.exports.export",
        "mix_at_snr": "bgknown.mixtures.arrays",
        "open_dataset": "bgknown.mixtures.dataset",
        "open_pairs": "bgknown.apwd.dataset",
    },
)
