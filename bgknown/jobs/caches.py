"""What is kept in the cache folder, and how it is deleted. Every cache is described here, whichever package fills it.

    headers/       lengths and rates of audio files               ``bgknown.corpora.headers``
    decoded/       hashes of decoded audio                        ``bgknown.corpora.identical``
    miniature/     miniature corpora                              ``bgknown.corpora.miniature``
    numba-USER/    compiled code, and home-USER/ for users without a home folder    ``bgknown.jobs.surroundings``
    embeddings/    embeddings of audio                            ``benchmark.embedding.store``
    texts/         embeddings of texts                            ``benchmark.embedding.texts``
    heads/         embeddings of mixtures that heads are trained on    ``benchmark.heads.mixture_embeddings``
    hashes/        SHA-256 of audio files                         ``benchmark.embedding.hashes``
    probes/        states of interrupted trainings of probes      ``benchmark.resuming``

Users may name any folder as the cache, so only what this software has written is deleted: files whose names match, and
folders that hold its mark.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bgknown.jobs.surroundings import list_library_folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """One cache below the cache folder."""

    folder: str
    """Its folder."""
    files: str = ""
    """Pattern of the names of its files; empty for none."""
    mark: str = ""
    """File that marks a folder in it as one of this software's; empty for none."""
    unfinished: tuple[str, ...] = ()
    """Patterns of folders that a killed process left behind."""

    def list_files(self, cache: Path) -> list[Path]:
        """Its files in a cache folder."""
        return list((cache / self.folder).glob(self.files)) if self.files else []

    def list_folders(self, cache: Path) -> list[Path]:
        """Its folders in a cache folder."""
        marked = [mark.parent for mark in (cache / self.folder).glob(f"*/{self.mark}")] if self.mark else []
        left = [path for pattern in self.unfinished for path in (cache / self.folder).glob(pattern)]
        return list(dict.fromkeys([*marked, *left]))


HEADERS = Cache(folder="headers", files="v*-????????????????.csv")
MINIATURE = Cache(folder="miniature", mark=".miniature", unfinished=(".ESC-50-*", ".FSD50K-*"))
EMBEDDINGS = Cache(folder="embeddings", mark="about.json")
TEXT_EMBEDDINGS = Cache(folder="texts", files=f"{'?' * 32}.npz")
HEAD_EMBEDDINGS = Cache(folder="heads", mark="about.json")
DECODED = Cache(folder="decoded", files="v1-*.csv")
HASHES = Cache(folder="hashes", files="v1-*.csv")
PROBES = Cache(folder="probes", files="*.pt")


def clear_corpora(cache: Path) -> int:
    """Delete headers, hashes of audio, miniature corpora and folders of libraries; returns the bytes freed."""
    freed = _delete([], list_library_folders(cache))
    return freed + _clear(cache, (HEADERS, DECODED, MINIATURE))


def clear_embeddings(cache: Path) -> int:
    """Delete embeddings, hashes of audio files and interrupted trainings; returns the number of bytes freed."""
    return _clear(cache, (EMBEDDINGS, TEXT_EMBEDDINGS, HEAD_EMBEDDINGS, HASHES, PROBES))


def measure_folder(folder: Path) -> int:
    """Bytes of all files in a folder and below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _clear(cache: Path, kinds: Iterable[Cache]) -> int:
    freed = 0
    for kind in kinds:
        freed += _delete(kind.list_files(cache), kind.list_folders(cache))
        with contextlib.suppress(OSError):  # it does not exist, or holds something of the user's
            (cache / kind.folder).rmdir()
    return freed


def _delete(files: Iterable[Path], folders: Iterable[Path]) -> int:
    freed = 0
    for path in files:
        freed += path.stat().st_size
        path.unlink()
    for folder in folders:
        freed += measure_folder(folder)
        shutil.rmtree(folder)
    return freed
