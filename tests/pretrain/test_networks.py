"""The AudioNTT networks against a plain reference in numpy, and against the published numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bgknown.errors import InvalidInputError
from pretrain.networks import NETWORKS, AudioNTT2020, AudioNTT2022, initialise_weights, mean_and_max
from tests.pretrain.made import published_2020, published_2022


def parameters(network):
    return sum(values.numel() for values in network.parameters())


def test_sizes_are_the_published_ones():
    # the papers say 6.3 M for BYOL-A v2 and 0.6, 1.6 and 5.3 M for BYOL-A of 512, 1,024 and 2,048 values
    assert parameters(AudioNTT2022()) == 6_333_376
    assert [parameters(AudioNTT2020(d=d)) for d in (512, 1_024, 2_048)] == [600_192, 1_649_792, 5_321_856]


@pytest.mark.parametrize(
    ("network", "state"),
    [(AudioNTT2022(), published_2022()), *((AudioNTT2020(d=d), published_2020(d)) for d in (512, 1_024, 2_048))],
    ids=["2022", "2020-512", "2020-1024", "2020-2048"],
)
def test_names_and_shapes_are_the_published_ones(network, state):
    ours = network.state_dict()
    assert list(ours) == list(state)
    assert {name: values.shape for name, values in ours.items()} == {name: v.shape for name, v in state.items()}


def reference_frames(state, log_mel, blocks, side_by_side):
    """One clip's frame features in float64 by loops over bands and frames: log-mel [F, T] -> [T', D]."""
    weights = {name: values.double().numpy() for name, values in state.items()}
    maps = log_mel[None]
    for block in range(blocks):
        conv, norm = f"features.{4 * block}", f"features.{4 * block + 1}"
        bands, frames = maps.shape[1:]
        around = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
        result = np.repeat(weights[f"{conv}.bias"], bands * frames).reshape(-1, bands, frames)
        for i in range(3):
            for j in range(3):
                shifted = around[:, i : i + bands, j : j + frames]
                result = result + np.einsum("oc,cft->oft", weights[f"{conv}.weight"][:, :, i, j], shifted)
        spread = np.sqrt(weights[f"{norm}.running_var"] + 1e-5)
        scale = (weights[f"{norm}.weight"] / spread)[:, None, None]
        result = (result - weights[f"{norm}.running_mean"][:, None, None]) * scale
        result = np.maximum(result + weights[f"{norm}.bias"][:, None, None], 0)
        maps = np.stack(
            [
                [result[:, 2 * f : 2 * f + 2, 2 * t : 2 * t + 2].max(axis=(1, 2)) for t in range(frames // 2)]
                for f in range(bands // 2)
            ]
        ).transpose(2, 0, 1)
    features = []
    for t in range(maps.shape[2]):
        local = np.array([maps[c, f, t] for f in range(maps.shape[1]) for c in range(64)])  # band by band
        first = np.maximum(weights["fc.0.weight"] @ local + weights["fc.0.bias"], 0)
        second = np.maximum(weights["fc.3.weight"] @ first + weights["fc.3.bias"], 0)
        features.append(np.concatenate([local, second]) if side_by_side else second)
    return np.array(features)


@pytest.mark.parametrize(
    ("network", "state", "blocks", "side_by_side"),
    [(AudioNTT2022(), published_2022(1), 2, True), (AudioNTT2020(d=512), published_2020(512, 1), 3, False)],
    ids=["2022", "2020"],
)
@pytest.mark.parametrize("frames", [8, 21])
def test_forward_is_the_reference(network, state, blocks, side_by_side, frames):
    network.load_state_dict(state)
    network.eval()
    log_mel = torch.randn(2, 1, 64, frames, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        features, embeddings = network.frame_features(log_mel), network(log_mel)
    assert features.shape == (2, frames // 2**blocks, network.embedding_size)
    assert embeddings.shape == (2, network.embedding_size)
    for clip in range(2):
        expected = reference_frames(state, log_mel[clip, 0].double().numpy(), blocks, side_by_side)
        np.testing.assert_allclose(features[clip].numpy(), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            embeddings[clip].numpy(), expected.mean(axis=0) + expected.max(axis=0), rtol=1e-4, atol=1e-5
        )


def test_other_sizes_fit_together():
    log_mel = torch.zeros(2, 1, 80, 16)
    assert AudioNTT2022(n_mels=80, d=1_500, hidden=32).eval()(log_mel).shape == (2, 1_500)
    assert AudioNTT2020(n_mels=80, d=96).eval()(log_mel).shape == (2, 96)


def test_mean_and_max():
    frames = torch.tensor([[[1.0, -4.0], [3.0, -2.0]]])
    assert mean_and_max(frames).tolist() == [[2.0 + 3.0, -3.0 - 2.0]]


@pytest.mark.parametrize("name", NETWORKS)
def test_initialisation_depends_on_the_seed_alone(name):
    before = torch.random.get_rng_state()
    one, same, other = (NETWORKS[name](seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    for key, values in one.state_dict().items():
        assert torch.equal(values, same.state_dict()[key])
    assert not torch.equal(one.fc[0].weight, other.fc[0].weight)
    with torch.no_grad():
        for values in same.state_dict().values():
            values.fill_(3)
    initialise_weights(same, 1)
    assert all(torch.equal(values, same.state_dict()[key]) for key, values in one.state_dict().items())


def test_initialisation_is_torchs_own():
    network = AudioNTT2022(seed=4)
    for layer, fan_in in ((network.features[0], 9), (network.features[4], 576), (network.fc[0], 1_024)):
        bound = fan_in**-0.5
        for values in (layer.weight, layer.bias):
            assert values.abs().max() <= bound
        # a uniform distribution on +-bound deviates by bound / sqrt(3)
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    norm = network.features[1]
    assert torch.equal(norm.weight, torch.ones(64))
    assert torch.equal(norm.running_var, torch.ones(64))
    assert not norm.bias.any()
    assert not norm.running_mean.any()
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AudioNTT2022(n_mels=3), "3 mel bands; 2 poolings by two need at least 4"),
        (lambda: AudioNTT2022(d=1_024), "d must exceed 1024"),
        (lambda: AudioNTT2020(d=0), "d is 0"),
        (lambda: AudioNTT2022()(torch.zeros(1, 1, 80, 96)), r"\[1, 1, 80, 96\]; it must be \[clips, 1, 64, frames\]"),
        (lambda: AudioNTT2020()(torch.zeros(1, 1, 64, 7)), "7 frames; 3 poolings by two need at least 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, said):
    with pytest.raises(InvalidInputError, match=said):
        make()
