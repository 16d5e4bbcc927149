"""Checkpoints with harmless values next to their tensors: read as plain values, and nothing in them is run."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import torch

from bgknown import pickles
from bgknown.pickles import load_torch_file


def under_old_names(path):
    """The same file as numpy 1 writes it; the lengths of names in a pickle of protocol 2 are not stored."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(3.5), 3.5),
        (np.float32(-0.25), -0.25),
        (np.array(2.5, dtype=">f8")[()], 2.5),
        (np.int64(-4), -4),
        (np.bool_(True), True),
        (np.complex64(1 + 2j), 1 + 2j),
        (np.str_("häkchen"), "häkchen"),
        (np.bytes_(b"ab"), b"ab"),
        (collections.defaultdict(list, {"x": [1, np.float32(2)]}), {"x": [1, 2.0]}),
        (torch.torch_version.TorchVersion("2.6.0"), "2.6.0"),
    ],
)
def test_values_next_to_tensors_are_read_as_plain_ones(tmp_path, value, expected, old):
    torch.save({"value": value, "weight": torch.arange(3)}, tmp_path / "c.pt")
    if old:
        under_old_names(tmp_path / "c.pt")
    content = load_torch_file(tmp_path / "c.pt", torch)
    assert content["value"] == expected
    assert type(content["value"]) is type(expected)
    assert content["weight"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "value",
    [
        argparse.Namespace(lr=0.1, betas=(0.9, 0.99)),
        pathlib.PurePosixPath("/data/x"),
        np.arange(5),
        np.array(["a", None], dtype=object),
        np.datetime64("2026-01-01"),
        np.dtype("f4"),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        collections.defaultdict(int, {"a": 1}),
    ],
)
def test_values_that_are_not_needed_do_not_hide_the_tensors(tmp_path, value):
    torch.save({"extra": value, "state": collections.defaultdict(dict, {"w": torch.ones(2)})}, tmp_path / "c.pt")
    assert load_torch_file(tmp_path / "c.pt", torch)["state"]["w"].tolist() == [1, 1]


class Calls:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    "evil",
    [
        lambda ran: Calls(os.mkdir, str(ran)),
        lambda ran: Calls(pathlib.Path.touch, ran),
        lambda ran: Calls(eval, f"open({str(ran)!r}, 'w')"),
        lambda ran: Calls(getattr, "x", "upper"),
        lambda ran: Calls(np.save, str(ran), 1),
        lambda ran: collections.defaultdict(list, {"x": Calls(os.mkdir, str(ran))}),
    ],
)
def test_code_is_refused_and_not_run(tmp_path, evil):
    torch.save({"w": torch.ones(2), "extra": evil(tmp_path / "ran")}, tmp_path / "c.pt")
    with pytest.raises(pickle.UnpicklingError, match="GLOBAL"):
        load_torch_file(tmp_path / "c.pt", torch)
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_replacements_of_numpy_call_nothing_of_numpy(tmp_path):
    """A file cannot make arrays of any size, or of objects at addresses that it chooses."""
    for arguments in [(np.ndarray, (10**15,), b"b"), (dict, (), b"b")]:
        torch.save({"extra": Calls(np.empty(0).__reduce__()[0], *arguments)}, tmp_path / "c.pt")
        assert type(load_torch_file(tmp_path / "c.pt", torch)["extra"]) is pickles.Ignored
    for code in ["O", "V8", "f99999999999", "f8, O"]:
        kind = pickles.ElementType(code, False, True)
        kind.__setstate__((3, "<", None, ("a",), {"a": (object, 0)}, 8, 1, 0))
        assert pickles.make_scalar(kind, b"12345678") is None
    assert pickles.make_scalar(pickles.ElementType("f8"), b"1234") is None


def test_the_users_own_list_is_as_it_was(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save({"x": np.float64(1)}, tmp_path / "c.pt")
    load_torch_file(tmp_path / "c.pt", torch)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO((tmp_path / "c.pt").read_bytes()), weights_only=True)
