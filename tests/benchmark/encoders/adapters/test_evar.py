"""Classes of EVAR's interface."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from benchmark.embedding import embedding_pass as embedding
from benchmark.embedding.clips import Clip
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.encoders.adapters import evar
from benchmark.encoders.contract import FittedEncoder, FrameEncoder, LoadedEncoder
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark.evar_classes import AR_BASE, AR_MADE
from tests.benchmark.made_encoders import noise, write


@pytest.fixture
def ar(folder):
    """EVAR's package with classes of our own; loads one of them."""
    write(folder / "evar" / "__init__.py", "")
    write(folder / "evar" / "ar_base.py", AR_BASE)
    write(folder / "evar" / "ar_made.py", AR_MADE)
    write(
        folder / "made.yaml",
        "sample_rate: 16000\nfeature_d: 4\nbatch_size: 3\nfield: unit_samples\nn_fft: 8\nweight_file: ''\n"
        "nested:\n  depth: 2\nday: 2026-01-01\n",
    )

    def load(name, **options):
        return evar.load(f"evar.ar_made.{name}", evar.Options(**{"config": "made.yaml", **options}))

    return load


def test_evar_classes_embed_with_their_configuration(ar):
    encoder = ar("AR_Mean")
    audio = noise(3, 100)
    assert torch.equal(encoder.embed(audio), encoder.model.layer(audio[:, :8]).detach())
    assert (encoder.name, encoder.rate_hz, encoder.embedding_size) == ("AR_Mean", 16_000, 4)
    assert not isinstance(encoder, FittedEncoder)
    assert not isinstance(encoder, FrameEncoder)
    assert encoder.configuration["evar"]["n_fft"] == 8
    assert json.loads(json.dumps(encoder.configuration)) == encoder.configuration
    assert ar("AR_Mean", sample_rate=32_000).rate_hz == 32_000


def test_evar_configurations_are_what_evars_classes_expect(ar):
    assert ar("AR_Asks").embedding_size == 4


def test_evar_weights_are_identified_by_content_and_not_by_path(ar, folder):
    first = ar("AR_Mean").model.state_dict()
    for name in ("a.pth", "b.pth"):
        torch.save(first, folder / name)
    a, b = ar("AR_Mean", weight_file="a.pth"), ar("AR_Mean", weight_file="b.pth")
    assert a.configuration == b.configuration
    assert torch.equal(a.embed(noise(2, 100)), b.embed(noise(2, 100)))
    options = evar.Options(config="made.yaml", weight_file="a.pth")
    assert evar.weights_of("evar.ar_made.AR_Mean", options) == [Path("a.pth")]
    assert evar.weights_of("evar.ar_made.AR_Mean", evar.Options(config="made.yaml")) == []


def test_evar_sizes_are_measured_without_training_anything(ar, folder):
    write(folder / "sizeless.json", json.dumps({"sample_rate": 16_000, "n_fft": 8}))
    encoder = ar("AR_Normed", config="sizeless.json")
    assert encoder.embedding_size == 4
    assert int(encoder.model.norm.num_batches_tracked) == 0
    assert not encoder.model.training


def test_evar_statistics_are_those_of_the_training_audio(ar):
    encoder = ar("AR_Frames")
    assert isinstance(encoder, FittedEncoder)
    audio = noise(2, 400)
    for call in (encoder.embed, encoder.frames):
        with pytest.raises(InvalidInputError, match="AR_Frames: has no statistics yet; call fit"):
            call(audio)
    for offset in (0.25, 0.75):
        encoder.fit(iter([torch.full((3, 50), offset), torch.full((2, 50), offset + 1)]))
        expected = (audio - offset - 0.5).reshape(2, 100, 4)
        assert torch.allclose(encoder.embed(audio), expected.mean(dim=1), atol=1e-6)
        frames, times_ms = encoder.frames(audio)
        assert torch.allclose(frames, expected, atol=1e-6)
        assert times_ms[1].tolist() == pytest.approx([0.125 + 0.25 * place for place in range(100)])


@pytest.fixture
def record(folder):
    """Write clips of the lengths in ``samples``, whose values are their numbers / 100; give them as clips."""

    def write_clips(samples):
        clips = [Clip(path=folder / f"{number}.wav") for number in range(len(samples))]
        for number, (clip, length) in enumerate(zip(clips, samples, strict=True)):
            soundfile.write(str(clip.path), np.full(length, number / 100), 16_000, subtype="FLOAT")
        return clips

    return write_clips


def fit(encoder, clips, folder, batch_size=2):
    """Embed clips by an encoder that is fitted on them."""
    loaded = LoadedEncoder(encoder=encoder, spec="evar", kind="evar", weights_sha256="")
    return embed_clips(
        loaded, clips, EmbedSettings(cache=folder / f"cache-{batch_size}", batch_size=batch_size), fit_on=clips
    )


def test_evar_statistics_come_from_a_loader_as_evars_own(ar, record, folder, capsys):
    encoder = ar("AR_Level")
    rows = fit(encoder, record([80] * 8), folder)
    assert rows[:, 0].tolist() == pytest.approx([number / 3.5 for number in range(8)])
    loader = encoder.model.loader
    assert isinstance(loader, DataLoader)
    assert (loader.batch_size, len(loader), len(loader.dataset), loader.dataset.split) == (3, 3, 8, "train")
    clip, label = loader.dataset[-1]
    assert (clip.shape, clip[0].item(), label.item()) == ((80,), pytest.approx(0.07), 0)
    with pytest.raises(IndexError):
        loader.dataset[8]
    output = capsys.readouterr()
    assert "8 of 8 train clips in 3 batches\nat most 9 clips" in output.err
    assert output.out == ""


def test_evar_training_audio_is_shuffled_always_in_the_same_way(ar, record, folder):
    orders = []
    for batch_size in (2, 5):  # which is that of embedding, and must not change statistics
        encoder = ar("AR_Level")
        fit(encoder, record([80] * 8), folder, batch_size)
        for _ in range(2):
            orders.append([round(100 * value) for audio, _ in encoder.model.loader for value in audio[:, 0].tolist()])
    assert orders == [orders[0]] * 4
    assert sorted(orders[0]) == list(range(8))
    assert orders[0] != list(range(8))


def test_evar_training_audio_is_decoded_only_as_far_as_it_is_read(ar, record, folder, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        "benchmark.embedding.training_audio.read_clip",
        lambda clip, rate_hz: (decoded.append(clip), read(clip, rate_hz))[1],
    )
    read = embedding.read_clip
    fit(ar("AR_First"), record([80] * 8), folder)
    assert len(decoded) == 3


def test_evar_training_audio_of_different_lengths_comes_in_batches_of_one_length(ar, record, folder):
    encoder = ar("AR_Level", batch_size=4)
    lengths = [80, 160, 80, 80, 160, 80, 80]
    fit(encoder, record(lengths), folder)
    loader = encoder.model.loader
    shapes = [tuple(audio.shape) for audio, _ in loader]
    assert sorted(shapes) == [(1, 80), (2, 160), (4, 80)]
    assert (loader.batch_size, len(loader), len(loader.dataset)) == (4, 3, 7)
    read = {round(100 * audio[0].item()): len(audio) for audio, _ in loader.dataset}
    assert read == dict(enumerate(lengths))


def test_evar_broken_training_clips_are_named(ar, record, folder):
    clips = record([80] * 4)
    encoder = ar("AR_Level")
    loaded = LoadedEncoder(encoder=encoder, spec="evar", kind="evar", weights_sha256="")
    clips[1].path.write_bytes(clips[1].path.read_bytes()[:-20])
    with pytest.raises(InvalidInputError, match=r"1\.wav: "):
        embed_clips(loaded, clips[2:], EmbedSettings(cache=folder / "cache"), fit_on=clips)


def test_evar_classes_for_one_length_are_made_for_that_of_the_audio(ar):
    encoder = ar("AR_Fixed")
    for samples in (400, 100):
        audio = noise(2, samples)
        rows = encoder.embed(audio)
        expected = (audio * torch.arange(samples)).mean(dim=1, keepdim=True) * ar("AR_Fixed").model.drawn
        assert torch.allclose(rows, expected)
    assert not encoder.model.training
    assert type(encoder.model).made[-4:] == [400, 16_000, 100, 16_000]
    assert ar("AR_FixedLater").embed(noise(2, 400)).shape == (2, 4)


def test_evar_classes_for_one_length_keep_the_one_that_is_set(ar, folder):
    encoder = ar("AR_Fixed", unit_s=0.025)
    assert encoder.configuration["evar"]["unit_samples"] == 400
    assert "unit_samples" not in ar("AR_Fixed").configuration["evar"]
    made = len(type(encoder.model).made)
    assert encoder.embed(noise(2, 400)).shape == (2, 4)
    assert type(encoder.model).made[made:] == []
    write(folder / "set.json", json.dumps({"sample_rate": 16_000, "unit_samples": 80, "field": "unit_samples"}))
    assert ar("AR_Length", config="set.json").embed(noise(1, 400))[0, 0] == 80
    assert ar("AR_Length").embed(noise(1, 400))[0, 0] == 400
    assert ar("AR_Task", task_name="esc50").embed(noise(1, 400))[0, 0] == 5


def test_evar_classes_for_one_length_are_fitted_and_used_at_that_length(ar, record, folder):
    encoder = ar("AR_FixedLevel")
    rows = fit(encoder, record([80] * 4), folder)
    assert rows[3, 0] == pytest.approx(0.03 * 39.5 / 0.015 * encoder.model.drawn[0].item(), rel=1e-5)
    with pytest.raises(InvalidInputError, match="AR_FixedLevel: accepts clips of one length and was fitted to .* 80"):
        encoder.embed(noise(2, 400))
    message = r"clips of one length, but the training audio has 2 \(from 80 to 90 samples\): set a duration"
    with pytest.raises(InvalidInputError, match=message):
        ar("AR_FixedLevel").fit([noise(2, 80), noise(2, 90)])


def test_evar_sizes_are_what_the_class_returns_whatever_the_configuration_says(ar, folder):
    assert ar("AR_Wide").embedding_size == 12
    with pytest.raises(InvalidInputError, match="has no statistics yet"):  # those of noise are forgotten
        ar("AR_Wide").embed(noise(2, 100))
    write(folder / "short.json", json.dumps({"sample_rate": 16_000, "n_fft": 20_000, "feature_d": 4}))
    assert ar("AR_Mean", config="short.json").embedding_size == 4  # a second is too short for it to be tried


def test_evar_code_that_statistics_come_from_is_part_of_the_configuration(ar, folder):
    before, plain = ar("AR_Level").configuration, ar("AR_Mean").configuration
    write(folder / "evar" / "ar_base.py", AR_BASE.replace("seen >= max_samples", "seen > max_samples"))
    assert ar("AR_Level").configuration != before
    assert ar("AR_Mean").configuration == plain


def test_evar_frames_of_another_shape_are_refused(ar):
    encoder = ar("AR_Flat")
    encoder.fit([noise(1, 8)])
    message = r"AR_Flat: encode_frames returned \[2, 400\] .* must be \[2, D, T\]"
    with pytest.raises(InvalidInputError, match=message):
        encoder.frames(noise(2, 400))


def test_evar_statistics_that_fail_are_reported_in_one_line(ar):
    with pytest.raises(InvalidInputError, match=r"AR_Frames: precompute fails: RuntimeError.*ar_made\.py, line \d+"):
        ar("AR_Frames").fit([])


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        ("evar.ar_made.AR_Mean", {}, InvalidInputError, "asks for n_fft, which the configuration lacks; add it to"),
        ("evar.ar_made.AR_Frames", {}, InvalidInputError, r"no sample_rate; give it .* as \?sample_rate=16000"),
        ("evar.ar_made.AR_Main", {"config": "made.yaml"}, NotFoundError, "no 'AR_Main' in it; did you mean AR_Mean?"),
        ("evar.ar_made.make", {"config": "made.yaml"}, InvalidInputError, "is a function; it must be a class"),
        ("evar.ar_absent.AR", {"config": "made.yaml"}, NotFoundError, r"no module 'evar\.ar_absent'"),
        ("evar.ar_made.AR_Mean", {"config": "a.yaml"}, NotFoundError, r"a\.yaml: no such file"),
        ("evar.ar_made.AR_Mean", {"config": "list.yaml"}, InvalidInputError, "holds a list; it must hold fields"),
        ("evar.ar_made.AR_Mean", {"config": "bad.yaml"}, InvalidInputError, "not YAML"),
        ("evar.ar_made.AR_Mean", {"config": "bad.json"}, InvalidInputError, "not JSON"),
        ("evar.ar_made.AR_Files", {"config": "made.yaml"}, InvalidInputError, "the class reads files by their names"),
        ("evar.ar_made.AR_Mean", {"config": "files.json"}, InvalidInputError, "the class reads files by their names"),
        ("evar.ar_made.AR_Mean", {"config": "batch.json"}, InvalidInputError, "batch_size of its configuration is 0"),
        (
            "evar.ar_made.AR_Mean",
            {"config": "unit.json"},
            InvalidInputError,
            "unit_samples of its configuration is 'a'",
        ),
        ("evar.ar_made.AR_Mean", {"unit_s": 5.0}, InvalidInputError, "option unit_s needs a sample_rate"),
        (
            "evar.ar_made.AR_Mean",
            {"config": "made.yaml", "unit_s": -1.0},
            InvalidInputError,
            "option unit_s is -1.0; it must",
        ),
        ("evar.ar_made.AR_Mean", {"weight_file": "a.pth"}, NotFoundError, r"option weight_file: no such file a\.pth"),
    ],
)
@pytest.mark.usefixtures("ar")
def test_evar_classes_that_cannot_be_made_are_reported_in_one_line(folder, target, options, error, message):
    write(folder / "list.yaml", "- 1\n- 2\n")
    write(folder / "bad.yaml", "a: [\n")
    write(folder / "bad.json", "{")
    for name, field in (
        ("files", ("return_filename", True)),
        ("batch", ("batch_size", 0)),
        ("unit", ("unit_samples", "a")),
    ):
        write(folder / f"{name}.json", json.dumps({"sample_rate": 16_000, "n_fft": 8, field[0]: field[1]}))
    with pytest.raises(error, match=message) as raised:
        evar.load(target, evar.Options(**options))
    assert "\n" not in str(raised.value)
