"""The precision that encoders compute in."""

import pytest
import torch

from benchmark.embedding.precision import compute_in


@pytest.fixture(autouse=True)
def as_before():
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision(products)


def test_float32_on_a_gpu_is_not_tf32_and_everything_is_as_before_afterwards():
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    torch.set_float32_matmul_precision("medium")  # as some models set it
    with compute_in("float32", "cuda:0"):
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "medium"


def test_an_encoder_that_fails_leaves_the_precision_as_it_was():
    torch.backends.cudnn.allow_tf32 = True
    with pytest.raises(ValueError, match="broken"), compute_in("float32", "cuda"):
        raise ValueError("broken")
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch has had these names since 2.9")
def test_a_model_that_sets_the_newer_names_is_understood():
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    torch.backends.cudnn.rnn.fp32_precision = "ieee"
    with compute_in("float32", "cuda"):
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"
    torch.backends.cudnn.rnn.fp32_precision = "tf32"


def read_newer_names():
    backends = torch.backends
    return [place.fp32_precision for place in (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)]


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch has had these names since 2.9")
@pytest.mark.parametrize("place", [None, torch.backends, torch.backends.cudnn, torch.backends.cuda.matmul])
def test_whatever_a_model_has_set_everything_is_as_before_afterwards(place):
    """torch.backends is for all of its parts, torch.backends.cudnn for convolutions and recurrent layers."""
    if place is not None:
        place.fp32_precision = "tf32"
    before = read_newer_names()
    try:
        with compute_in("float32", "cuda"):
            assert read_newer_names() == ["ieee"] * 3
            assert not torch.backends.cudnn.allow_tf32
            assert torch.get_float32_matmul_precision() == "highest"
        assert read_newer_names() == before
    finally:
        if place is not None:
            place.fp32_precision = "none"


def test_reduced_precision_is_autocast():
    weight = torch.ones(2, 2)
    with compute_in("bfloat16", "cpu"):
        assert (weight @ weight).dtype == torch.bfloat16
    with compute_in("float32", "cpu"):
        assert (weight @ weight).dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_convolutions_on_a_gpu_are_those_of_a_cpu():
    torch.manual_seed(0)
    audio, kernels = torch.randn(8, 16, 64, 64), torch.randn(32, 16, 3, 3)
    exact = torch.nn.functional.conv2d(audio, kernels)
    with compute_in("float32", "cuda"):
        result = torch.nn.functional.conv2d(audio.cuda(), kernels.cuda()).cpu()
    assert (result - exact).norm() / exact.norm() < 1e-5
