"""Parsers of the package benchmark: corpora, own tables, splits, results, runs, protocols, encoders' files."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmark import tasks
from benchmark.encoders.adapters import checkpoint, evar
from benchmark.predictions import read_predictions
from benchmark.protocol import open_protocol
from benchmark.results.export import FORMATS
from benchmark.results.leaderboard import arrange
from benchmark.results.rows import ResultRow, read_rows
from benchmark.results.rows import format_rows as rows_as_csv
from benchmark.results.run_folder import read_configuration, write_run
from benchmark.tasks import labelled, splits
from benchmark.tasks.contract import TaskOptions
from bgknown.errors import BgknownError
from tests.fuzz.mutate import TEXTS, mutate
from tests.fuzz.runner import Target, fresh

OWN = b"file_name,label,split,group\na/1.wav,dog,train,x\na/2.wav,cat,valid,y\nb/1.wav,dog,test,z\n"
FOLDS = b"file,label,fold\na/1.wav,dog,1\nb/1.wav,dog,2.0\n"
EVAR = (
    b"sample_rate: 16000\nfeature_d: 3072\nweight_file: w.pth\nn_fft: 1024\nnested: {a: [1, 2]}\nname: 'x'\nrun: true\n"
)
PROTOCOL = (
    b"lr = 1e-3\nbatch_size = 64\nmax_epochs = 3\nseeds = 2\nvalidation_share = 0.2\n[retrieval]\nbatch_size = 8\n"
)
CONFIG = {
    "encoder": "x",
    "settings": {"mix": "y_mix"},
    "encoder_configuration": {"a": 1},
    "text_encoder": {"name": "d", "sha256": "0"},
    "notes": ["a"],
}


def _row(**changes: Any) -> ResultRow:
    facts = {"encoder": "x", "task": "esc50", "setting": "clip", "metric": "accuracy", "protocol": "evar", "mean": 50.0}
    return ResultRow(**{**facts, "std": 1.0, "low": 45.0, "high": 55.0, "seeds": 3, "n_test": 400, **changes})


def _board() -> list[bytes]:
    return [rows_as_csv([_row(), _row(encoder="=y", setting="a"), _row(task="bgknown", setting="mix")]).encode()]


def _show(folder: Path) -> None:
    board = arrange(read_rows(folder))
    for write in FORMATS.values():
        write(board).encode("utf-8", "surrogateescape")


def _predictions() -> list[bytes]:
    row = {"task": "x", "setting": "clip", "metric": "accuracy", "fold": "1", "seed": 0, "clip_id": "a", "label": "-1"}
    row |= {"predicted": "=b", "score": 1}
    with tempfile.TemporaryDirectory() as made:
        write_run(Path(made), "run", config={}, predictions=pd.DataFrame([row, {**row, "clip_id": "b"}]))
        return [(Path(made) / "runs/run/predictions.csv").read_bytes()]


def _own(folder: Path) -> None:
    name = str(folder / "my.csv") + "?duration_s=1"
    tasks.read_facts(name)
    options = TaskOptions(cache=folder / "cache", skip_broken=True)
    with contextlib.suppress(BgknownError):  # no clip is there
        tasks.prepare(name, folder, options)


def _splits(folder: Path) -> None:
    corpus = pd.DataFrame({"file": ["a/1.wav", "a/2.wav", "b/1.wav"], "group": ""})
    table = splits.apply_splits(folder / "splits.csv", corpus, folder)
    labelled.check_table(table, "x")


def _index(name: str) -> Any:
    def read(folder: Path) -> None:
        table = tasks.load_task(name).index(folder)
        labelled.check_table(table, name)
        for file in table["file"].head(50):
            (folder / file).is_file()

    return read


def _touch(*files: str) -> Any:
    def surround(folder: Path) -> None:
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()

    return surround


def _nsynth(folder: Path) -> None:
    for split in ("train", "valid", "test"):
        (folder / f"nsynth-{split}").mkdir()
        about = {"instrument_family_str": "bass", "instrument_str": split}
        (folder / f"nsynth-{split}/examples.json").write_text(json.dumps({f"{split}-1": about}))


def _names(name: str, below: str = "") -> Any:
    """Make empty files of the names that the lines give, as far as they can be made, and list them."""

    def read(folder: Path) -> None:
        root = folder / "corpus"
        for line in (folder / "names.txt").read_bytes().split(b"\n"):
            text = line.decode("utf-8", "surrogateescape")
            if text and "\0" not in text and ".." not in text and not text.startswith("/"):
                with contextlib.suppress(OSError):
                    (root / below / text).parent.mkdir(parents=True, exist_ok=True)
                    (root / below / text).touch()
        try:
            _index(name)(root)
        finally:
            fresh(root)

    return read


def _evar(folder: Path, suffix: str) -> None:
    options = evar.Options(config=str(folder / f"c{suffix}"))
    fields = evar._make_configuration(options)
    if not str(fields["weight_file"]).startswith(("/", ".", "~")):  # the user's own word, which may be any folder
        evar.weights_of("x.Y", options)
    evar.Configuration(fields)
    json.dumps(json.loads(json.dumps(fields, default=str)), allow_nan=False)


def _configuration(folder: Path) -> None:
    found = read_configuration(folder) or {}
    set(found.get("settings", {}))
    found.get("text_encoder", {}).get("sha256")


def _torch_files() -> list[bytes]:
    found = []
    for content in ({"model": {"a.weight": torch.zeros(2, 2)}, "epoch": 3}, {"a": {"b": {"c": torch.zeros(1)}}}):
        data = io.BytesIO()
        torch.save(content, data)
        found.append(data.getvalue())
    return found


def _onnx_files() -> list[bytes]:
    import onnx  # noqa: PLC0415

    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in {"location": "w.bin", "offset": "0", "length": "8"}.items():
        tensor.external_data.add(key=key, value=value)
    graph = onnx.GraphProto(name="g", initializer=[tensor])
    model = onnx.ModelProto(ir_version=8, graph=graph)
    model.metadata_props.add(key="rate_hz", value="16000")
    return [model.SerializeToString()]


def _onnx_mutation(data: bytes, draw: random.Random) -> bytes:
    import onnx  # noqa: PLC0415

    if draw.random() < 0.5:
        return mutate("bytes", data, draw)
    model = onnx.ModelProto.FromString(data)
    text = draw.choice(TEXTS)
    model.graph.initializer[0].external_data[0].value = text.encode("utf-8", "replace").decode()
    return bytes(model.SerializeToString())


def _onnx(folder: Path) -> None:
    from benchmark.encoders.adapters import onnx  # noqa: PLC0415

    onnx.weights_of(str(folder / "m.onnx"), onnx.Options())


_NOTES = {f"n{i}": {"instrument_family_str": "bass", "instrument_str": "b", "pitch": 60} for i in range(3)}
_US8K = b"slice_file_name,fsID,fold,classID,class\n1-0-0-0.wav,1,1,0,dog_bark\n2-0-0-0.wav,2,10,1,siren\n"
_CREMAD = b"1001_DFA_ANG_XX.wav\n1002_IEO_NEU_LO.wav\n"

TARGETS = [
    Target(
        name="us8k", kind="csv", place="metadata/UrbanSound8K.csv", seed_inputs=lambda: [_US8K], call=_index("us8k")
    ),
    Target(
        name="spcv2",
        kind="lines",
        place="testing_list.txt",
        seed_inputs=lambda: [b"yes/a_nohash_0.wav\nno/b_nohash_1.wav\n"],
        call=_index("spcv2"),
        surround=_touch("yes/a_nohash_0.wav", "yes/b_nohash_0.wav", "no/b_nohash_1.wav", "validation_list.txt"),
    ),
    Target(
        name="vc1",
        kind="lines",
        place="iden_split.txt",
        seed_inputs=lambda: [b"1 id1/abc/00001.wav\n2 id1/abd/00001.wav\n3 id2/xyz/00001.wav\n"],
        call=_index("vc1"),
        surround=_touch("wav/id1/abc/00001.wav"),
    ),
    Target(
        name="nsynth",
        kind="json",
        place="nsynth-test/examples.json",
        seed_inputs=lambda: [json.dumps(_NOTES).encode()],
        call=_index("nsynth"),
        surround=_nsynth,
    ),
    Target(
        name="gtzan",
        kind="lines",
        place="GTZANindex.txt",
        seed_inputs=lambda: [b"blues.00001.wav ::: A ::: b\njazz/jazz.00002.wav ::: B ::: c\n"],
        call=_index("gtzan"),
        ci_cases=8,
        surround=_touch("blues/blues.00000.wav"),
    ),
    Target(
        name="cremad",
        kind="lines",
        place="names.txt",
        seed_inputs=lambda: [_CREMAD],
        call=_names("cremad", "AudioWAV"),
    ),
    Target(
        name="surge",
        kind="lines",
        place="names.txt",
        seed_inputs=lambda: [b"t1/60.ogg\nt2/21.ogg\n"],
        call=_names("surge"),
    ),
    Target(
        name="voxforge",
        kind="lines",
        place="names.txt",
        seed_inputs=lambda: [b"de/ann-20100101-abc/wav/1.wav\nen/bob-20100101-x/flac/1.flac\n"],
        call=_names("voxforge"),
    ),
    Target(
        name="esc50 task",
        kind="csv",
        place="meta/esc50.csv",
        seed_inputs=lambda: [b"filename,fold,target,category,src_file\n1-1-A-0.wav,1,0,dog,1\n2-2-A-0.wav,2,0,dog,2\n"],
        call=_index("esc50"),
        surround=_touch("audio/1-1-A-0.wav"),
    ),
    Target(name="own task", kind="csv", place="my.csv", seed_inputs=lambda: [OWN, FOLDS], call=_own, absolute=True),
    Target(name="splits", kind="csv", place="splits.csv", seed_inputs=lambda: [OWN, FOLDS], call=_splits),
    Target(name="leaderboard", kind="csv", place="leaderboard.csv", seed_inputs=_board, call=_show),
    Target(name="predictions", kind="csv", place="predictions.csv", seed_inputs=_predictions, call=read_predictions),
    Target(
        name="run configuration",
        kind="json",
        place="config.json",
        seed_inputs=lambda: [json.dumps(CONFIG).encode()],
        call=_configuration,
    ),
    Target(
        name="protocol",
        kind="toml",
        place="p.toml",
        seed_inputs=lambda: [PROTOCOL, b"rates = [1e-3, 1e-4]\nseeds = 2\n"],
        call=lambda folder: dataclasses.asdict(open_protocol(str(folder / "p.toml"))),
    ),
    Target(
        name="evar yaml",
        kind="yaml",
        place="c.yaml",
        seed_inputs=lambda: [EVAR],
        call=lambda f: _evar(f, ".yaml"),
        absolute=True,
    ),
    Target(
        name="evar json",
        kind="json",
        place="c.json",
        seed_inputs=lambda: [b'{"sample_rate": 16000, "feature_d": 512, "weight_file": "w.pth", "x": {"y": [1]}}'],
        call=lambda folder: _evar(folder, ".json"),
        absolute=True,
    ),
    Target(
        name="names of tensors",
        place="m.pt",
        seed_inputs=_torch_files,
        call=lambda folder: (checkpoint.describe_entries(folder / "m.pt"), checkpoint.is_torchscript(folder / "m.pt")),
        pickles=True,
    ),
    Target(
        name="onnx",
        place="m.onnx",
        seed_inputs=_onnx_files,
        call=_onnx,
        mutation=_onnx_mutation,
        surround=lambda folder: (folder / "w.bin").write_bytes(b"\0" * 8) and None,
    ),
]
