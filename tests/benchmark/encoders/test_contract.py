"""One suite over every kind of encoder."""

import numpy as np
import pytest
import soundfile
import torch

from benchmark import hear as server
from benchmark.embedding.clips import Clip
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.encoders.check import check_encoder, has_passed, make_noise
from benchmark.encoders.contract import Encoder, FittedEncoder, FrameEncoder
from benchmark.encoders.registry import load_encoder
from tests.benchmark.kinds import KINDS

FITTED = {"audiontt2022-untrained", "published weights", "evar with statistics"}
FRAMED = {"logmel", "melpower", "own checkpoint", "hear", "xares", "wav2vec2", "hubert", "wavlm", "data2vec", "whisper"}
FRAMED |= {"audiontt2022-untrained", "published weights"}
WITHOUT_WEIGHTS = {"logmel", "melpower", "evar", "evar with statistics"}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    """The kind's name, its spec and its encoder."""
    folder = tmp_path_factory.mktemp("encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        spec = KINDS[request.param](folder)
        yield request.param, spec, load_encoder(spec, trust_code=True)


def test_it_keeps_the_contract(kind, monkeypatch):
    monkeypatch.setattr("benchmark.encoders.check.SPEED_S", 0.0)
    _, _, loaded = kind
    findings = check_encoder(loaded)
    assert [(finding.name, finding.detail) for finding in findings if finding.passed is False] == []
    assert has_passed(findings)


def test_it_has_what_it_should(kind):
    name, spec, loaded = kind
    encoder = loaded.encoder
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, FittedEncoder) == (name in FITTED)
    assert isinstance(encoder, FrameEncoder) == (name in FRAMED)
    assert loaded.spec == spec
    assert len(loaded.weights_sha256) == (0 if name in WITHOUT_WEIGHTS else 64)


def test_it_is_the_same_when_it_is_loaded_again(kind):
    _, spec, loaded = kind
    again = load_encoder(spec, trust_code=True)
    assert (again.key, again.weights_sha256) == (loaded.key, loaded.weights_sha256)
    audio = make_noise("again", 2, loaded.encoder.rate_hz)
    for encoder in (again.encoder, loaded.encoder):
        if isinstance(encoder, FittedEncoder):
            encoder.fit([audio])
    assert torch.allclose(again.encoder.embed(audio), loaded.encoder.embed(audio), atol=1e-5)


def test_files_are_embedded_by_it(kind, tmp_path):
    _, _, loaded = kind
    clips = []
    for number in range(3):
        audio = make_noise(f"clip {number}", 1, 2 * loaded.encoder.rate_hz)[0].numpy()
        soundfile.write(str(tmp_path / f"{number}.wav"), audio, loaded.encoder.rate_hz, subtype="FLOAT")
        clips.append(Clip(path=tmp_path / f"{number}.wav"))
    settings = EmbedSettings(cache=tmp_path / "cache", batch_size=2)
    rows = embed_clips(loaded, clips, settings, fit_on=clips)
    assert rows.shape == (3, loaded.encoder.embedding_size)
    direct = loaded.encoder.embed(torch.from_numpy(np.stack([audio])))
    assert np.allclose(rows[2], direct[0], rtol=1e-3, atol=1e-4 * np.abs(rows).max())


def test_it_is_served_as_a_hear_module(kind, monkeypatch):
    name, spec, _ = kind
    monkeypatch.setenv("BGKNOWN_TRUST_CODE", "1")
    if name in FITTED:
        with pytest.raises(ValueError, match=r"HEAR has no training audio for it: give them as options"):
            server.load_model(spec)
        if name == "evar with statistics":
            return
        spec += "?mean=-7&std=4"
    model = server.load_model(spec)
    assert isinstance(model, torch.nn.Module)
    audio = make_noise("hear", 2, model.sample_rate)
    assert server.get_scene_embeddings(audio, model).shape == (2, model.scene_embedding_size)
    if name in FRAMED:
        frames, times_ms = server.get_timestamp_embeddings(audio, model)
        assert frames.shape == (*times_ms.shape, model.timestamp_embedding_size)
        assert times_ms.dtype == torch.float32
    else:
        with pytest.raises(ValueError, match="has no embeddings of frames"):
            server.get_timestamp_embeddings(audio, model)
