"""bgknown: builds and checks difference-aware audio datasets.

``open_dataset(folder)`` opens a finished BgKnown ESC-50 as a table with audio readers, and ``open_pairs(folder)`` a set
of APwD pairs; ``bgknown.mixtures.build.build`` and ``bgknown.apwd.build.build`` make them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgknown.version import VERSION

if TYPE_CHECKING:
    from bgknown.apwd.dataset import PairSet, open_pairs
    from bgknown.mixtures.dataset import Dataset, open_dataset

__version__ = VERSION
__all__ = ["Dataset", "PairSet", "__version__", "open_dataset", "open_pairs"]


def __getattr__(name: str) -> Any:
    # looked up on first use: `import bgknown` and `--help` stay quick
    if name in {"Dataset", "open_dataset"}:
        from bgknown.mixtures import dataset  # noqa: PLC0415

        return getattr(dataset, name)
    if name in {"PairSet", "open_pairs"}:
        from bgknown.apwd import dataset as pairs  # noqa: PLC0415

        return getattr(pairs, name)
    raise AttributeError(f"module 'bgknown' has no attribute {name!r}")
