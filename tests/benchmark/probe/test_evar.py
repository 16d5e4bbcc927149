"""The protocol ``evar`` against a restatement of EVAR's training.

tests/peers/evar_probe.py compares it with EVAR's program itself.
"""

import numpy as np
import pytest
import torch

from benchmark.probe import ProbeSettings, train_probes
from benchmark.probe.parameters import Parameters
from benchmark.protocol import PROTOCOLS
from bgknown.seeding import derive_key
from tests.benchmark.probe.made import CLASSES, clusters, problem

EVAR = PROTOCOLS["evar"]


def evar_settings(**changes):
    """Settings of the protocol."""
    names = set(ProbeSettings.__slots__) - {"lr"}
    return ProbeSettings(**{**{name: getattr(EVAR, name) for name in names}, **changes})


def restate_evar(task, settings, weight, bias):
    """EVAR's training by its description: weights after every step, the tested epoch and the number of epochs.

    Inputs are standardised by training and held-out clips together. The loss is minus the mean, over all entries of
    the [B, K] table, of one-hot label times log probability. Adam with weight decay 1e-8 takes batches of 200. An epoch
    whose validation accuracy is at least the best so far becomes the tested one; 20 lower ones in a row end training.
    """
    known = task.features[np.concatenate([task.train, task.valid])].double()
    x = ((task.features.double() - known.mean(0)) / known.std(0, correction=0)).float()
    y = torch.nn.functional.one_hot(task.labels, CLASSES).float()
    layer = torch.nn.Linear(x.shape[1], CLASSES)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    optimiser = torch.optim.Adam(layer.parameters(), lr=settings.lr, weight_decay=1e-8)
    order = torch.Generator().manual_seed(derive_key(task.seed, "probe order", task.fold))
    steps, best, tested, lower = [], 0.0, None, 0
    for epoch in range(1, 201):
        for batch in torch.randperm(len(task.train), generator=order).split(200):
            rows = task.train[batch]
            loss = -(y[rows] * torch.log_softmax(layer(x[rows]), dim=1)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps.append((layer.weight.detach().clone(), layer.bias.detach().clone()))
        accuracy = float((layer(x[task.valid]).argmax(1) == task.labels[task.valid]).float().mean())
        if accuracy >= best:
            best, tested, lower = accuracy, epoch, 0
        else:
            lower += 1
            if lower == 20:
                break
    return steps, tested, epoch


@pytest.mark.parametrize(("n", "lr"), [(240, 1e-3), (240, 1e-2), (900, 3e-3)])
def test_every_step_is_that_of_evar(n, lr, monkeypatch):
    """With 540 training clips, batches of 200, 200 and 140; with 144, one of all."""
    features, labels = clusters(n=n, spread=2.0)
    train, valid = np.arange(int(0.6 * n)), np.arange(int(0.6 * n), int(0.7 * n))
    task = problem(
        features,
        labels,
        train_rows=train,
        valid=valid,
        test=range(int(0.7 * n), n),
        standardise=np.concatenate([train, valid]),
    )
    ours, initial, update = [], [], Parameters.update

    def watch(parameters, *given):
        initial.append((parameters.weight[0].clone(), parameters.bias[0].clone()))
        update(parameters, *given)
        ours.append((parameters.weight[0].clone(), parameters.bias[0].clone()))

    monkeypatch.setattr(Parameters, "update", watch)
    settings = evar_settings(lr=lr)
    (result,) = train_probes([task], settings)
    theirs, tested, epochs = restate_evar(task, settings, *initial[0])
    assert (result.best_epoch, result.epochs, len(ours)) == (tested, epochs, len(theirs))
    assert epochs > 21
    for (weight, bias), (weight_there, bias_there) in zip(ours, theirs, strict=True):
        assert torch.allclose(weight, weight_there, atol=2e-6)
        assert torch.allclose(bias, bias_there, atol=2e-6)
    assert result.steps == tested * -(-len(task.train) // 200)
    assert torch.equal(result.weight, ours[result.steps - 1][0])


def test_weight_decay_and_mean_over_classes_change_the_step():
    """Adam does not depend on the scale of a loss except through its epsilon, so the latter changes little."""
    features, labels = clusters()
    task = problem(features, labels)
    results = [
        train_probes([task], ProbeSettings(max_epochs=3, **changes))[0].weight
        for changes in ({}, {"weight_decay": 0.1}, {"loss_mean": "clips and classes"})
    ]
    assert float((results[0] - results[1]).abs().max()) > 1e-4
    assert 0 < float((results[0] - results[2]).abs().max()) < 1e-4
