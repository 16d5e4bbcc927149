"""The kinds of encoders that come with this software: how each is written, what it is, which module loads it.

``registry`` says what the module of a kind must define.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.encoders.options import OptionFacts

CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors")
"""Suffixes of files whose content decides their kind."""
IN_FILES = ("torchscript", "exported", "onnx")
"""Kinds whose target is a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of encoder."""

    name: str
    """The part before the colon, or the whole name."""
    syntax: str
    """How it is written."""
    about: str
    """What it is."""
    module: str
    """The module that loads it."""
    runs_code: bool = False
    """Whether loading runs arbitrary code."""
    options: tuple[OptionFacts, ...] = ()
    """The options that may follow the ``?``."""


_ADAPTERS = "benchmark.encoders.adapters"
BUILT_IN = {
    kind.name: kind
    for kind in (
        Kind(
            name="logmel",
            syntax="logmel",
            about="mean and standard deviation of the log-mel spectrogram over time",
            module=f"{_ADAPTERS}.logmel",
        ),
        Kind(
            name="melpower",
            syntax="melpower",
            about="mean mel power over time: linear in power, so differences are nearly exact",
            module=f"{_ADAPTERS}.melpower",
        ),
        Kind(
            name="hf",
            syntax="hf:DIRECTORY-OR-ID",
            about="an audio model of transformers: wav2vec 2.0, HuBERT, AST, CLAP, Whisper, SpeechT5, Qwen2-Audio, ...",
            module=f"{_ADAPTERS}.huggingface",
        ),
        Kind(
            name="torchscript",
            syntax="FILE.pt",
            about="a TorchScript program: audio [B, N] to embeddings [B, D]",
            module=f"{_ADAPTERS}.torchscript",
            runs_code=True,
        ),
        Kind(
            name="exported",
            syntax="FILE.pt2",
            about="a program of torch.export: audio [B, N] to embeddings [B, D]",
            module=f"{_ADAPTERS}.exported",
            runs_code=True,
        ),
        Kind(
            name="onnx",
            syntax="FILE.onnx",
            about="an ONNX model: audio [B, N] to embeddings [B, D]",
            module=f"{_ADAPTERS}.onnx",
        ),
        Kind(
            name="hear",
            syntax="hear:MODULE[@WEIGHTS]",
            about="a module of HEAR's interface (load_model, get_scene_embeddings)",
            module=f"{_ADAPTERS}.hear",
            runs_code=True,
        ),
        Kind(
            name="evar",
            syntax="evar:MODULE.CLASS",
            about="a class of EVAR's interface (BaseAudioRepr)",
            module=f"{_ADAPTERS}.evar",
            runs_code=True,
        ),
        Kind(
            name="xares",
            syntax="xares:FILE.py[:CLASS]",
            about="an encoder class of X-ARES",
            module=f"{_ADAPTERS}.xares",
            runs_code=True,
        ),
        Kind(
            name="mteb",
            syntax="mteb:NAME[@FOLDER] or mteb:FILE.py:OBJECT",
            about="an audio model of mteb, by its name there, or an object of mteb's interface",
            module=f"{_ADAPTERS}.mteb",
            runs_code=True,
        ),
        Kind(
            name="python",
            syntax="FILE.py:CLASS or PACKAGE.MODULE:FACTORY",
            about="a Python object with name, rate_hz, embedding_size and embed, or a torch module with rate_hz",
            module=f"{_ADAPTERS}.python",
            runs_code=True,
        ),
    )
}
"""The kinds by name."""
