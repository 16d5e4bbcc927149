"""The losses against a float64 reference written from the paper's equations, clip by clip."""

import math

import pytest
import torch

from bgknown.errors import InvalidInputError
from pretrain.objective import (
    compute_distance,
    compute_symmetric_distance,
    draw_gamma,
    make_head,
    mix,
    shift_views,
    subtract_background,
    swap_views,
)

B, D, P, F, T = 5, 12, 6, 4, 7


def values(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference_distance(predicted, target) -> float:
    """||l2(q) - l2(z)||^2 of every clip, in plain Python."""
    total = 0.0
    for q, z in zip(predicted.double().tolist(), target.double().tolist(), strict=True):
        q_norm, z_norm = (math.sqrt(sum(value * value for value in vector)) for vector in (q, z))
        total += sum((a / q_norm - b / z_norm) ** 2 for a, b in zip(q, z, strict=True))
    return total / len(predicted)


def test_byol_s_loss_is_the_equation_in_both_directions():
    predicted, target = values(2 * B, P), values(2 * B, P, seed=1)
    expected = 0.5 * (reference_distance(predicted[:B], target[B:]) + reference_distance(predicted[B:], target[:B]))
    assert compute_symmetric_distance(predicted, target).item() == pytest.approx(expected, abs=1e-5)
    assert compute_symmetric_distance(target, swap_views(target)).item() == pytest.approx(0.0, abs=1e-6)
    assert compute_distance(predicted, -3.0 * predicted).item() == pytest.approx(4.0, abs=1e-5)


def test_with_the_deviation_as_scale_powers_are_mixed():
    """Un-normalised log-mels are mixed as powers, and the mixture is normalised as they are."""
    mean, deviation = -7.3, 4.1
    log_mel = mean + deviation * values(2 * B, 1, F, T, dtype=torch.float64)
    gamma = draw_gamma(B, 0.1, 0.9, torch.Generator().manual_seed(0)).double()
    share, other = gamma[:, None, None, None], torch.cat([log_mel[:B].roll(-1, 0), log_mel[B:].roll(-1, 0)])
    expected = (torch.log(share * other.exp() + (1 - share) * log_mel.exp()) - mean) / deviation
    mixed = mix((log_mel - mean) / deviation, gamma, scale=torch.tensor(deviation, dtype=torch.float64))
    torch.testing.assert_close(mixed, expected, rtol=1e-12, atol=1e-12)


def test_mixtures_are_equation_2():
    views, gamma = values(2 * B, 1, F, T), draw_gamma(B, 0.4, 0.6, torch.Generator().manual_seed(0))
    mixed = mix(views, gamma)
    for view in range(2):
        for number in range(B):
            place, following = view * B + number, view * B + (number + 1) % B
            share = gamma[place].double()
            expected = torch.log(share * views[following].double().exp() + (1 - share) * views[place].double().exp())
            torch.testing.assert_close(mixed[place].double(), expected, rtol=0, atol=1e-5)


def test_the_difference_takes_the_known_part_off():
    mixed, plain, gamma = values(2 * B, D), values(2 * B, D, seed=1), torch.linspace(0.4, 0.6, 2 * B)
    found = subtract_background(mixed, shift_views(plain), gamma)
    for view in range(2):
        for number in range(B):
            place, following = view * B + number, view * B + (number + 1) % B
            torch.testing.assert_close(found[place], mixed[place] - gamma[place] * plain[following])


def test_the_difference_loss_is_equation_3():
    """z = g(f(w) - gamma s(f(v))), with linear f, g and q that are written out."""
    f, g, q = (
        values(*shape, seed=seed, dtype=torch.float64) for seed, shape in enumerate(((F * T, D), (D, P), (P, P)))
    )
    views, target = values(2 * B, 1, F, T, seed=5), values(2 * B, P, seed=6)
    gamma = draw_gamma(B, 0.4, 0.6, torch.Generator().manual_seed(1))

    def encode(log_mels):
        return log_mels.flatten(1).double() @ f

    z = subtract_background(encode(mix(views.double(), gamma)), shift_views(encode(views)), gamma) @ g
    found = compute_symmetric_distance(z @ q, target)
    total = 0.0
    for view in range(2):
        for number in range(B):
            place, following = view * B + number, view * B + (number + 1) % B
            share, v, s = gamma[place].double(), views[place].double(), views[following].double()
            w = torch.log(share * s.exp() + (1 - share) * v.exp())
            hat = (w.flatten() @ f - share * (s.flatten() @ f)) @ g @ q
            total += reference_distance(hat[None], target[(place + B) % (2 * B)][None])
    assert found.item() == pytest.approx(total / (2 * B), abs=1e-5)


def test_gradients_are_those_of_finite_differences():
    gamma = torch.linspace(0.4, 0.6, 4, dtype=torch.float64)
    target = values(4, 3, seed=1, dtype=torch.float64)
    weights = values(6, 3, seed=2, dtype=torch.float64)

    def loss(views, matrix):
        mixed, known = mix(views, gamma).flatten(1), shift_views(views.flatten(1) @ matrix)
        return compute_symmetric_distance(subtract_background(mixed @ matrix, known, gamma), target)

    views = values(4, 1, 2, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(loss, (views, weights.requires_grad_()))


def test_gradients_flow_through_both_parts_and_not_into_the_target():
    mixed, plain = values(4, D).requires_grad_(), values(4, D, seed=1).requires_grad_()
    target = values(4, D, seed=2).requires_grad_()
    compute_symmetric_distance(subtract_background(mixed, shift_views(plain), torch.full((4,), 0.5)), target).backward()
    assert mixed.grad.abs().sum() > 0
    assert plain.grad.abs().sum() > 0
    assert target.grad is None


def test_the_shift_stays_within_a_view():
    views = torch.arange(6.0)[:, None]
    assert shift_views(views).flatten().tolist() == [1, 2, 0, 4, 5, 3]
    assert swap_views(views).flatten().tolist() == [3, 4, 5, 0, 1, 2]
    for function in (shift_views, swap_views):
        with pytest.raises(InvalidInputError, match="an even number of clips, but has 5"):
            function(torch.zeros(5, 2))


def test_losses_are_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted, target = values(4, P).bfloat16(), values(4, P, seed=1).bfloat16()
        assert compute_distance(predicted, target).dtype == torch.float32
        assert mix(values(4, 1, F, T).bfloat16(), torch.full((4,), 0.5)).dtype == torch.float32
        assert (
            subtract_background(values(4, D).bfloat16(), values(4, D).bfloat16(), torch.full((4,), 0.5)).dtype
            == torch.float32
        )


def test_gamma_is_uniform_and_has_its_own_stream():
    gamma = draw_gamma(2_000, 0.4, 0.6, torch.Generator().manual_seed(0))
    assert gamma.shape == (4_000,)
    assert 0.4 <= gamma.min() < 0.402
    assert 0.598 < gamma.max() <= 0.6
    for low, high in ((0.0, 0.5), (0.5, 1.0), (0.6, 0.4)):
        with pytest.raises(InvalidInputError, match="both must be between 0 and 1"):
            draw_gamma(1, low, high, torch.Generator())


def test_heads_have_the_published_sizes():
    head = make_head(3_072)
    assert [tuple(layer.weight.shape) for layer in (head[0], head[3])] == [(4_096, 3_072), (256, 4_096)]
    assert isinstance(head[1], torch.nn.BatchNorm1d)
