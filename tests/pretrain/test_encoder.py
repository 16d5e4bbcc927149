"""The encoders: embeddings against their parts put together by hand, frames, fitting, entry points."""

from __future__ import annotations

import importlib
import json
from importlib.metadata import entry_points

import numpy as np
import pytest
import torch

from bgknown.errors import InvalidInputError, NotFoundError
from pretrain import encoder as byola
from pretrain import untrained
from pretrain.checkpoint import write_encoder
from pretrain.config import list_unused_settings
from pretrain.encoder import ByolaEncoder, FittedByolaEncoder
from pretrain.frontend import PUBLISHED, FrontEnd, LogMelSpectrogram, Statistics
from pretrain.networks import AudioNTT2020, AudioNTT2022
from tests.pretrain.made import RATE_HZ, noise, published_2020, published_2022

STATISTICS = Statistics(mean=-6.0, std=4.0)


def own(**settings):
    front_end = FrontEnd(**settings)
    return ByolaEncoder(AudioNTT2022(n_mels=front_end.n_mels, d=1_100, hidden=32), front_end, STATISTICS, name="own")


def earlier():
    return ByolaEncoder(AudioNTT2020(d=48), PUBLISHED, STATISTICS, name="earlier")


@pytest.fixture
def published(tmp_path):
    torch.save(published_2020(512), tmp_path / "AudioNTT2020-BYOLA-64x96d512.pth")
    return str(tmp_path / "AudioNTT2020-BYOLA-64x96d512.pth")


@pytest.mark.parametrize("make", [own, earlier])
def test_an_embedding_is_front_end_statistics_network(make):
    encoder = make()
    audio = noise(3, 8_000)
    with torch.no_grad():
        expected = encoder.network((LogMelSpectrogram(encoder.front_end)(audio) - STATISTICS.mean) / STATISTICS.std)
    embeddings = encoder.embed(audio)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (3, encoder.embedding_size)
    assert not embeddings.requires_grad
    assert not embeddings.is_inference()
    torch.testing.assert_close(embeddings, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [own, earlier])
def test_the_batch_does_not_matter(make):
    encoder = make()
    audio = noise(40, 16_000)  # more clips than go through the network at once
    together = encoder.embed(audio)
    alone = torch.cat([encoder.embed(clip[None]) for clip in audio[[0, 17, 39]]])
    torch.testing.assert_close(together[[0, 17, 39]], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder.embed(audio.flip(0)).flip(0), together, rtol=1e-4, atol=1e-5)
    assert torch.equal(encoder.embed(audio), together)


@pytest.mark.parametrize("make", [own, earlier])
@pytest.mark.parametrize("samples", [1, 100, 480, 1_119, 1_120, 1_600])
def test_short_audio_is_audio_with_zeros_at_its_end(make, samples):
    encoder = make()
    audio = noise(2, samples)
    embeddings = encoder.embed(audio)
    assert torch.isfinite(embeddings).all()
    shortest = max((2**encoder.network.poolings - 1) * encoder.front_end.hop, encoder.front_end.shortest)
    padded = torch.nn.functional.pad(audio, (0, max(0, shortest - samples)))
    torch.testing.assert_close(embeddings, encoder.embed(padded), rtol=1e-5, atol=1e-6)
    assert encoder.frames(audio)[0].shape[1] >= 1


@pytest.mark.parametrize(("make", "pooled"), [(own, 4), (earlier, 8)])
def test_frames_lie_where_they_were_heard(make, pooled):
    encoder = make()
    audio = torch.zeros(2, RATE_HZ)
    click = 8_000
    audio[0, click] = 1.0
    features, times_ms = encoder.frames(audio)
    frames = (1 + RATE_HZ // 160) // pooled
    assert features.shape == (2, frames, encoder.embedding_size)
    assert times_ms.shape == (2, frames)
    centres_ms = np.arange(frames * pooled) * 10.0
    np.testing.assert_allclose(times_ms[1].numpy(), centres_ms.reshape(frames, pooled).mean(axis=1), rtol=1e-6)
    change = (features[0] - features[1]).abs().sum(dim=1)
    # the middle of what changed is the click, to within a pooled frame
    middle_ms = (change * times_ms[0]).sum() / change.sum()
    assert abs(middle_ms.item() - click / RATE_HZ * 1_000) < 10.0 * pooled
    torch.testing.assert_close(features.mean(dim=1) + features.amax(dim=1), encoder.embed(audio), rtol=1e-5, atol=1e-6)


def test_other_rates_change_the_times():
    encoder = own(rate_hz=32_000, hop=160)
    assert encoder.rate_hz == 32_000
    _, times_ms = encoder.frames(torch.zeros(1, 3_200))
    np.testing.assert_allclose(times_ms[0].numpy(), [7.5, 27.5, 47.5, 67.5, 87.5], rtol=1e-6)


def test_mixed_precision_comes_near():
    encoder = own()
    audio = noise(4, 16_000)
    exact = encoder.embed(audio)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = encoder.embed(audio)
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, exact)
    assert (mixed - exact).norm() / exact.norm() < 0.02


def test_input_is_left_as_it_was():
    audio = noise(2, 4_000)
    before = audio.clone()
    own().embed(audio)
    assert torch.equal(audio, before)


def test_own_checkpoints_need_no_fit(tmp_path):
    encoder = own()
    write_encoder(tmp_path / "epoch-7.safetensors", encoder.network, encoder.front_end, STATISTICS)
    path = str(tmp_path / "epoch-7.safetensors")
    loaded = byola.load(path, byola.Options())
    assert (loaded.name, loaded.rate_hz, loaded.embedding_size) == ("epoch-7", 16_000, 1_100)
    assert not hasattr(loaded, "fit")
    assert torch.equal(loaded.embed(noise(2, 5_000)), encoder.embed(noise(2, 5_000)))
    assert json.loads(json.dumps(loaded.configuration)) == loaded.configuration == encoder.configuration
    assert loaded.configuration["statistics"] == {"mean": -6.0, "std": 4.0}
    assert byola.weights_of(path, byola.Options()) == [tmp_path / "epoch-7.safetensors"]
    other = byola.load(path, byola.Options(mean=-5.0, std=3.0))
    assert other.configuration["statistics"] == {"mean": -5.0, "std": 3.0}
    assert not torch.equal(other.embed(noise(2, 5_000)), loaded.embed(noise(2, 5_000)))


def test_published_weights_are_fitted_on_training_audio(published):
    encoder = byola.load(published, byola.Options())
    assert encoder.name == "AudioNTT2020-BYOLA-64x96d512"
    assert isinstance(encoder, FittedByolaEncoder)
    assert encoder.configuration["statistics"] is None
    with pytest.raises(InvalidInputError, match=r"standard deviation .* not known yet; call fit .* \?mean=\.\.\.&std="):
        encoder.embed(noise(1, 4_000))
    audio = [noise(3, 8_000, seed=1), noise(2, 4_321, seed=2), noise(1, 300, seed=3)]
    encoder.fit(iter(audio))
    heard = [*audio[:2], torch.nn.functional.pad(audio[2], (0, 1_120 - 300))]
    values = np.concatenate([LogMelSpectrogram(PUBLISHED)(batch).double().numpy().ravel() for batch in heard])
    assert encoder.statistics.mean == pytest.approx(values.mean(), rel=1e-10)
    assert encoder.statistics.std == pytest.approx(values.std(), rel=1e-10)
    first = encoder.embed(audio[0])
    given = byola.load(published, byola.Options(mean=values.mean(), std=values.std()))
    assert not hasattr(given, "fit")
    torch.testing.assert_close(first, given.embed(audio[0]), rtol=1e-5, atol=1e-6)
    encoder.fit([noise(3, 8_000, seed=9)])  # starts over
    assert encoder.statistics.mean != pytest.approx(values.mean(), rel=1e-6)
    encoder.fit(reversed(audio))
    torch.testing.assert_close(encoder.embed(audio[0]), first, rtol=1e-5, atol=1e-6)


def test_a_fit_that_fails_leaves_no_statistics_behind(published):
    encoder = byola.load(published, byola.Options())
    encoder.fit([noise(2, 4_000)])
    with pytest.raises(InvalidInputError, match=r"encoder AudioNTT2020-.*: .* silent throughout"):
        encoder.fit([torch.zeros(2, 4_000)])
    assert encoder.configuration["statistics"] is None
    with pytest.raises(InvalidInputError, match="no audio was given"):
        encoder.fit([])
    with pytest.raises(InvalidInputError, match="NaN or infinite samples"):
        encoder.fit([torch.full((1, 4_000), torch.nan)])


def test_published_weights_of_2022_have_3072_values(tmp_path):
    torch.save({"state_dict": {f"module.{name}": v for name, v in published_2022().items()}}, tmp_path / "v2.pth")
    encoder = byola.load(str(tmp_path / "v2.pth"), byola.Options(mean=-6, std=4))
    assert encoder.embed(noise(2, 15_200)).shape == (2, 3_072)
    assert encoder.configuration["network"] == {
        "name": "AudioNTT2022",
        "n_mels": 64,
        "hidden": 2_048,
        "embedding_size": 3_072,
    }


def test_targets_and_options_that_make_no_sense_are_refused(published):
    with pytest.raises(InvalidInputError, match="the checkpoint is missing"):
        byola.load("", byola.Options())
    with pytest.raises(NotFoundError, match=r"absent\.pth: no such file"):
        byola.load("absent.pth", byola.Options())
    with pytest.raises(InvalidInputError, match="mean is -6 and std None; give both or neither"):
        byola.load(published, byola.Options(mean=-6))
    with pytest.raises(InvalidInputError, match="std is -1"):
        byola.load(published, byola.Options(mean=-6, std=-1))
    with pytest.raises(InvalidInputError, match="takes no target, 'x' given"):
        untrained.load("x", untrained.Options())
    with pytest.raises(InvalidInputError, match="takes 64 mel bands, the front end makes 40"):
        ByolaEncoder(AudioNTT2022(), FrontEnd(n_mels=40), STATISTICS, name="own")


@pytest.mark.parametrize("shape", [(4_000,), (1, 1, 4_000), (2, 0)])
def test_what_is_no_batch_of_clips_is_refused(shape):
    for use in (own().embed, own().frames):
        with pytest.raises(InvalidInputError, match="audio: "):
            use(torch.zeros(shape))


def test_the_untrained_network_depends_on_its_seed():
    encoders = [untrained.load("", untrained.Options(seed=seed)) for seed in (0, 0, 1)]
    assert [encoder.name for encoder in encoders[1:]] == ["audiontt2022-untrained", "audiontt2022-untrained-seed1"]
    assert encoders[0].front_end == FrontEnd(n_fft=400, window=400, hop=160, n_mels=64, f_min=50, f_max=8_000)
    audio = noise(2, 8_000)
    results = []
    for encoder in encoders:
        assert isinstance(encoder, FittedByolaEncoder)
        encoder.fit([audio])
        results.append(encoder.embed(audio))
    assert results[0].shape == (2, 3_072)
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2], rtol=0.1)
    given = untrained.load("", untrained.Options(mean=-6.0, std=4.0))
    assert not hasattr(given, "fit")


@pytest.mark.parametrize(
    ("name", "module"), [("byola", "pretrain.encoder"), ("audiontt2022-untrained", "pretrain.untrained")]
)
def test_entry_points_lead_to_kind_modules(name, module):
    (point,) = entry_points(group="benchmark.encoders", name=name)
    assert point.value == module
    kind = point.load()
    assert kind is importlib.import_module(module)
    assert callable(kind.load)
    assert kind.Options() is not None


@pytest.mark.gpu
def test_a_gpu_gives_the_same_embeddings():
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    audio = noise(70, 80_000)  # more clips than go through the network at once
    exact = own().embed(audio)
    moved = own().to("cuda")
    result = moved.embed(audio)
    assert result.device.type == "cuda"
    # convolutions run in TF32 there, with a mantissa of ten bits
    assert (result.cpu() - exact).norm() / exact.norm() < 2e-3
    assert moved.frames(audio[:2])[1].device.type == "cuda"


def test_an_encoder_says_how_it_was_trained(tmp_path):
    card = {
        "config": {"objective": {"lambda": 0.25, "mix_domain": "power"}, "training": {"seed": 3, "odd": [1]}, "odd": 1},
        "corpus": {"index_sha256": "ab"},
        "steps_done": 7,
    }
    network = AudioNTT2022(n_mels=16, d=300, hidden=8)
    write_encoder(tmp_path / "own.safetensors", network, FrontEnd(n_mels=16), STATISTICS, card=card)
    loaded = byola.load(str(tmp_path / "own.safetensors"), byola.Options())
    assert loaded.training_settings == {
        **list_unused_settings(),
        "objective.lambda": 0.25,
        "objective.mix_domain": "power",
        "training.seed": 3,
        "corpus": "ab",
        "steps_done": 7,
    }
    assert own().training_settings == {}
    assert byola.list_training_settings({"config": "old"}) == {}
