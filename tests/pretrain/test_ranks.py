"""Runs of several processes against one process with the same batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bgknown.errors import InvalidInputError
from pretrain.batchnorm import replace_batch_norms
from pretrain.ranks import ALONE, Ranks
from tests.pretrain.made import make_corpus
from tests.pretrain.runs import rows, run, stored

ROOT = Path(__file__).resolve().parents[2]


def torchrun(script, *arguments, processes=2):
    """Run a script in several processes; what they wrote to stderr."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    done = subprocess.run(
        [*command, str(script), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_parts_are_equal_and_follow_one_another():
    parts = [Ranks(rank, 4).part(range(8, 24)) for rank in range(4)]
    assert parts == [slice(8, 12), slice(12, 16), slice(16, 20), slice(20, 24)]
    with pytest.raises(InvalidInputError, match="6 clips cannot be shared by 4 processes"):
        Ranks(0, 4).part(range(6))


def test_alone_nothing_is_exchanged():
    rows = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(ALONE.successors(rows), rows[[1, 2, 0]])
    assert torch.equal(ALONE.gather(rows), rows)
    assert ALONE.any(here=True, device=torch.device("cpu"))
    network = nn.Sequential(nn.BatchNorm1d(3))
    replace_batch_norms(ALONE, network)
    assert type(network[0]) is nn.BatchNorm1d


PIECES = """
import copy, sys, torch
from torch import nn
from pretrain.batchnorm import GlobalBatchNorm, replace_batch_norms
from pretrain.ranks import join

ranks = join(torch.device("cpu"))
drawn = torch.Generator().manual_seed(0)
for shape, layer in (((12, 5), nn.BatchNorm1d(5)), ((12, 5, 4, 3), nn.BatchNorm2d(5))):
    values = 40 + 3 * torch.randn(shape, generator=drawn) * torch.arange(1.0, 13).view(-1, *[1] * (len(shape) - 1))
    weight = torch.randn(shape, generator=drawn)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2, generator=drawn)
    whole, spread = copy.deepcopy(layer), nn.Sequential(layer)
    replace_batch_norms(ranks, spread)
    assert isinstance(spread[0], GlobalBatchNorm)
    assert list(spread.state_dict()) == list(nn.Sequential(whole).state_dict())
    x = values.clone().requires_grad_()
    y = whole(x)
    (y.square() * weight).sum().backward()
    rows = ranks.part(range(12))
    part = values[rows].clone().requires_grad_()
    found = spread(part)
    (found.square() * weight[rows]).sum().backward()
    torch.testing.assert_close(found, y[rows])
    torch.testing.assert_close(part.grad, x.grad[rows], rtol=1e-4, atol=1e-5)
    ranks.average_gradients(spread.parameters())
    for one, other in zip(spread.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one.grad * ranks.size, other.grad, rtol=1e-4, atol=1e-4)
    for name, buffer in whole.named_buffers():
        torch.testing.assert_close(spread[0].get_buffer(name), buffer)
    spread.eval(), whole.eval()
    torch.testing.assert_close(spread(part), whole(x)[rows])

rows = torch.arange(12.0).reshape(6, 2)
part = rows[ranks.part(range(6))].clone().requires_grad_()
following = ranks.successors(part)
assert torch.equal(following, rows.roll(-1, 0)[ranks.part(range(6))])
(following * (1 + rows[ranks.part(range(6))])).sum().backward()
assert torch.equal(part.grad, (1 + rows).roll(1, 0)[ranks.part(range(6))])
assert torch.equal(ranks.gather(part), rows)
mean, deviation = ranks.moments(part)
torch.testing.assert_close(mean, rows.mean())
torch.testing.assert_close(deviation, rows.std(correction=0))
assert ranks.any(ranks.rank == 1, torch.device("cpu"))
assert not ranks.any(False, torch.device("cpu"))
assert ranks.first(torch.tensor([5.0 + ranks.rank])).item() == 5.0
"""


@pytest.mark.slow
def test_batchnorm_neighbours_and_moments_of_three_processes_are_those_of_one(tmp_path):
    script = tmp_path / "pieces.py"
    script.write_text(PIECES)
    torchrun(script, processes=3)


SMALLEST = (
    *("front_end.n_mels=8", "training.frames=8", "training.batch=8", "network.d=192"),
    *("training.learning_rate=1e-4", "training.log_every=2"),
)
CASES = {
    "difference": ("objective.lambda=0.5",),
    "byol-a": ("objective.lambda=0",),
    "options": ("objective.mix_domain=power", "objective.reference_shift_s=0.3", "training.accumulate=2"),
}
RUNS = (
    PIECES
    + """
import json
import logging
from pathlib import Path
from bgknown.errors import InvalidInputError
from pretrain.train import TrainOptions, train
from tests.pretrain.made import smoke

logging.basicConfig(level="INFO", format="%(message)s")
corpus, out, cases = sys.argv[1:]

def run(name, *changes):
    train(TrainOptions(corpus=Path(corpus), config=smoke(*changes), out=Path(out) / name, device="cpu"))

for name, changes in json.loads(cases).items():
    for steps in (1, 4):
        run(f"{name}/{steps}", *changes, f"training.steps={steps}")
try:
    run("odd", "training.batch=7")
except InvalidInputError as error:
    (Path(out) / f"refused-{ranks.rank}").write_text(str(error))
"""
)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A corpus, and what two processes made of it: one launch for all cases, as launching takes most of the time."""
    root = tmp_path_factory.mktemp("ranks")
    corpus, script = make_corpus(root / "corpus", lengths=(9_000, 20_000, 16_000, 30_000)), root / "run.py"
    script.write_text(RUNS)
    cases = {name: [*SMALLEST, *changes] for name, changes in CASES.items()}
    (root / "two").mkdir()
    return corpus, root / "two", torchrun(script, corpus, root / "two", json.dumps(cases))


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_does(tmp_path, two, one_thread, case):
    # Rounding differs with the number of rows, and two things make much of it: of values that are nearly equal, max
    # pooling takes one, so there are few here; and Adam moves a weight by the learning rate however small its gradient.
    corpus, folder, _ = two
    for steps in (1, 4):
        run(corpus, tmp_path / str(steps), *SMALLEST, *CASES[case], f"training.steps={steps}")

    def read_both(steps):
        return [stored(out / str(steps))["training"] for out in (tmp_path, folder / case)]

    one, other = read_both(steps=1)
    for number, state in one["optimizer"]["state"].items():
        gradients = (training["optimizer"]["state"][number]["exp_avg"] for training in (one, other))
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-6)
        assert state["exp_avg"].abs().max() > 1e-5
    one, other = read_both(steps=4)
    torch.testing.assert_close(other["memory"], one["memory"], rtol=0, atol=1e-5)
    apart = torch.cat([(other["learner"][name] - tensor).abs().flatten() for name, tensor in one["learner"].items()])
    assert (apart > 1e-5).double().mean() < 1e-3
    for first, second in zip(rows(tmp_path / "4"), rows(folder / case / "4"), strict=True):
        numbers = [[float(value or 0) for value in row.values()] for row in (first, second)]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-5)


@pytest.mark.slow
def test_one_process_reports_for_all(two):
    assert two[2].count("step 4/4") == len(CASES)


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_one_line(two):
    for rank in (0, 1):
        message = (two[1] / f"refused-{rank}").read_text()
        assert "7 clips cannot be shared by 2 processes; use a batch size that is divisible by 2" in message
        assert "\n" not in message
