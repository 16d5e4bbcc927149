"""Encoders in files: round trips of the own format, recognition of published weights, refusals."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections import defaultdict
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from bgknown.shown import name_few
from pretrain.checkpoint import FORMAT, load_checkpoint, make_entries, write_encoder
from pretrain.encoder import recognises
from pretrain.frontend import PUBLISHED, FrontEnd, Statistics
from pretrain.networks import AudioNTT2020, AudioNTT2022
from tests.pretrain.made import published_2020, published_2022

STATISTICS = Statistics(mean=-6.25, std=4.5)
PUBLISHED_STATES = {
    "2022": (published_2022, AudioNTT2022, 3_072),
    "2020-512": (lambda: published_2020(512), AudioNTT2020, 512),
    "2020-1024": (lambda: published_2020(1_024), AudioNTT2020, 1_024),
    "2020-2048": (lambda: published_2020(2_048), AudioNTT2020, 2_048),
}


def small():
    """An own network whose sizes are none of the published ones."""
    return AudioNTT2022(n_mels=40, d=700, hidden=16, seed=3), FrontEnd(n_mels=40, f_min=30.0)


def same(network, state):
    ours = network.state_dict()
    return set(ours) == set(state) and all(torch.equal(values, state[name]) for name, values in ours.items())


def test_own_safetensors_come_back(tmp_path):
    network, front_end = small()
    network.features[1].running_mean.fill_(0.5)
    card = {"epochs": 3, "lambda": 0.1, "corpus": ["a", "b"]}
    write_encoder(tmp_path / "own.safetensors", network, front_end, STATISTICS, card=card)
    checkpoint = load_checkpoint(tmp_path / "own.safetensors")
    assert isinstance(checkpoint.network, AudioNTT2022)
    assert not checkpoint.network.training
    assert same(checkpoint.network, network.state_dict())
    assert (checkpoint.front_end, checkpoint.statistics, checkpoint.card) == (front_end, STATISTICS, card)


def test_own_safetensors_are_plain_for_others(tmp_path):
    network, front_end = small()
    write_encoder(tmp_path / "own.safetensors", network, front_end, STATISTICS)
    assert same(network, load_file(tmp_path / "own.safetensors"))
    with safe_open(tmp_path / "own.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == FORMAT == "bgknown-encoder-1"
    assert metadata["network"] == "AudioNTT2022"
    assert json.loads(metadata["front_end"]) == asdict(front_end)
    assert json.loads(metadata["statistics"]) == {"mean": -6.25, "std": 4.5}
    assert recognises(tmp_path / "own.safetensors")


def test_the_same_encoder_gives_the_same_bytes(tmp_path):
    network, front_end = small()
    files = [tmp_path / f"{copy}.safetensors" for copy in range(6)]
    for file in files:
        write_encoder(file, network, front_end, STATISTICS, card={"b": 1, "a": 2})
    assert len({file.read_bytes() for file in files}) == 1


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_own_torch_checkpoints_come_back_whatever_else_they_hold(tmp_path, prefix):
    front_end = FrontEnd(n_mels=48)
    network = AudioNTT2020(n_mels=48, d=32, seed=5)
    content = make_entries(network, front_end, STATISTICS, card={"epoch": 7})
    content["encoder"] = {f"{prefix}{name}": values for name, values in content["encoder"].items()}
    target = AudioNTT2020(n_mels=48, d=32, seed=6).state_dict()
    content |= {"target": target, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}, "epoch": 7}
    torch.save(content, tmp_path / "last.ckpt")
    assert recognises(tmp_path / "last.ckpt")
    checkpoint = load_checkpoint(tmp_path / "last.ckpt")
    assert isinstance(checkpoint.network, AudioNTT2020)
    assert same(checkpoint.network, network.state_dict())
    assert (checkpoint.front_end, checkpoint.statistics) == (front_end, STATISTICS)
    assert checkpoint.card == {"epoch": 7}


@pytest.mark.parametrize("which", PUBLISHED_STATES)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_published_weights_are_recognised(tmp_path, which, suffix):
    make, network_type, d = PUBLISHED_STATES[which]
    state = make()
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)(state, path)
    assert recognises(path)
    checkpoint = load_checkpoint(path)
    assert type(checkpoint.network) is network_type
    assert checkpoint.network.embedding_size == d
    assert same(checkpoint.network, state)
    assert checkpoint.front_end == PUBLISHED
    assert checkpoint.statistics is None
    assert (PUBLISHED.n_fft, PUBLISHED.window, PUBLISHED.hop) == (1_024, 1_024, 160)
    assert (PUBLISHED.f_min, PUBLISHED.f_max, PUBLISHED.n_mels) == (60, 7_800, 64)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{name}": values for name, values in state.items()},
        lambda state: {"state_dict": {f"online_encoder.{name}": values for name, values in state.items()}},
        lambda state: {"model": state, "epoch": 3},
        lambda state: {
            **{f"encoder.{name}": values for name, values in state.items()},
            "projector.0.weight": torch.zeros(3, 3),
        },
    ],
    ids=["module.", "state_dict.online_encoder.", "model", "encoder. beside others"],
)
def test_published_weights_are_found_below_a_prefix(tmp_path, wrap):
    state = published_2020(512)
    torch.save(wrap(state), tmp_path / "weights.pth")
    assert recognises(tmp_path / "weights.pth")
    assert same(load_checkpoint(tmp_path / "weights.pth").network, state)


def test_of_several_networks_the_prefix_says_which(tmp_path):
    online, target = published_2020(512, 1), published_2020(512, 2)
    content = {f"online_encoder.net.{name}": values for name, values in online.items()}
    content |= {f"target_encoder.net.{name}": values for name, values in target.items()}
    torch.save(content, tmp_path / "byol.ckpt")
    with pytest.raises(InvalidInputError, match=r"2 networks, below 'online_encoder.net.', 'target_encoder.net.'; say"):
        load_checkpoint(tmp_path / "byol.ckpt")
    for prefix in ("target_encoder.net", "target_encoder.net."):
        assert same(load_checkpoint(tmp_path / "byol.ckpt", prefix=prefix).network, target)
    with pytest.raises(InvalidInputError, match=r"below the prefix 'encoder\.'; there are: 'online_encoder"):
        load_checkpoint(tmp_path / "byol.ckpt", prefix="encoder")


def test_counters_that_old_files_lack_are_not_missed(tmp_path):
    state = {name: values for name, values in published_2022().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    network = load_checkpoint(tmp_path / "old.pth").network
    assert torch.equal(network.fc[0].weight, state["fc.0.weight"])


def changed(changes):
    """A published state dict with entries changed; None removes them."""
    state = published_2020(512) | changes
    return {name: values for name, values in state.items() if values is not None}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed({"features.1.running_mean": None}), r"1 tensors missing: features\.1\.running_mean; is the file"),
        (
            {name: v for name, v in changed({}).items() if not name.startswith("features.5")},
            r"4 tensors missing: features\.5\.weight, features\.5\.bias",
        ),
        (changed({"head.weight": torch.zeros(3)}), r"1 tensors too many: head\.weight"),
        (
            changed({"features.8.weight": torch.zeros(64, 64, 5, 5)}),
            r"features\.8\.weight has shape \[64, 64, 5, 5\], m",
        ),
        (changed({"fc.0.weight": torch.zeros(512, 640)}), r"shape \[512, 640\], must be \[512, 512\]; .* mel bands"),
        (changed({"fc.0.weight": torch.zeros(512)}), "the linear layers do not fit AudioNTT2020"),
        (changed({"fc.3.bias": torch.full((512,), torch.nan)}), r"fc\.3\.bias holds NaN"),
        (changed({"fc.3.bias": torch.zeros(512, dtype=torch.int8)}), r"fc\.3\.bias is of type torch\.int8"),
        (changed({"fc.3.weight": None}), r"no AudioNTT network; .* were looked for, found: features\.0\.weight"),
        ({"a.weight": torch.zeros(2)}, r"no AudioNTT network; .* found: a\.weight"),
        ({"epoch": 3}, "found: no tensors"),
        ([torch.zeros(2)], "holds a list; it must hold a dictionary of tensors"),
        ({"format": "bgknown-encoder-9"}, "format is 'bgknown-encoder-9', this version reads 'bgknown-encoder-1'"),
        ({"format": FORMAT, "network": "AudioNTT2022"}, "front_end, statistics, encoder missing"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InvalidInputError, match=said) as refused:
        load_checkpoint(tmp_path / "weights.pth")
    assert "\n" not in str(refused.value)
    assert "weights.pth" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": "Transformer"}, "'Transformer'; this version knows AudioNTT2020, AudioNTT2022"),
        ({"network": "AudioNTT2020"}, "AudioNTT2020 for 40 mel bands: 6 tensors missing"),
        ({"front_end": {"hop": 160}}, "front_end: rate_hz, n_fft, window, n_mels and 3 more missing; there must be"),
        (
            {"front_end": {**asdict(FrontEnd()), "n_mels": 40, "colour": 1}},
            "front_end: unknown key 'colour'; there are",
        ),
        ({"front_end": {**asdict(FrontEnd()), "n_mels": 48}}, "AudioNTT2022 for 48 mel bands: .* must be"),
        ({"statistics": {"mean": 0.0, "std": 0.0}}, "std is 0"),
        ({"statistics": 3}, "statistics is 3; it must be a table"),
    ],
)
def test_own_files_that_contradict_themselves_are_refused(tmp_path, changes, said):
    torch.save({**make_entries(*small(), STATISTICS), **changes}, tmp_path / "own.pt")
    with pytest.raises(InvalidInputError, match=said):
        load_checkpoint(tmp_path / "own.pt")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.001, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, suffix, kept):
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)(published_2020(512), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InvalidInputError, match=r"weights.*; copy it again") as refused:
        load_checkpoint(path)
    assert "\n" not in str(refused.value)


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    torch.save({**published_2020(512), "extra": Touch(tmp_path / "ran")}, tmp_path / "weights.pth")
    with pytest.raises(InvalidInputError, match=r"refused: it holds code besides tensors \(.*mkdir\); store the state"):
        load_checkpoint(tmp_path / "weights.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("own", [False, True])
def test_numpy_scalars_and_defaultdicts_next_to_the_tensors_are_read(tmp_path, own):
    extra = {"epoch": np.int64(3), "losses": defaultdict(list, {"train": [np.float64(0.5)]}), "args": Namespace(lr=0.1)}
    if own:
        network, front_end = small()
        content = make_entries(network, front_end, STATISTICS) | extra
        content["statistics"] = {"mean": np.float64(STATISTICS.mean), "std": np.float32(4.0)}
        content["encoder"] = defaultdict(None, content["encoder"])
    else:
        content = {**extra, "state_dict": defaultdict(dict, published_2020(512))}
    torch.save(content, tmp_path / "weights.pt")
    assert recognises(tmp_path / "weights.pt")
    checkpoint = load_checkpoint(tmp_path / "weights.pt")
    if own:
        assert checkpoint.statistics == Statistics(mean=STATISTICS.mean, std=4.0)
        assert same(network, checkpoint.network.state_dict())
    else:
        assert same(checkpoint.network, published_2020(512))


def test_other_kinds_of_files_are_refused(tmp_path):
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("not a checkpoint at all")
    (tmp_path / "name.bin").write_bytes(b"1234")
    (tmp_path / "folder.pth").mkdir()
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "program.pt2")
    (tmp_path / "program.pt2").rename(tmp_path / "program.pt")
    for name, said in {
        "empty.pth": "empty",
        "text.pth": "not readable as a torch checkpoint",
        "name.bin": "name must end in .pt, .pth, .ckpt, .safetensors",
        "program.pt": "not readable as a torch checkpoint",
    }.items():
        with pytest.raises(InvalidInputError, match=said):
            load_checkpoint(tmp_path / name)
    for name in ("absent.pth", "folder.pth"):
        with pytest.raises(NotFoundError, match="no such file"):
            load_checkpoint(tmp_path / name)


def test_dictionaries_without_end_are_refused(tmp_path):
    content: dict = {"a": torch.zeros(1)}
    content["again"] = content
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InvalidInputError, match="nested more than 16 deep"):
        load_checkpoint(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("shapes", "metadata", "expected"),
    [
        ({"features.0.weight": (64, 3, 11, 11), "fc.0.weight": (9, 9), "fc.3.weight": (9, 9)}, {}, False),
        ({"features.0.weight": (64, 1, 3, 3), "classifier.weight": (9, 9)}, {}, False),
        ({"my_features.0.weight": (64, 1, 3, 3), "my_fc.0.weight": (9, 9), "my_fc.3.weight": (9, 9)}, {}, False),
        ({}, {"format": "pt"}, False),
        ({}, {"format": "bgknown-encoder-2"}, True),
    ],
)
def test_recognises_its_own_alone(tmp_path, shapes, metadata, expected):
    content = {name: torch.zeros(shape) for name, shape in shapes.items()}
    torch.save({**content, **metadata}, tmp_path / "some.pt")
    assert recognises(tmp_path / "some.pt") is expected
    save_file(content, tmp_path / "some.safetensors", metadata)
    assert recognises(tmp_path / "some.safetensors") is expected


def test_writing_is_refused_before_anything_is_written(tmp_path):
    network, front_end = small()
    with pytest.raises(InvalidInputError, match="written as .safetensors"):
        write_encoder(tmp_path / "own.pt", network, front_end, STATISTICS)
    with pytest.raises(InvalidInputError, match="takes 40 mel bands, the front end makes 64"):
        write_encoder(tmp_path / "own.safetensors", network, FrontEnd(), STATISTICS)
    with pytest.raises(InvalidInputError, match="card cannot be written as JSON"):
        write_encoder(tmp_path / "own.safetensors", network, front_end, STATISTICS, card={"loss": float("nan")})
    with pytest.raises(StorageError, match=r"absent.*own\.safetensors"):
        write_encoder(tmp_path / "absent" / "own.safetensors", network, front_end, STATISTICS)
    assert list(tmp_path.iterdir()) == []


def test_names_of_others_stay_on_one_line_in_messages():
    assert "\n" not in name_few(["a\nb", "c"])
