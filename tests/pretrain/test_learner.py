"""The networks that learn, against the equations written out with plain modules in float64."""

import copy

import pytest
import torch
from torch import nn

from pretrain.learner import Inputs, Learner
from pretrain.networks import DROPOUT, AudioNTT2022, draw_dropout_mask
from tests.pretrain.made import smoke

B, F, T = 6, 16, 32


def inputs(learner, seed=0, gamma=True, reference=False):
    drawn = torch.Generator().manual_seed(seed)

    def mask():
        return draw_dropout_mask(learner.encoder, 2 * B, T, drawn)

    views = torch.randn(2 * B, 1, F, T, generator=drawn)
    values = {"mask": mask(), "target_mask": mask(), "mixture_mask": mask()}
    share = 0.4 + 0.2 * torch.rand(2 * B, generator=drawn)
    shifted = {"reference": torch.randn(2 * B, 1, F, T, generator=drawn), "reference_mask": mask()}
    return Inputs(views=views, **values, gamma=share if gamma else None, **(shifted if reference else {}))


def moved(learner):
    """A learner whose target is no longer equal to the online network."""
    with torch.no_grad():
        for number, parameter in enumerate(learner.list_trainable()):
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return learner.train()


def wide(module):
    return copy.deepcopy(module).double()


def encode(network, log_mel, kept):
    """AudioNTT2022, layer by layer, with BatchNorm's statistics of the batch."""
    x = log_mel.double()
    for conv, norm in ((network.features[0], network.features[1]), (network.features[4], network.features[5])):
        x = nn.functional.conv2d(x, conv.weight, conv.bias, padding=1)
        mean, variance = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), keepdim=True, correction=0)
        x = (x - mean) / (variance + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
        x = nn.functional.max_pool2d(x.clamp(min=0), 2)
    local = x.permute(0, 3, 2, 1).reshape(x.shape[0], x.shape[3], -1)
    hidden = (local @ network.fc[0].weight.T + network.fc[0].bias).clamp(min=0) * kept / (1 - DROPOUT)
    frames = torch.cat([local, (hidden @ network.fc[3].weight.T + network.fc[3].bias).clamp(min=0)], dim=2)
    return frames.mean(dim=1) + frames.max(dim=1).values


def head(layers, x):
    x = x @ layers[0].weight.T + layers[0].bias
    x = (x - x.mean(dim=0)) / (x.var(dim=0, correction=0) + layers[1].eps).sqrt() * layers[1].weight + layers[1].bias
    return x.clamp(min=0) @ layers[3].weight.T + layers[3].bias


def loss(predicted, target):
    """Equations 1 and 3, both directions: || l2(q) - l2(z') ||^2."""
    target = torch.cat([target[B:], target[:B]])
    units = [values / values.norm(dim=1, keepdim=True) for values in (predicted, target)]
    return (units[0] - units[1]).square().sum(dim=1).mean()


def successors(values):
    order = [(clip + 1) % B for clip in range(B)]
    return torch.cat([values[:B][order], values[B:][order]])


def reference(learner, given):
    """L_byol and L_diff of the paper, in float64."""
    f, g, q = (wide(getattr(learner, name)) for name in ("encoder", "projector", "predictor"))
    v, gamma = given.views.double(), given.gamma.double()
    y = encode(f, v, given.mask)
    target = head(wide(learner.target_projector), encode(wide(learner.target_encoder), v, given.target_mask))
    share = gamma[:, None, None, None]
    w = torch.log(share * successors(v).exp() + (1 - share) * v.exp())
    known = y if given.reference is None else encode(f, given.reference, given.reference_mask)
    remaining = encode(f, w, given.mixture_mask) - gamma[:, None] * successors(known)
    found = head(wide(learner.difference_predictor), head(g, remaining))
    return loss(head(q, head(g, y)), target).item(), loss(found, target).item()


@pytest.mark.parametrize("shifted", [False, True])
def test_both_losses_are_the_paper_s_equations(shifted):
    learner = moved(Learner(smoke("objective.lambda=0.3")))
    given = inputs(learner, reference=shifted)
    expected = reference(learner, given)
    losses = learner(given)
    assert losses.byol.item() == pytest.approx(expected[0], abs=1e-5)
    assert losses.difference.item() == pytest.approx(expected[1], abs=1e-5)
    assert losses.total.item() == pytest.approx(0.7 * expected[0] + 0.3 * expected[1], abs=1e-5)


def byol_a(config, given):
    """BYOL-A as it is published, with two views one after another: loss and gradients of one step."""
    learner = moved(Learner(config))
    losses = learner(given)
    losses.total.backward()
    return losses, {name: value.grad for name, value in learner.named_parameters() if value.grad is not None}


def test_lambda_0_is_byol_a_and_costs_nothing_extra(monkeypatch):
    calls = []
    whole = AudioNTT2022.forward
    monkeypatch.setattr(AudioNTT2022, "forward", lambda *values: calls.append(1) or whole(*values))
    plain = Learner(smoke("objective.lambda=0"))
    given = inputs(plain, gamma=False)
    plain.train()(given)
    assert len(calls) == 2  # the online network and the target, each once
    assert plain.difference_predictor is None
    assert not any("difference" in name for name in plain.state_dict())
    Learner(smoke()).train()(inputs(plain))
    assert len(calls) == 5


def test_byol_s_loss_and_gradients_do_not_depend_on_the_difference():
    """With a vanishing lambda, the gradients become those of lambda 0."""
    plain, plain_gradients = byol_a(smoke("objective.lambda=0"), inputs(Learner(smoke())))
    nearly, gradients = byol_a(smoke("objective.lambda=1e-12"), inputs(Learner(smoke())))
    assert torch.equal(plain.byol, nearly.byol)
    assert torch.isnan(plain.difference)
    assert torch.isfinite(nearly.difference)
    for name, gradient in plain_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-5, atol=1e-8)


def test_all_lambdas_begin_with_the_same_networks():
    first, second = (Learner(smoke(f"objective.lambda={weight}")).state_dict() for weight in (0, 0.8))
    assert all(torch.equal(second[name], tensor) for name, tensor in first.items())
    for name in ("features.0.weight", "fc.3.bias"):
        assert torch.equal(second[f"encoder.{name}"], second[f"target_encoder.{name}"])
        assert torch.equal(second[f"encoder.{name}"], AudioNTT2022(16, 320, hidden=64).state_dict()[name])
    assert not torch.equal(second["predictor.0.weight"], second["difference_predictor.0.weight"])


def test_making_a_learner_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    learner = Learner(smoke()).train()
    learner(inputs(learner))
    assert torch.equal(before, torch.get_rng_state())


def test_running_statistics_are_those_of_plain_views():
    with_difference, without = Learner(smoke()).train(), Learner(smoke("objective.lambda=0")).train()
    given = inputs(with_difference, reference=True)
    with_difference(given)
    without(given)
    found, expected = with_difference.encoder.state_dict(), without.encoder.state_dict()
    for name in ("features.1.running_mean", "features.5.running_var", "features.1.num_batches_tracked"):
        assert torch.equal(found[name], expected[name])
    assert expected["features.1.num_batches_tracked"] == 1


def test_the_target_follows_the_online_network_and_gets_no_gradient():
    learner = moved(Learner(smoke("objective.target_decay=0.9")))
    before = copy.deepcopy(learner)
    learner(inputs(learner)).total.backward()
    assert all(parameter.grad is None for parameter in learner.target_encoder.parameters())
    assert all(parameter.grad is not None for parameter in learner.list_trainable())
    learner.move_target()
    for target, was, online in (
        (learner.target_encoder, before.target_encoder, learner.encoder),
        (learner.target_projector, before.target_projector, learner.projector),
    ):
        for name, value in target.named_parameters():
            expected = 0.9 * was.get_parameter(name) + 0.1 * online.get_parameter(name)
            torch.testing.assert_close(value, expected)


def test_gradients_reach_the_encoder_through_mixture_and_reference():
    learner = Learner(smoke("objective.lambda=1")).train()
    given = inputs(learner, reference=True)
    embeddings = []
    learner.encoder.register_forward_hook(lambda *values: values[2].retain_grad() or embeddings.append(values[2]))
    learner(given).total.backward()
    plain, mixed, shifted = (values.grad for values in embeddings)
    assert plain is None or not plain.any()  # with lambda 1 and a reference of its own, nothing is asked of f(v)
    assert mixed.abs().sum() > 0
    assert shifted.abs().sum() > 0


def test_biases_that_batchnorm_takes_off_stay_as_they_are():
    """No loss depends on them; Adam would follow the rounding of their gradients."""
    learner = moved(Learner(smoke()))
    still = {name for name, parameter in learner.named_parameters() if not parameter.requires_grad}
    still = {name for name in still if not name.startswith("target")}
    assert still == {
        *(f"encoder.features.{layer}.bias" for layer in (0, 4)),
        *(f"{name}.0.bias" for name in ("projector", "predictor", "difference_predictor")),
        "projector.3.bias",
    }
    given = inputs(learner)
    before = learner(given)
    with torch.no_grad():
        for name in still:
            learner.get_parameter(name).add_(1.0)
    after = learner(given)
    assert after.byol.item() == pytest.approx(before.byol.item(), abs=1e-5)
    assert after.difference.item() == pytest.approx(before.difference.item(), abs=1e-5)


def test_equal_embeddings_are_a_collapse():
    learner = Learner(smoke()).train()
    varied = learner(inputs(learner))
    assert 0.3 < varied.target_spread < 1
    with torch.no_grad():
        learner.target_projector[3].weight.zero_()
    assert learner(inputs(learner)).target_spread < 1e-3
