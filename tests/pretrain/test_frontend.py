"""The log-mel front end against librosa, and the statistics against numpy."""

from __future__ import annotations

import warnings

import librosa
import numpy as np
import pytest
import torch

from bgknown.errors import InvalidInputError
from pretrain.frontend import PUBLISHED, FrontEnd, LogMelSpectrogram, Statistics, measure
from tests.pretrain.made import RATE_HZ, noise

FRONT_ENDS = {
    "paper": FrontEnd(),
    "published": PUBLISHED,
    "window shorter than n_fft": FrontEnd(n_fft=512, window=400),
    "other rate": FrontEnd(rate_hz=32_000, n_fft=1_024, window=800, hop=320, n_mels=80, f_min=0.0, f_max=14_000.0),
}
front_ends = pytest.mark.parametrize("front_end", FRONT_ENDS.values(), ids=FRONT_ENDS)


def librosa_log_mel(audio, front_end):
    with warnings.catch_warnings():
        # said of audio shorter than n_fft, which mirrored is long enough
        warnings.filterwarnings("ignore", message="n_fft=.* is too large", category=UserWarning)
        power = librosa.feature.melspectrogram(
            y=audio,
            sr=front_end.rate_hz,
            n_fft=front_end.n_fft,
            win_length=front_end.window,
            hop_length=front_end.hop,
            n_mels=front_end.n_mels,
            fmin=front_end.f_min,
            fmax=front_end.f_max,
            pad_mode="reflect",
        )
    return np.log(power + front_end.eps)


@front_ends
def test_log_mel_is_librosas(front_end):
    # both work in float32: the power agrees to a few units in the sixth digit, so does its logarithm absolutely
    audio = noise(3, 12_345)
    ours = LogMelSpectrogram(front_end)(audio)
    theirs = np.stack([librosa_log_mel(clip.astype(np.float64), front_end) for clip in audio.numpy()])
    assert ours.dtype == torch.float32
    assert ours.shape == (3, 1, front_end.n_mels, 1 + 12_345 // front_end.hop)
    np.testing.assert_allclose(ours[:, 0].numpy(), theirs, rtol=0, atol=5e-5)
    assert np.abs(ours[:, 0].numpy() - theirs).mean() < 1e-6


def test_a_tone_is_loudest_in_its_own_band():
    time_s = torch.arange(RATE_HZ) / RATE_HZ
    edges_hz = librosa.mel_frequencies(n_mels=66, fmin=50, fmax=8_000)
    for band in (5, 30, 60):
        tone = torch.sin(2 * torch.pi * float(edges_hz[band + 1]) * time_s)
        assert LogMelSpectrogram(FrontEnd())(tone[None])[0, 0, :, 50].argmax() == band


def test_silence_is_the_logarithm_of_eps():
    log_mel = LogMelSpectrogram(FrontEnd())(torch.zeros(2, 4_000))
    assert torch.allclose(log_mel, torch.tensor(np.log(np.finfo(np.float32).eps), dtype=torch.float32))


@front_ends
@pytest.mark.parametrize("samples", [1, 160, 200, 513])
def test_short_audio_is_audio_with_zeros_at_its_end(front_end, samples):
    audio = noise(2, samples)
    padded = torch.nn.functional.pad(audio, (0, max(0, front_end.shortest - samples)))
    log_mel = LogMelSpectrogram(front_end)(audio)
    assert torch.equal(log_mel, LogMelSpectrogram(front_end)(padded))
    assert log_mel.shape[3] == 1 + padded.shape[1] // front_end.hop
    np.testing.assert_allclose(
        log_mel[1, 0].numpy(), librosa_log_mel(padded[1].double().numpy(), front_end), rtol=0, atol=5e-5
    )


def test_autocast_does_not_reach_the_front_end():
    audio = noise(2, 4_000)
    log_mel = LogMelSpectrogram(FrontEnd())
    plain = log_mel(audio)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(log_mel(audio), plain)


def test_a_front_end_adds_nothing_to_state_dicts():
    assert LogMelSpectrogram(FrontEnd()).state_dict() == {}
    assert list(LogMelSpectrogram(FrontEnd()).parameters()) == []


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        (torch.zeros(2, 0), "0 samples"),
        (torch.zeros(100), r"shape \[100\]; it must be float32 \[clips, samples\]"),
        (torch.zeros(1, 2, 100), r"shape \[1, 2, 100\]"),
        (torch.zeros(2, 100, dtype=torch.int16), "int16"),
    ],
)
def test_what_is_no_batch_of_clips_is_refused(audio, said):
    with pytest.raises(InvalidInputError, match=said):
        LogMelSpectrogram(FrontEnd())(audio)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hop": 0}, "hop is 0; it must be a whole number of at least 1"),
        ({"n_mels": 2**63}, "n_mels is 9223372036854775808; it must be at most 4,096"),
        ({"n_fft": 2**40, "window": 400}, "n_fft is .*; it must be at most 1,048,576"),
        ({"f_max": 10**400}, "f_max is 1000.*; it must be a number"),
        ({"n_fft": 400.0}, "n_fft is 400.0"),
        ({"n_mels": True}, "n_mels is True"),
        ({"window": 512}, "window is 512; it must not exceed n_fft, 400"),
        ({"f_max": 9_000}, "from 50 to 9000 Hz; they must be within 0..8000 Hz"),
        ({"f_min": 8_000}, "from 8000 to 8000 Hz"),
        ({"f_min": float("nan")}, "f_min is nan; it must be a number"),
        ({"eps": 0}, "eps is 0; it must be above 0"),
    ],
)
def test_settings_that_break_a_rule_are_refused(settings, said):
    with pytest.raises(InvalidInputError, match=said):
        FrontEnd(**settings)


def test_bands_without_a_bin_are_refused():
    with pytest.raises(
        InvalidInputError, match=r"contains no bin of a 256-point transform .* fewer bands \(n_mels\) or a larger"
    ):
        LogMelSpectrogram(FrontEnd(n_fft=256, window=256, n_mels=128))


def test_whole_numbers_and_fractions_mean_the_same_settings():
    assert repr(FrontEnd(f_min=50, f_max=8_000)) == repr(FrontEnd(f_min=50.0, f_max=8_000.0))


def test_statistics_are_mean_and_deviation_in_any_grouping():
    values = -6 + 5 * torch.randn(17, 1, 8, 30, generator=torch.Generator().manual_seed(3))
    exact = values.double().numpy()
    for parts in (values.split(17), values.split(4), list(values.split(1))[::-1], iter(values.split(3))):
        statistics = measure(parts)
        assert statistics.mean == pytest.approx(exact.mean(), rel=1e-12)
        assert statistics.std == pytest.approx(exact.std(), rel=1e-12)
    normalised = statistics.normalise(values).double()
    assert normalised.mean().item() == pytest.approx(0, abs=1e-6)
    assert normalised.std(correction=0).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("log_mels", "said"),
    [
        ([], "no audio was given"),
        ([torch.zeros(0, 1, 64, 5)], "no audio was given"),
        ([torch.full((2, 1, 64, 5), -15.9423847), torch.full((1, 1, 64, 5), -15.9423847)], "deviation is 0; .* silent"),
        ([torch.tensor([1.0, float("nan")])], "NaN or infinite"),
        ([torch.tensor([1.0, float("inf")])], "NaN or infinite"),
    ],
)
def test_statistics_that_cannot_be_taken_are_refused(log_mels, said):
    with pytest.raises(InvalidInputError, match=said):
        measure(log_mels)


@pytest.mark.parametrize(("mean", "std", "said"), [(0.0, 0.0, "std is 0"), (0.0, -1.0, "std is -1"), ("x", 1, "'x'")])
def test_statistics_that_make_no_sense_are_refused(mean, std, said):
    with pytest.raises(InvalidInputError, match=said):
        Statistics(mean=mean, std=std)
