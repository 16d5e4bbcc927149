"""Files and folders to an array of embeddings and a table of the files, for use elsewhere."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import processes
from benchmark.embedding.about import write_about
from benchmark.embedding.broken import describe, make_broken_error
from benchmark.embedding.clips import BrokenClipError, Clip
from benchmark.embedding.embed import EmbedSettings, embed_clips, embed_share
from benchmark.embedding.hashes import hash_fit
from benchmark.encoders.contract import LoadedEncoder
from benchmark.encoders.registry import load_encoder
from bgknown.audio.files import NO_SUCH_FILE
from bgknown.corpora.listing import SUFFIXES, check_utf8, list_audio, list_fitting, locate, name_some, report_hidden
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import advise_option, make_folder, write_whole
from bgknown.jobs.shards import Shard
from bgknown.nearest import nearest
from bgknown.userpath import user_path

MAX_DURATION_S = 3600.0
"""Longest clip that may be requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedReport:
    """The result of embedding files."""

    clips: int
    """Number of clips that were embedded."""
    problems: Mapping[Path, str]
    """Files that were left out, and why."""

    def note(self) -> str:
        """One line on what was left out; empty for nothing."""
        return f"left out: {describe(self.problems)}" if self.problems else ""


def embed_files(
    loaded: LoadedEncoder,
    audio: Sequence[Path],
    out: Path,
    settings: EmbedSettings,
    *,
    duration_s: float | None,
    skip_broken: bool = False,
) -> EmbedReport:
    """Embed files and all audio files of folders into ``out/embeddings.npy``, ``out/clips.csv`` and ``out/about.json``.

    With ``settings.shard``, a share of them is embedded into the cache, and nothing is written to ``out``.

    An encoder that needs statistics of audio takes them from these clips; ``about.json`` and a warning say so.

    Args:
        loaded: the encoder.
        audio: files and folders; files of a folder are sorted by name.
        out: the folder to write to.
        settings: how.
        duration_s: cut or pad every clip to this length; None for its own length.
        skip_broken: leave out files that are missing or broken, or that the encoder gives NaN or infinite values for.

    Raises:
        NotFoundError, InvalidInputError, StorageError: as ``embed_clips``; also where a folder does not contain audio.
    """
    if duration_s is not None and not 0 < duration_s < MAX_DURATION_S:
        raise InvalidInputError(f"the duration is {duration_s} s; it must be between 0 and {MAX_DURATION_S:g}")
    out = user_path(out)
    files, problems = find_clips(audio)
    if problems and not skip_broken:
        raise NotFoundError(describe(problems))
    while True:
        clips = [Clip(path=file, duration_s=duration_s) for file in files]
        if not clips:
            raise make_broken_error(problems, len(problems))
        if settings.shard is not None:
            return EmbedReport(clips=embed_share(loaded, clips, settings, fit_on=clips), problems=problems)
        try:
            rows = embed_clips(loaded, clips, settings, fit_on=clips, twice=True)
            break
        except BrokenClipError as error:
            if not skip_broken:
                raise
            problems |= error.problems
            files = [file for file in files if file not in problems]
    if processes.rank() == 0:
        data = io.BytesIO()
        np.save(data, rows)
        table = pd.DataFrame({"row": range(len(files)), "file": [file.as_posix() for file in files]})
        with advise_option("--out"):
            make_folder(out)
            write_whole(out / "embeddings.npy", data.getvalue())
            write_whole(out / "clips.csv", table.to_csv(index=False, lineterminator="\n").encode())
            write_about(out, loaded, clips, settings.precision, fitted_on=hash_fit(loaded, clips, cache=settings.cache))
    return EmbedReport(clips=len(files), problems=problems)


def embed_shard_of_files(
    choice: Mapping[str, Any], audio: Sequence[Path], settings: EmbedSettings, how: Mapping[str, Any], shard: Shard
) -> None:
    """Load an encoder and embed a share of files into the cache; for a process of a cluster.

    Args:
        choice: what ``benchmark.encoders.registry.load_encoder`` takes.
        audio, settings: as for ``embed_files``.
        how: its further options.
        shard: the share.
    """
    embed_files(load_encoder(**choice), audio, Path(), dataclasses.replace(settings, shard=shard), **how)


def find_clips(audio: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Find the files to embed, with their names as typed, and those that are missing.

    Hidden files in folders are skipped and reported; one that is named explicitly is used.

    Raises:
        NotFoundError: a folder does not contain audio.
        InvalidInputError: a name is not UTF-8.
    """
    files: list[Path] = []
    missing: dict[Path, str] = {}
    for typed in audio:
        path = locate(user_path(typed))
        check_utf8(path)
        if path.is_dir():
            listing = list_audio(path)
            report_hidden(path, listing.hidden)
            if not listing.files:
                raise NotFoundError(
                    f"{path}: no audio files ({', '.join(SUFFIXES)}) in this folder{_describe_other_files(path)}"
                )
            files += [path / name for name in listing.files]
        elif path.is_file():
            files.append(path)
        else:
            missing[path] = NO_SUCH_FILE + _suggest_near(path)
    return files, missing


def _describe_other_files(folder: Path) -> str:
    """The types of the files that a folder has instead."""
    types = {Path(name).suffix or "no suffix" for name in list_fitting(folder, lambda _: True).files}
    return f"; there are files of other types: {name_some(sorted(types))}" if types else ""


def _suggest_near(path: Path) -> str:
    """Names that exist next to a file that does not."""
    if not path.parent.is_dir():
        return ""
    names = list_audio(path.parent, below=False).files
    if close := nearest(path.name, names):
        return f"; did you mean {path.with_name(close)}?"
    return f"; in this folder there are {name_some(names)}" if names else ""
