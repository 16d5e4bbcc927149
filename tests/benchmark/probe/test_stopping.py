"""When probes stop, which epoch is tested, and what they say about it."""

from dataclasses import replace

import pytest
import torch

from benchmark.probe import ProbeSettings, describe_endings, measure_share_finished, train_probes
from tests.benchmark.probe.made import clusters, problem

STILL = ProbeSettings(lr=1e-30, max_epochs=50, patience=5)
"""Nothing is learned, so all epochs are equal."""


def constant():
    """A probe whose clips are all the same."""
    return problem(torch.zeros(240, 3), clusters()[1])


@pytest.mark.parametrize("stop_on", ["loss", "accuracy"])
def test_first_of_equal_epochs_is_tested(stop_on):
    (result,) = train_probes([constant()], replace(STILL, stop_on=stop_on))
    assert (result.best_epoch, result.epochs, result.ended, result.steps) == (1, 6, "stopped early", 1)


@pytest.mark.parametrize("stop_on", ["loss", "accuracy"])
def test_last_of_equal_epochs_is_tested_and_restarts_the_patience(stop_on):
    (result,) = train_probes([constant()], replace(STILL, stop_on=stop_on, ties="last"))
    assert (result.best_epoch, result.epochs, result.ended) == (50, 50, "cut")


def test_stopping_on_accuracy_tests_the_epoch_of_highest_accuracy():
    task = problem(*clusters(spread=3.0))
    settings = ProbeSettings(lr=5e-3, batch_size=32, max_epochs=60, patience=60, stop_on="accuracy")
    (result,) = train_probes([task], settings)
    (by_loss,) = train_probes([task], replace(settings, stop_on="loss"))
    assert by_loss.valid_loss < result.valid_loss
    assert by_loss.valid_accuracy <= result.valid_accuracy
    x = task.features[torch.from_numpy(task.valid)] - task.features[torch.from_numpy(task.train)].mean(0)
    x = x / task.features[torch.from_numpy(task.train)].std(0, correction=0)
    right = (x @ result.weight.T + result.bias).argmax(1) == task.labels[torch.from_numpy(task.valid)]
    assert result.valid_accuracy == pytest.approx(float(right.float().mean()))


def test_probe_that_still_improves_at_the_last_epoch_is_cut():
    task = problem(*clusters())
    (result,) = train_probes([task], ProbeSettings(lr=1e-4, batch_size=50, max_epochs=7))
    assert (result.ended, result.best_epoch, result.steps) == ("cut", 7, 21)  # 120 clips: three batches


def test_probe_that_stops_at_the_last_epoch_is_not_cut():
    (result,) = train_probes([constant()], replace(STILL, max_epochs=6))
    assert (result.epochs, result.ended) == (6, "stopped early")
    (result,) = train_probes([constant()], replace(STILL, max_epochs=5))
    assert (result.epochs, result.ended) == (5, "cut")


def test_endings_are_summarised():
    endings = [("stopped early", 5), ("cut", 1_200), ("stopped early", 120), ("cut", 1_200), ("converged", 31)]
    assert measure_share_finished([ended for ended, _ in endings]) == 0.6
    assert describe_endings(endings) == (
        "probes: 1 of 5 converged (31 steps); 2 of 5 stopped early (tested after 5 to 120 steps); "
        "2 of 5 cut at the last epoch, before they had stopped improving (tested after 1,200 steps)"
    )
    assert measure_share_finished([]) is None
    assert describe_endings([]) == ""
