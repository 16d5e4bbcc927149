"""Damage every kind of cache in many ways, and see that it is made again: never an error, never another value.

    python -m tests.fuzz.caches --cases 500 --seed 0 [--kind texts]

Each case makes one file of a cache worse than it was and uses the cache. It may give what was stored or nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmark.embedding import hashes, texts
from benchmark.embedding.clips import Clip
from benchmark.embedding.store import list_stores, open_store
from benchmark.predictions import PREDICTION_COLUMNS
from benchmark.results.run_folder import read_configuration, write_run
from benchmark.resuming import TrainingState
from bgknown.corpora import miniature
from bgknown.errors import BrokenInputError
from bgknown.jobs.files import FileState, hash_file
from bgknown.jobs.units import FinishedUnit, read_units, write_units
from bgknown.mixtures.build import open_workspace
from pretrain.pack import PackOptions, pack
from tests.conftest import noise, write_wav


def mutate(data: bytes, draw: random.Random) -> bytes:
    """One to three changes of a file's bytes."""
    content = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(content) + 1)
        size = draw.choice((1, 1, 2, 8, 64))
        match draw.randrange(9):
            case 0 if content:
                content[place % len(content)] ^= 1 << draw.randrange(8)
            case 1:
                del content[place : place + size]
            case 2:
                content[place:place] = draw.randbytes(size)
            case 3:
                del content[place:]
            case 4:
                content[place : place + size] = bytes(size)
            case 5:
                content[place : place + size] = draw.randbytes(size)
            case 6:
                content[place:place] = content[max(0, place - size) : place]
            case 7:
                content[place : place + 1] = draw.choice((b"\xff", b"\0", b'"', b",", b"\n", b"{", b"9" * 5_000))
            case _:
                content = bytearray(draw.choice((b"", b"[]", b"{}", b"null", b"[" * 100_000, b"../../x", data[:-1])))
    return bytes(content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A kind of cache."""

    make: Callable[[Path], object]
    """Fill a folder; gives what ``use`` is told."""
    use: Callable[[Path, object], bool]
    """Use what is there; gives whether it was kept. Asserts that no value is another."""
    files: str = "**/*"
    """The files that are damaged."""


def make_store(folder: Path) -> object:
    first = open_store(folder / "cache", "a" * 64, 3, {"name": "x", "weights_sha256": "1", "precision": "float32"})
    store = first.start_empty()
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    items = [
        (
            Clip(path=folder / f"{i}, \n.wav", duration_s=float(i + 1)),
            FileState(size=9, mtime_ns=i, inode=i, ctime_ns=i),
        )
        for i in range(4)
    ]
    store.append(rows, [(clip, state, f"{i}" * 64) for i, (clip, state) in enumerate(items)])
    store.alias([store.find_audio("0" * 64, items[0][0].crop)], [(items[0][0], items[1][1])])
    store.close()
    return rows, items


def use_store(folder: Path, made: object) -> bool:
    rows, items = made
    for facts, _ in list_stores(folder / "cache"):
        assert isinstance(facts.get("name", "?"), str)
    store = open_store(folder / "cache", "a" * 64, 3, {"name": "x"})
    assert store.folder.is_relative_to(folder / "cache" / "embeddings" / ("a" * 32))
    kept = 0
    for place, (clip, state) in enumerate(items):
        for entry in (store.find(clip, state), store.find_audio(f"{place}" * 64, clip.crop)):
            if entry is not None:
                assert np.array_equal(store.gather([entry])[0], rows[place])
                assert entry.part.is_relative_to(folder)
                kept += 1
        for other in (other for other in items if other[0] != clip):
            assert store.find(clip, other[1]) is None or place == 0
    return kept == 2 * len(items)


TEXTS = {f"add the {name}": np.full(5, place, np.float32) for place, name in enumerate(("dog", "rain, again", "鳥"))}


def use_texts(folder: Path, _: object) -> bool:
    found = texts._load(folder / "texts.npz")
    for text, row in found.items():
        assert np.array_equal(row, TEXTS[text])
    return found.keys() == TEXTS.keys()


STATE = {
    "parameters": {"weight": torch.arange(6.0).view(2, 3), "lr": [1e-3, 0.1]},
    "epochs": [3, 4],
    "best": torch.ones(2),
}


def use_probe(folder: Path, _: object) -> bool:
    state = TrainingState(folder, "x").load()
    if state is None:
        return False
    assert torch.equal(state["parameters"]["weight"], STATE["parameters"]["weight"])
    assert state["parameters"]["lr"] == STATE["parameters"]["lr"]
    assert state["epochs"] == STATE["epochs"]
    assert torch.equal(state["best"], STATE["best"])
    return True


def make_hashes(folder: Path) -> object:
    paths = []
    for number in range(3):
        paths.append(folder / "audio" / f"{number}, é.wav")
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_bytes(bytes(number))
    hashes.hash_contents(paths, cache=folder / "cache")
    return paths


def use_hashes(folder: Path, made: object) -> bool:
    assert hashes.hash_contents(made, cache=folder / "cache") == [hash_file(path) for path in made]
    return True


DESCRIPTION = {"name": "x", "configuration": {"seed": 0}, "draw": None, "corpora": {}, "inputs": {"files": 2}}
PLAN = {"stamp": "s", "recipe": [{"clip_id": "a", "snr_db": 1.5}], "problems": []}
ROWS = [
    FinishedUnit(name=f"row {number}", digest=f"{number}" * 8, record={"scale": 0.1 + number}, files=())
    for number in range(4)
]


def make_workspace(folder: Path) -> object:
    workspace = open_workspace(folder)
    with workspace.claim(DESCRIPTION):
        workspace.write_plan(PLAN)
        for row in ROWS:
            write_units(workspace.journal, [row])
    (folder / ".work" / "lock").unlink(missing_ok=True)
    return None


def use_workspace(folder: Path, _: object) -> bool:
    workspace = open_workspace(folder)
    with workspace.claim(DESCRIPTION) as finished:
        assert not finished
        plan, rows = workspace.read_plan(), list(read_units(workspace.journal))
        assert plan in (None, PLAN)
        assert all(row in ROWS for row in rows)
    return plan == PLAN and len(rows) == len(ROWS)


def make_packing(folder: Path) -> object:
    for number in range(3):
        write_wav(folder / "audio" / f"{number}.wav", noise(0.05, number), 16_000)
    (folder / "audio" / "9.wav").write_bytes(b"broken")
    pack(_packing(folder, "whole", skip_broken=True))
    try:
        pack(_packing(folder, "out"))
    except BrokenInputError:
        return {path.name: path.read_bytes() for path in (folder / "whole").iterdir() if path.is_file()}
    raise AssertionError("a broken file was packed")


def use_packing(folder: Path, made: object) -> bool:
    report = pack(_packing(folder, "out", skip_broken=True))
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir() if path.is_file()} == made
    return report.kept == 3


def _packing(folder: Path, name: str, **options: bool) -> PackOptions:
    return PackOptions(audio=(folder / "audio",), out=folder / name, jobs=1, **options)


CONFIG = {"encoder": "x", "settings": {"clip": "the clip"}, "text_encoder": {"sha256": "1"}, "lr": 1e-3, "limit": None}


def make_run(folder: Path) -> object:
    row = dict.fromkeys(PREDICTION_COLUMNS, "a") | {"score": 1.0}
    write_run(folder, "run", config=CONFIG, predictions=pd.DataFrame([row]))
    return read_configuration(folder / "runs" / "run")


def use_run(folder: Path, made: object) -> bool:
    found = read_configuration(folder / "runs" / "run")
    assert found in (None, made)
    return found is not None


def use_miniature(folder: Path, made: object) -> bool:
    wanted, files = made
    kept = miniature._is_made(folder / "ESC-50", wanted)
    assert not kept or all((folder / name).read_bytes() == data for name, data in files.items())
    return kept


def make_miniature(folder: Path) -> object:
    def maker(aside: Path) -> None:
        write_wav(aside / "audio" / "1.wav", noise(0.01, 1))
        (aside / "table.csv").write_text("a,b\n1,2\n")

    miniature._make_whole(folder / "ESC-50", maker, "miniature 1\n")
    files = [path for path in (folder / "ESC-50").rglob("*") if path.is_file()]
    return "miniature 1\n", {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


CACHES = {
    "embeddings": Cache(make=make_store, use=use_store),
    "texts": Cache(make=lambda folder: texts._save(folder / "texts.npz", TEXTS), use=use_texts),
    "probes": Cache(make=lambda folder: TrainingState(folder, "x").store(STATE), use=use_probe),
    "hashes": Cache(make=make_hashes, use=use_hashes, files="cache/**/*"),
    "workspace": Cache(make=make_workspace, use=use_workspace, files=".work/*"),
    "packing": Cache(make=make_packing, use=use_packing, files="out/.work/*.json*"),
    "run": Cache(make=make_run, use=use_run, files="runs/run/config.json"),
    "miniature": Cache(make=make_miniature, use=use_miniature),
}


def cases(kind: str, count: int, seed: int) -> Iterator[str]:
    """Outcomes: ``kept``, ``made again``, or what went wrong."""
    cache = CACHES[kind]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "here"
        folder.mkdir()
        made = cache.make(folder)
        whole = _contents(folder)
        damaged = sorted(path for path in folder.glob(cache.files) if path.is_file())
        assert damaged
        for number in range(count):
            draw = random.Random(f"{seed} {kind} {number}")
            path = damaged[number % len(damaged)]
            path.write_bytes(mutate(whole[path], draw))
            try:
                yield "kept" if cache.use(folder, made) else "made again"
            except Exception:  # noqa: BLE001  (whatever it is, it is what is looked for)
                yield f"{kind} {number} ({path.relative_to(folder)}): {traceback.format_exc(limit=-3)}"
            assert _only(Path(name)) == {"here"}, f"{kind} {number} wrote outside"
            _restore(folder, whole)


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _restore(folder: Path, whole: dict[Path, bytes]) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path not in whole:
            path.unlink()
    for path, data in whole.items():
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _only(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def main() -> None:
    """Run the cases that were asked for and print how often each outcome came."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=CACHES, action="append")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    bad = 0
    for kind in asked.kind or CACHES:
        outcomes = Counter(cases(kind, asked.cases, asked.seed))
        faults = {text: count for text, count in outcomes.items() if text not in {"kept", "made again"}}
        bad += len(faults)
        print(json.dumps({"kind": kind, "cases": asked.cases, **{k: outcomes[k] for k in ("kept", "made again")}}))
        for text in faults:
            print(text)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
