"""The contract of an encoder, and the record that identifies a loaded one.

Shape letters: B batch, N samples, T frames, D embedding size. Audio is mono float32, full scale -1..1, at the encoder's
own rate; all clips of a batch have the same length.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from bgknown.errors import InvalidInputError

if TYPE_CHECKING:
    from torch import Tensor

    from bgknown.sounds import SoundList


@runtime_checkable
class Encoder(Protocol):
    """One embedding per clip; the three facts and ``embed`` are all that an encoder needs.

    It may also have

    - ``fit(batches)``, where ``batches`` are audio batches [B, N]: statistics of a task's training audio that the
      encoder needs before it can embed (the published BYOL-A weights do). Fitting again starts over. ``benchmark``
      passes a ``TrainingAudio``, which is more than an iterator; an encoder may rely on that only after checking;
    - ``frames(audio) -> (embeddings [B, T, D'], times_ms [B, T])``: one embedding per frame, and the frames' centres;
    - ``embed_texts(texts) -> [B, D]``: texts in the space of its audio, so that cosines between the two mean something;
    - ``to(device)``: moves the encoder in place; an encoder without it stays on the CPU and gets its audio there;
    - ``concurrent``: True if ``embed`` may be called by several threads at once; on a CPU, each core then embeds
      batches of its own, which suits light encoders;
    - ``configuration``: a dictionary, writable as JSON, of everything besides the weights that its output depends on;
    - ``trained_on``: the sounds that it was trained on, so that test clips among them can be reported. A collection of
      texts, each a Freesound id, a file name that holds one (``bgknown.freesound``) or the SHA-256 of a file;
      or a ``bgknown.sounds.SoundList``. Empty says that it was not trained, None that this is unknown;
    - ``training_settings``: a dictionary of text and numbers that says how it was trained, such as
      ``{"objective.lambda": 0.5, "training.seed": 0}``; it is stored with results, for ``benchmark plot lambda``.
    """

    name: str
    """The name of the encoder in results."""
    rate_hz: int
    """The sampling rate that its input must have."""
    embedding_size: int
    """D."""

    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch: [B, N] float32 -> [B, D] float32, without gradients, each clip independently of the others."""
        ...


@runtime_checkable
class TrainingAudio(Protocol):
    """A task's training audio, decoded on request, so that memory does not grow with the number of clips."""

    @property
    def lengths(self) -> Sequence[int]:
        """N of every clip."""
        ...

    def __len__(self) -> int:
        """The number of batches that an iteration gives."""
        ...

    def __iter__(self) -> Iterator[Tensor]:
        """Batches [B, N] where the encoder is; each iteration decodes the audio again."""
        ...

    def read(self, numbers: Sequence[int]) -> list[Tensor]:
        """Clips [N] on the CPU by their numbers, 0 <= number < len(lengths)."""
        ...


@runtime_checkable
class FittedEncoder(Encoder, Protocol):
    """An encoder that needs statistics of a task's training audio."""

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take the statistics from audio batches [B, N]."""
        ...


@runtime_checkable
class FrameEncoder(Encoder, Protocol):
    """An encoder that also gives one embedding per frame."""

    def frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N] -> embeddings [B, T, D'] and the frames' centres in milliseconds [B, T]."""
        ...


@runtime_checkable
class TextAudioEncoder(Encoder, Protocol):
    """An encoder with a text tower."""

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts -> [B, D] float32, in the space of its audio."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedEncoder:
    """An encoder together with what identifies it."""

    encoder: Encoder
    """The encoder."""
    spec: str
    """What was requested: a name, a file, ``kind:...``."""
    kind: str
    """The kind that loaded it."""
    weights_sha256: str
    """SHA-256 of the file, or of all files of the folder, that the weights come from; of the parameters themselves
    where code made them; empty where there are none."""
    configuration: dict[str, Any] = field(default_factory=dict)
    """Everything besides the weights that its embeddings depend on."""
    device: str = "cpu"
    """The device that it is on, where it expects audio."""
    trained_on: SoundList | None = None
    """The sounds that it was trained on, empty for none; None where that is unknown. Its embeddings do not depend on
    it, so it is no part of ``key``."""
    training_settings: dict[str, str | int | float] = field(default_factory=dict)
    """How it was trained, as far as it says; no part of ``key`` either."""

    @property
    def name(self) -> str:
        """The name of the encoder in results."""
        return self.encoder.name

    @property
    def key(self) -> str:
        """64 hexadecimal digits that change whenever weights or configuration do; the name is not part of it."""
        facts = {
            "weights_sha256": self.weights_sha256,
            "kind": self.kind,
            "rate_hz": self.encoder.rate_hz,
            "embedding_size": self.encoder.embedding_size,
            "configuration": self.configuration,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def check_output(encoder: Encoder, output: object, batch: int, *, finite: bool = True) -> Tensor:
    """Check that an encoder's output keeps the contract.

    Args:
        encoder: the encoder, for its name and embedding size.
        output: what ``embed`` returned.
        batch: the number of clips it was given.
        finite: also check that all values are finite.

    Returns:
        [B, D] float32 on the CPU.

    Raises:
        InvalidInputError: it is not a tensor, has another shape or type, or holds NaN or infinite values.
    """
    import torch  # noqa: PLC0415

    expected = [batch, encoder.embedding_size]
    if not isinstance(output, torch.Tensor):
        raise InvalidInputError(
            f"encoder {encoder.name}: embed returned {type(output).__name__}; it must return a tensor {expected}"
        )
    if output.layout is not torch.strided:
        raise InvalidInputError(f"encoder {encoder.name}: embed returned a sparse tensor; it must return a dense one")
    if list(output.shape) != expected:
        raise InvalidInputError(
            f"encoder {encoder.name}: embed returned shape {list(output.shape)}; it must be {expected}"
        )
    if not output.dtype.is_floating_point:
        raise InvalidInputError(f"encoder {encoder.name}: embed returned {output.dtype}; it must be float32")
    embeddings = output.detach().float().cpu()
    bad = ~torch.isfinite(embeddings).all(dim=1)
    if finite and bool(bad.any()):
        raise InvalidInputError(
            f"encoder {encoder.name}: embed returned NaN or infinite values for {int(bad.sum())} of {batch} clips; "
            f"`benchmark check` shows its output for silence, noise and extremes"
        )
    return embeddings
