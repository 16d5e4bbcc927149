"""Parsers of the package pretrain: configuration, packed corpus, journal, checkpoints, log."""

from __future__ import annotations

import io
import json
import random
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from bgknown.jobs.files import hash_bytes
from bgknown.jobs.problems import Problem
from bgknown.jobs.sealed import add_check
from bgknown.jobs.units import StoredBytes
from pretrain.checkpoint import load_checkpoint, make_entries, write_encoder
from pretrain.config import read_config
from pretrain.corpus import open_corpus, read_card
from pretrain.export import export
from pretrain.frontend import FrontEnd, Statistics
from pretrain.networks import AudioNTT2022
from pretrain.pack_journal import PART_FILE, PackedFile, read_packed
from pretrain.progress import COLUMNS, read_rows_up_to
from tests.fuzz.mutate import mutate, tree
from tests.fuzz.runner import Target

_INDEX = b"file,start,length,sha256\na.wav,0,4,00\n007.wav,4,6,NA\n"
_CORPUS = {
    "format": "bgknown-corpus-1",
    "rate_hz": 16_000,
    "configuration": {"folders": ["x"], "match": [], "sample": 0, "seed": 0},
    "counts": {"clips": 2, "hours": 0.1, "broken": 0},
    "index_sha256": hash_bytes(_INDEX),
}
_CARD = {
    "name": "x",
    "steps_done": 3,
    "steps": 4,
    "version": "0.2.0",
    "commit": "",
    "torch": "2",
    "config": read_config("smoke").tables(),
    "corpus": {
        **{"clips": 2, "hours": 0.1, "broken": 0, "folders": ["x"], "match": [], "sample": 1, "seed": 0},
        "index_sha256": "0",
    },
}
_NETWORK = AudioNTT2022(n_mels=64, d=1032, hidden=8)


def _corpus(folder: Path) -> None:
    (folder / "audio.i16").write_bytes(b"\0" * 20)
    (folder / "index.csv").write_bytes(_INDEX)
    (folder / "corpus.json").write_text(json.dumps(_CORPUS))


def _open(folder: Path) -> None:
    corpus = open_corpus(folder)
    read_card(folder)
    len(corpus)


def _index(folder: Path) -> None:
    """The index with the hash that belongs to it, or every case would end there."""
    content = {**_CORPUS, "index_sha256": hash_bytes((folder / "index.csv").read_bytes())}
    (folder / "corpus.json").write_text(json.dumps(content))
    _open(folder)


def _journal(folder: Path) -> None:
    for file in read_packed(folder / "journal.jsonl", ["a", "b", "c"]):
        json.dumps([*file.samples, file.sha256])


def _entries() -> dict[str, object]:
    return make_entries(_NETWORK, FrontEnd(), Statistics(mean=-4.0, std=4.0), card=_CARD)


def _saved(content: object) -> bytes:
    data = io.BytesIO()
    torch.save(content, data)
    return data.getvalue()


def _checkpoint_mutation(data: bytes, draw: random.Random) -> bytes:
    """Values of the checkpoint replaced, its tensors left as they are in most cases."""
    if draw.random() < 0.3:
        return mutate("bytes", data, draw)
    content = torch.load(io.BytesIO(data), weights_only=True)
    weights = content.pop("encoder")
    changed = tree(content, draw)
    if isinstance(changed, dict) and draw.random() < 0.9:
        changed["encoder"] = tree(weights, draw) if draw.random() < 0.2 else weights
    return _saved(changed)


def _checkpoint(folder: Path) -> None:
    load_checkpoint(folder / "checkpoint.pt")


def _export(folder: Path) -> None:
    export(folder / "checkpoint.pt", folder / "e.safetensors")


def _safetensors() -> list[bytes]:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "x.safetensors"
        write_encoder(path, _NETWORK, FrontEnd(), Statistics(mean=-4.0, std=4.0), card=_CARD)
        return [path.read_bytes()]


_ENTRIES = [
    asdict(file.to_unit())
    for file in (
        PackedFile(name="a", audio=StoredBytes(file=PART_FILE, sha256="0", state=[1], size=6)),
        PackedFile(name="b", problem=Problem(where="b", code="missing", what="x")),
        PackedFile(name="c", audio=StoredBytes(file=PART_FILE, sha256="0", state=[1], start=6, size=10), clipped=True),
    )
]
_LOG = [",".join(COLUMNS), *(",".join([str(step), *["0.5"] * (len(COLUMNS) - 1)]) for step in (20, 40))]

TARGETS = [
    Target(
        name="pretrain config",
        kind="toml",
        place="c.toml",
        seed_inputs=lambda: [read_config("smoke").as_toml().encode()],
        call=lambda folder: read_config(str(folder / "c.toml"), ["training.batch=32"]),
    ),
    Target(
        name="corpus.json",
        kind="json",
        place="corpus.json",
        seed_inputs=lambda: [json.dumps(_CORPUS).encode()],
        call=_open,
        surround=_corpus,
    ),
    Target(
        name="index.csv", kind="csv", place="index.csv", seed_inputs=lambda: [_INDEX], call=_index, surround=_corpus
    ),
    Target(
        name="pack journal",
        kind="lines",
        place="journal.jsonl",
        seed_inputs=lambda: ["\n".join(map(json.dumps, map(add_check, _ENTRIES))).encode()],
        call=_journal,
    ),
    Target(
        name="log.csv",
        kind="csv",
        place="log.csv",
        seed_inputs=lambda: ["\n".join(_LOG).encode()],
        call=lambda folder: read_rows_up_to(folder / "log.csv", 30),
    ),
    Target(
        name="checkpoint",
        place="checkpoint.pt",
        seed_inputs=lambda: [_saved(_entries())],
        call=_checkpoint,
        mutation=_checkpoint_mutation,
        ci_cases=8,
        pickles=True,
    ),
    Target(
        name="model card",
        place="checkpoint.pt",
        seed_inputs=lambda: [_saved(_entries())],
        call=_export,
        mutation=_checkpoint_mutation,
        ci_cases=8,
        pickles=True,
    ),
    Target(
        name="safetensors",
        kind="safetensors",
        place="x.safetensors",
        seed_inputs=_safetensors,
        call=lambda folder: load_checkpoint(folder / "x.safetensors"),
    ),
]
