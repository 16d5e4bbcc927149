"""Audio columns of datasets that are decoded by libsndfile, because the package's own ``Audio`` needs torchcodec.

A row's audio is what mteb's models expect: a dictionary with ``array`` [N] float32, mono, full scale -1..1, and
``sampling_rate`` in Hz, the file's own.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import soundfile

from bgknown.apwd.dataset import PairSet
from bgknown.audio.files import RATE_HZ, read_file, read_header
from bgknown.errors import BgknownError, InvalidInputError, NotFoundError


class LocalAudio(datasets.Audio):  # type: ignore[misc]
    """A column of paths of audio files, or of their bytes.

    ``dataset.cast_column("audio", LocalAudio())`` makes the audio of any dataset readable without torchcodec.
    """

    def encode_example(self, value: str | Path | Mapping[str, Any]) -> dict[str, Any]:
        """What is stored of a path, or of a dictionary with path or bytes."""
        if isinstance(value, str | Path):
            return {"bytes": None, "path": str(value)}
        return {"bytes": value.get("bytes"), "path": value.get("path")}

    def decode_example(self, value: Mapping[str, Any], token_per_repo_id: object = None) -> dict[str, Any]:
        """The samples of a row.

        Raises:
            NotFoundError: the file does not exist.
            InvalidInputError: it cannot be decoded.
        """
        if value["bytes"] is None:
            path = Path(value["path"])
            try:
                rate_hz = read_header(path).rate_hz
                return {"array": read_file(path, rate_hz, np.float32)[1], "sampling_rate": rate_hz}
            except BgknownError as error:
                kind = NotFoundError if isinstance(error, NotFoundError) else InvalidInputError
                raise kind(f"{path}: {error}") from error
        try:
            samples, rate_hz = soundfile.read(io.BytesIO(value["bytes"]), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise InvalidInputError(f"{value['path'] or 'audio'}: cannot be decoded ({error})") from error
        return {"array": samples.mean(axis=1), "sampling_rate": int(rate_hz)}


class PairAudio(LocalAudio):
    """A column of sides of APwD's pairs, as ``PAIR/s1``: read from their files or rendered, at 44.1 kHz."""

    def __init__(self, pairs: PairSet) -> None:
        super().__init__()
        self.pairs = pairs

    def decode_example(self, value: Mapping[str, Any], token_per_repo_id: object = None) -> dict[str, Any]:
        """The samples of a side; errors are those of ``PairSet.audio``."""
        pair, _, side = str(value["path"]).rpartition("/")
        return {"array": self.pairs.audio(pair, side), "sampling_rate": RATE_HZ}

    def __deepcopy__(self, memory: object) -> PairAudio:
        """Itself: datasets copies the columns' types at every step, and the table of pairs may be long."""
        return self


def make_dataset(columns: Mapping[str, Sequence[str]], audio: LocalAudio | None = None) -> datasets.Dataset:
    """A dataset in memory whose columns are texts, except ``audio``, whose values are paths.

    Args:
        columns: values by the column's name.
        audio: how the values of ``audio`` become samples.
    """
    features, arrays = {}, {}
    for name, values in columns.items():
        text = pa.array(list(values), type=pa.string())
        features[name] = audio if name == "audio" and audio is not None else datasets.Value("string")
        arrays[name] = audio.cast_storage(text) if name == "audio" and audio is not None else text
    return datasets.Dataset(pa.table(arrays), info=datasets.DatasetInfo(features=datasets.Features(features)))
