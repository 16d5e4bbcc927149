"""Runs for the tests, and what they leave."""

import csv

import torch

from pretrain.train import TrainOptions, train
from tests.pretrain.made import smoke


def run(corpus, out, *changes):
    return train(TrainOptions(corpus=corpus, config=smoke(*changes), out=out, device="cpu"))


def stored(out):
    return torch.load(out / "checkpoint.pt", weights_only=True)


def tensors(value, path=""):
    """Every tensor and number of a checkpoint by its place."""
    if isinstance(value, dict):
        return {key: leaf for name, part in value.items() for key, leaf in tensors(part, f"{path}/{name}").items()}
    if isinstance(value, list):
        return tensors(dict(enumerate(value)), path)
    return {path: value}


def assert_equal(one, other):
    """Equal checkpoints, bit for bit, but for the names of the runs."""
    first, second = tensors(stored(one)), tensors(stored(other))
    assert first.keys() == second.keys()
    for place, value in first.items():
        if place != "/card/name":
            same = torch.equal(value, second[place]) if isinstance(value, torch.Tensor) else value == second[place]
            assert same, place


def rows(out):
    """The log without its rates, which are the machine's."""
    with (out / "log.csv").open() as file:
        return [{name: text for name, text in row.items() if name != "clips_per_s"} for row in csv.DictReader(file)]
