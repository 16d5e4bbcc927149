"""BatchNorm folded into the first convolution against torch's own layers, one after another."""

import copy

import pytest
import torch
from torch import nn

from pretrain.batchnorm import GlobalBatchNorm, fold_batch_norm
from pretrain.networks import AudioNTT2022
from pretrain.ranks import Ranks


def layers(dtype=torch.float64, momentum=0.1):
    """A convolution and a BatchNorm with made weights, scales and offsets."""
    drawn = torch.Generator().manual_seed(0)
    convolution, norm = nn.Conv2d(1, 5, 3, padding=1, dtype=dtype), nn.BatchNorm2d(5, momentum=momentum, dtype=dtype)
    with torch.no_grad():
        for parameter in (*convolution.parameters(), norm.weight, norm.bias):
            parameter.uniform_(-1, 1, generator=drawn)
    return convolution, norm


def images(dtype=torch.float64):
    """Four images with neighbours that resemble each other, as mel bands and frames do, and means far from 0."""
    rough = torch.randn(4, 1, 6, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return 3.0 + rough.cumsum(dim=2).cumsum(dim=3)


def both(dtype, values):
    """Result and gradients of torch's layers, and of the folded convolution; and the layers."""
    found = []
    for fold in (False, True):
        convolution, norm = layers(dtype)
        made = nn.functional.conv2d(values, *fold_batch_norm(convolution, norm, values), padding=1) if fold else None
        made = norm(convolution(values)) if made is None else made
        weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(2), dtype=dtype)
        (made.square() * weights).sum().backward()
        found.append((made.detach(), [convolution.weight.grad, norm.weight.grad, norm.bias.grad], norm))
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
def test_folded_is_the_convolution_and_the_batchnorm_behind_it(dtype, tolerance):
    (plain, gradients, norm), (made, others, other) = both(dtype, images(dtype))
    torch.testing.assert_close(made, plain, rtol=tolerance, atol=tolerance)
    for gradient, own in zip(gradients, others, strict=True):
        torch.testing.assert_close(own, gradient, rtol=tolerance, atol=tolerance * gradient.abs().max().item())
    for name, buffer in norm.named_buffers():
        torch.testing.assert_close(other.get_buffer(name), buffer, rtol=tolerance, atol=tolerance)


def test_gradients_of_the_folded_values_are_those_of_finite_differences():
    convolution, norm = layers()

    def values(weight, scale, offset):
        layer, behind = copy.deepcopy(convolution), copy.deepcopy(norm)
        del layer.weight, behind.weight, behind.bias
        layer.weight, behind.weight, behind.bias = weight, scale, offset
        return fold_batch_norm(layer, behind, images())

    given = (convolution.weight, norm.weight, norm.bias)
    assert torch.autograd.gradcheck(values, tuple(value.detach().clone().requires_grad_() for value in given))


def test_statistics_are_kept_only_where_they_are_tracked():
    convolution, norm = layers()
    before = norm.running_mean.clone()
    norm.track_running_stats = False
    fold_batch_norm(convolution, norm, images())
    assert torch.equal(norm.running_mean, before)
    assert norm.num_batches_tracked == 0


def test_an_input_that_wants_a_gradient_gets_torch_s():
    """Folded, BatchNorm takes the images for constants."""
    network = AudioNTT2022(16, 320, hidden=64).double().train()
    still = images().repeat(1, 1, 3, 1)[:, :, :16]
    clips = still.clone().requires_grad_()
    embedded = network(clips)
    embedded.sum().backward()
    assert clips.grad.abs().sum() > 0
    torch.testing.assert_close(network(still), embedded)


def test_the_memory_format_of_the_weights_is_kept():
    """On a CPU a convolution of one channel follows its weights, and pooling is far quicker channels last."""
    convolution, norm = layers()
    convolution.to(memory_format=torch.channels_last)
    made = nn.functional.conv2d(images(), *fold_batch_norm(convolution, norm, images()), padding=1)
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_global_batchnorm_in_evaluation_is_batchnorm():
    layer = nn.BatchNorm2d(3).eval()
    with torch.no_grad():
        layer.running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    values = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(GlobalBatchNorm(layer, Ranks(0, 2)).eval()(values), layer(values))
