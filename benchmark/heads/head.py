"""A head: the file, and what it computes.

The file is a safetensors file of float32 arrays, P features and D targets:

- ``mean``, ``scale`` [P]: the features' standardisation;
- ``weight`` [P, D], ``bias`` [D]: from standardised features to the embedding of the clean foreground;
- ``control.weight`` [D, D], ``control.bias`` [D]: the same from y_mix alone;
- of a network also ``hidden.weight`` [P, H], ``hidden.bias`` [H], ``output.weight`` [H, D], ``output.bias`` [D]: what
  it adds to the linear map.

Its metadata has one entry, a JSON text of ``HeadFacts`` and of the sounds that it was trained on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.heads.features import FEATURE_FORMS, form_features
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.files import hash_bytes, write_whole
from bgknown.jobs.sealed import read_json_object
from bgknown.settings import read_record
from bgknown.shown import escape_line
from bgknown.sounds import SoundList, decode_sounds

METADATA_KEY = "bgknown_head"
HEAD_FORMAT = 1
ROWS_AT_ONCE = 1024

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadFacts:
    """What is known about a head."""

    format: int
    """Format of the file."""
    version: str
    """Version of this software that trained it."""
    encoder: str
    """Name of its encoder."""
    encoder_key: str
    """Fingerprint of the encoder (``LoadedEncoder.key``)."""
    embedding_size: int
    """D."""
    features: Literal["mix", "linear", "full"]
    """What it sees (``benchmark.heads.features``)."""
    kind: Literal["ridge", "network"]
    """What was trained."""
    penalty: float | None
    """Penalty per row of the ridge regression; None for the plain subtraction."""
    prior: str
    """What the ridge regression is shrunk to: ``zero`` or ``subtraction``."""
    alpha: float | None
    """Weight of the best plain subtraction; None for features without the background."""
    control_penalty: float | None
    """Penalty of the control on y_mix alone."""
    error: float
    """Error on held-out mixtures, as a share of the variance of the clean foregrounds' embeddings."""
    ridge_error: float
    """That of the ridge regression shrunk to zero."""
    subtraction_error: float | None
    """That of the best plain subtraction."""
    mix_error: float | None
    """That of y_mix itself, without any subtraction."""
    control_error: float
    """That of the control."""
    epochs: int
    """Epochs after which the network was best; 0 for a ridge regression."""
    mixtures: int
    """Number of mixtures, held-out ones included."""
    held_out_mixtures: int
    """Number of these that chose between candidates."""
    seed: int
    """Seed of the draws."""
    snr_db: tuple[float, float]
    """Range of the SNR."""
    level_lufs: tuple[float, float]
    """Range of the background's loudness."""
    duration_s: float
    """Duration of mixtures."""
    recordings: int
    """Number of recordings."""
    sources: int
    """Number of sources that they are from."""
    foregrounds: int
    """Recordings that may be foregrounds."""
    backgrounds: int
    """Recordings that may be backgrounds."""
    held_out_foregrounds: int
    """Recordings that are foregrounds of held-out mixtures only."""
    held_out_backgrounds: int
    """Recordings that are backgrounds of held-out mixtures only."""
    excluded: int
    """Files that were left out because their source was excluded."""
    backgrounds_only: int = 0
    """Recordings that were not used as foregrounds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """A head."""

    name: str
    """The stem of its file."""
    sha256: str
    """SHA-256 of its file."""
    facts: HeadFacts
    """What is known about it."""
    arrays: Arrays
    """Its arrays."""
    trained_on: SoundList
    """The sounds that it was trained on."""

    def subtract(self, mix: NDArray[np.float32], background: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """The embedding of the clean foreground as the head predicts it.

        Args:
            mix: [n, D] embeddings of mixtures.
            background: [n, D] embeddings of reference backgrounds; None for the control on y_mix alone.

        Returns:
            [n, D] float32.
        """
        starts = range(0, len(mix), ROWS_AT_ONCE)
        parts = [
            self._predict(mix[i : i + ROWS_AT_ONCE], None if background is None else background[i : i + ROWS_AT_ONCE])
            for i in starts
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.facts.embedding_size), dtype=np.float32)

    def _predict(self, mix: NDArray[np.float32], background: NDArray[np.float32] | None) -> NDArray[np.float32]:
        if background is None:
            size = self.facts.embedding_size
            x = ((mix - self.arrays["mean"][:size]) / self.arrays["scale"][:size]).astype(np.float32)
            return np.asarray(x @ self.arrays["control.weight"] + self.arrays["control.bias"])
        features = form_features(self.facts.features, mix, background)
        x = ((features - self.arrays["mean"]) / self.arrays["scale"]).astype(np.float32)
        found = x @ self.arrays["weight"] + self.arrays["bias"]
        if self.facts.kind == "network":
            hidden = np.maximum(x @ self.arrays["hidden.weight"] + self.arrays["hidden.bias"], 0.0)
            found += hidden @ self.arrays["output.weight"] + self.arrays["output.bias"]
        return np.asarray(found)


def write_head(path: Path, facts: HeadFacts, arrays: Arrays, trained_on: SoundList) -> str:
    """Write the file of a head; the same head has the same bytes.

    Returns:
        its SHA-256.

    Raises:
        StorageError: it cannot be written.
    """
    from safetensors.numpy import save  # noqa: PLC0415

    text = json.dumps({**dataclasses.asdict(facts), "trained_on": trained_on.encode()}, sort_keys=True)
    whole = {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in sorted(arrays.items())}
    data = save(whole, metadata={METADATA_KEY: text})
    write_whole(path, data)
    return hash_bytes(data)


def read_head(path: Path) -> Head:
    """Read the file of a head.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is damaged, or not a head.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    if not path.is_file():
        raise NotFoundError(f"{path}: no such file; make a head with `benchmark head`")
    try:
        data = path.read_bytes()
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(METADATA_KEY, "")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dictionary)
    except (SafetensorError, OSError) as error:
        reason = escape_line(str(error))
        raise InvalidInputError(f"{path}: not a whole safetensors file ({reason}); copy it again") from error
    entry = read_json_object(text)
    if entry is None:
        raise InvalidInputError(f"{path}: a safetensors file, but not a head; make one with `benchmark head`")
    facts = read_record(HeadFacts, entry, str(path), others=True)
    if facts.format != HEAD_FORMAT:
        raise InvalidInputError(
            f"{path}: format {facts.format}; this version reads {HEAD_FORMAT}: train the head again"
        )
    _check_arrays(path, facts, arrays)
    return Head(
        name=path.stem,
        sha256=hash_bytes(data),
        facts=facts,
        arrays=arrays,
        trained_on=decode_sounds(entry.get("trained_on"), str(path)),
    )


def check_head_fits(head: Head, path: Path, keys: Mapping[str, str]) -> None:
    """Check that a head was trained for one of some encoders.

    Args:
        head: the head.
        path: its file, for the message.
        keys: fingerprints of the encoders by their names.

    Raises:
        InvalidInputError: it was not.
    """
    if head.facts.encoder_key in keys.values():
        return
    own = head.facts.encoder
    why = "with other weights or another configuration" if own in keys else f"not for {', '.join(keys)}"
    raise InvalidInputError(
        f"{path}: this head was trained for the encoder {escape_line(own)} (fingerprint "
        f"{head.facts.encoder_key[:12]}), {why}; train one with `benchmark head --encoder ...`"
    )


def _check_arrays(path: Path, facts: HeadFacts, arrays: Arrays) -> None:
    size = facts.embedding_size
    width = FEATURE_FORMS[facts.features] * size
    shapes: dict[str, Sequence[int]] = {
        **{"mean": [width], "scale": [width], "weight": [width, size], "bias": [size]},
        **{"control.weight": [size, size], "control.bias": [size]},
    }
    if facts.kind == "network":
        hidden = len(arrays.get("hidden.bias", ()))
        shapes |= {"hidden.weight": [width, hidden], "hidden.bias": [hidden]}
        shapes |= {"output.weight": [hidden, size], "output.bias": [size]}
    for name, shape in shapes.items():
        found = arrays.get(name)
        if found is None or list(found.shape) != list(shape) or not np.isfinite(found).all():
            what = "missing" if found is None else f"of shape {list(found.shape)}"
            raise InvalidInputError(
                f"{path}: the array {name} is {what}; it must hold finite numbers of shape {list(shape)}: copy it again"
            )
