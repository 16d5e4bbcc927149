"""bgknown: builds and checks difference-aware audio datasets.

``open_dataset(folder)`` opens a finished dataset as a table with audio readers; ``bgknown.build.build`` makes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bgknown.dataset import Dataset, open_dataset

__version__ = "0.1.0"
__all__ = ["Dataset", "__version__", "open_dataset"]


def __getattr__(name: str) -> Any:
    # looked up on first use: `import bgknown` and `--help` stay quick
    if name in {"Dataset", "open_dataset"}:
        from bgknown import dataset  # noqa: PLC0415

        return getattr(dataset, name)
    raise AttributeError(f"module 'bgknown' has no attribute {name!r}")
