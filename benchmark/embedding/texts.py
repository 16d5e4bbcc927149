"""Frozen text encoders: any text model of transformers, from a folder or by its id on the hub; cached by text.

The embedding of a text is the mean of its tokens' last hidden states, padding left out (``mean``), or that of its first
token (``cls``), as in Takeuchi et al., section 5.3, which take DistilBERT.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from benchmark import processes
from benchmark.encoders.adapters.foreign import explain_failure
from benchmark.encoders.adapters.hf_loading import check_tensors, check_whole_model, load_with_report
from benchmark.encoders.adapters.snapshot import (
    FACT_FILES,
    WEIGHTS,
    explain_loading_failure,
    find_model_folder,
    import_transformers,
    silence,
)
from benchmark.encoders.fingerprint import hash_weights
from benchmark.protocol import TEXT_ENCODER
from bgknown.errors import InvalidInputError
from bgknown.jobs.caches import TEXT_EMBEDDINGS
from bgknown.jobs.files import advise_option, hash_bytes, make_folder
from bgknown.jobs.sealed import unseal, write_sealed
from bgknown.userpath import expand

log = logging.getLogger(__name__)


POOLINGS = ("mean", "cls")
BATCH = 256
"""Texts in a batch."""
INTERVAL_S = 60.0
"""Embeddings are stored after the first batch that ends at least this long after the last time."""
KIND = "text encoder "
"""What precedes its name in messages."""
PROBE = "add the sound of a dog, and make the rain louder"
"""A text that a model is tried on."""


class BrokenTextsError(InvalidInputError):
    """A text encoder gives NaN or infinite values for some texts."""

    def __init__(self, encoder: str, texts: Sequence[str]) -> None:
        more = f" and {len(texts) - 1:,} more texts" if len(texts) > 1 else ""
        super().__init__(f"{KIND}{encoder}: gives NaN or infinite values for {texts[0]!r}{more}")
        self.texts = frozenset(texts)
        """The texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoder:
    """A frozen text model with its tokenizer."""

    name: str
    """Its name: that of the folder, or the id on the hub."""
    pooling: str
    """``mean`` or ``cls``."""
    sha256: str
    """SHA-256 of the model's files."""
    model: Any
    """The model."""
    tokenizer: Any
    """Its tokenizer."""
    device: str
    """The device that it is on."""

    @property
    def embedding_size(self) -> int:
        """D."""
        return int(self.model.config.hidden_size)

    def facts(self) -> dict[str, str]:
        """What its embeddings depend on, writable as JSON."""
        return {
            "name": self.name,
            "pooling": self.pooling,
            "sha256": self.sha256,
            "transformers": str(import_transformers().__version__),
        }

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embed a batch of texts: [B, D] float32 on the CPU.

        Raises:
            BrokenTextsError: the model gives NaN or infinite values for some texts.
            InvalidInputError: the model fails.
        """
        with explain_failure(f"text encoder {self.name}", "fails on a batch of texts"):
            tokens = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(self.device)
            pooled = _pooled(self.model(**tokens).last_hidden_state, tokens["attention_mask"], self.pooling)
        finite = torch.isfinite(pooled).all(dim=1).tolist()
        if not all(finite):
            raise BrokenTextsError(self.name, [text for text, good in zip(texts, finite, strict=True) if not good])
        found: Tensor = pooled.float().cpu()
        return found


def load_text_encoder(target: str = TEXT_ENCODER, *, pooling: str = "mean", device: str = "cpu") -> TextEncoder:
    """Load a text encoder.

    Args:
        target: a folder that ``save_pretrained`` wrote, or an id on the hub.
        pooling: ``mean`` or ``cls``.
        device: where it runs.

    Raises:
        NotFoundError: transformers is not installed, or there is no such model, or the hub cannot be reached; says
            the two ways out.
        InvalidInputError: the model is no text model, or its files are damaged.
    """
    if pooling not in POOLINGS:
        raise InvalidInputError(f"text pooling is {pooling!r}; it must be one of {', '.join(POOLINGS)}")
    target = expand(target)
    transformers = import_transformers()
    folder = find_model_folder(target, kind=KIND)
    check_whole_model(folder, target, kind=KIND)
    if not (folder / "config.json").is_file():
        raise InvalidInputError(f"{KIND}{target}: this folder does not hold a complete model (config.json is missing)")
    with silence(transformers), explain_loading_failure(target, kind=KIND):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    whole, report = load_with_report(transformers.AutoModel, folder, target, kind=KIND)
    model = _text_part(whole)
    if not hasattr(model.config, "vocab_size") or tokenizer.pad_token is None:
        raise InvalidInputError(
            f"{KIND}{target}: {type(whole).__name__} is not a text model, or its tokenizer "
            "does not have a padding token"
        )
    tokens = tokenizer([PROBE], return_tensors="pt")
    with torch.no_grad(), explain_loading_failure(target, kind=KIND, what="fails on a text"):
        check_tensors(
            whole,
            report,
            lambda: _pooled(model(**tokens).last_hidden_state, tokens["attention_mask"], pooling),
            f"{KIND}{target}",
        )
    files = sorted(file for pattern in (*FACT_FILES, *WEIGHTS) for file in folder.glob(pattern))
    return TextEncoder(
        name=Path(target).absolute().name if Path(target).is_dir() else target,  # a link has its own name
        pooling=pooling,
        sha256=hash_weights(whole, files),
        model=model.to(device),
        tokenizer=tokenizer,
        device=device,
    )


def _pooled(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Pool hidden states [B, T, D]: the mean over a text's tokens, or the first token."""
    if pooling == "cls":
        return hidden[:, 0]
    own = mask.unsqueeze(2).to(hidden.dtype)
    return (hidden * own).sum(dim=1) / own.sum(dim=1).clamp(min=1)


def _text_part(model: Any) -> Any:
    """The part of a model that reads text: the encoder of T5 or BART, the text tower of CLIP or CLAP."""
    if getattr(model.config, "is_encoder_decoder", False):
        return model.get_encoder()
    return getattr(model, "text_model", model)


def embed_texts(
    encoder: TextEncoder, texts: Sequence[str], cache: Path
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embed texts, each distinct one once, from the cache where it holds them.

    Args:
        encoder: the text encoder.
        texts: [n] texts; the same may come many times.
        cache: the cache folder.

    Returns:
        [m, D] embeddings of the different texts, sorted, and for each of the n its row.

    Raises:
        BrokenTextsError: the encoder gives NaN or infinite values for some texts; names all, the others are cached.
        StorageError: the cache cannot be written.
    """
    unique = sorted(set(texts))
    known = _load(_path(encoder, cache))
    missing = sorted((text for text in unique if text not in known), key=len)  # similar lengths, so little padding
    broken: list[str] = []
    quietly, stored = processes.rank() > 0 or not sys.stderr.isatty(), time.monotonic()
    with tqdm(total=len(missing), desc=f"texts {encoder.name}", unit="text", disable=quietly, leave=False) as bar:
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            try:
                rows = encoder.embed(batch)
            except BrokenTextsError as error:
                broken += sorted(error.texts)
                batch = [text for text in batch if text not in error.texts]
                if not batch:
                    continue
                rows = encoder.embed(batch)
            known.update(zip(batch, rows.numpy(), strict=True))
            bar.update(len(batch))
            if processes.rank() == 0 and time.monotonic() - stored >= INTERVAL_S:
                _save(_path(encoder, cache), known)
                stored = time.monotonic()
    if len(missing) > len(broken) and processes.rank() == 0:
        _save(_path(encoder, cache), known)
    if broken:
        raise BrokenTextsError(encoder.name, broken)
    place = {text: row for row, text in enumerate(unique)}
    return np.stack([known[text] for text in unique]), np.array([place[text] for text in texts], dtype=np.int64)


def _path(encoder: TextEncoder, cache: Path) -> Path:
    facts = {name: value for name, value in encoder.facts().items() if name != "name"}
    return cache / TEXT_EMBEDDINGS.folder / f"{hash_bytes(repr(sorted(facts.items())).encode())[:32]}.npz"


def _load(path: Path) -> dict[str, NDArray[np.float32]]:
    """Cached embeddings by text; empty where there are none, or they are damaged.

    A cache of 0.1.0 has no checksum of its own; that of its zip members decides.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    content = unseal(data)
    try:
        with np.load(io.BytesIO(data if content is None else content), allow_pickle=False) as stored:
            if stored.zip.testzip() is not None:
                return {}
            texts, rows = stored["texts"], stored["rows"]
    except Exception as error:  # noqa: BLE001  (without a checksum, a damaged zip or header raises almost anything)
        log.warning("%s is damaged (%s); its texts are embedded again", path, type(error).__name__)
        return {}
    sound = texts.dtype.kind == "U" and rows.dtype == np.float32 and rows.ndim == 2 and texts.shape == rows.shape[:1]
    if not sound or not np.isfinite(rows).all():
        return {}
    return {str(text): row for text, row in zip(texts.tolist(), rows, strict=True)}


@advise_option("--cache")
def _save(path: Path, known: Mapping[str, NDArray[np.float32]]) -> None:
    texts = sorted(known)
    data = io.BytesIO()
    np.savez(data, texts=np.array(texts), rows=np.stack([known[text] for text in texts]))
    make_folder(path.parent)
    write_sealed(path, data.getbuffer())
