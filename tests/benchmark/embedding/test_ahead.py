"""Decoding and encoding at the same time."""

import threading

import numpy as np
import pytest
import torch

from benchmark.embedding import ahead
from benchmark.embedding.clips import BrokenClipError, Clip
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.encoders.registry import load_encoder
from bgknown.errors import InvalidInputError
from tests.benchmark.made_encoders import Bands, loaded
from tests.conftest import noise, write_wav

WAIT_S = 30.0


class Beside(Bands):
    """Embeds in several threads, and notes in which, and on how many cores."""

    concurrent = True

    def __init__(self):
        super().__init__()
        self.threads, self.cores = set(), set()

    def embed(self, audio):
        self.threads.add(threading.current_thread())
        self.cores.add(torch.get_num_threads())
        return super().embed(audio)


@pytest.fixture
def clips(tmp_path):
    """Ten batches of two clips."""
    found = [Clip(path=tmp_path / "audio" / f"{number:02}.wav") for number in range(20)]
    for number, clip in enumerate(found):
        write_wav(clip.path, noise(0.05, number), 16_000)
    return found


@pytest.fixture
def settings(tmp_path):
    return EmbedSettings(cache=tmp_path / "cache", batch_size=2, jobs=3)


def test_clips_are_decoded_while_an_encoder_on_the_cpu_computes(clips, settings, monkeypatch):
    begun, read = threading.Event(), ahead.read_clip

    def read_third_batch_late(clip, rate_hz):
        assert clip is not clips[4] or begun.wait(WAIT_S), "the encoder waits for audio that it does not need yet"
        return read(clip, rate_hz)

    class Noting(Bands):
        def embed(self, audio):
            begun.set()
            return super().embed(audio)

    monkeypatch.setattr(ahead, "read_clip", read_third_batch_late)
    assert embed_clips(loaded(Noting()), clips, settings).shape == (20, 24)


def test_batches_side_by_side_give_the_same_embeddings(clips, settings, tmp_path):
    before = torch.get_num_threads()
    alone = embed_clips(loaded(Bands()), clips, EmbedSettings(cache=tmp_path / "other", batch_size=2))
    encoder = Beside()
    beside = embed_clips(loaded(encoder), clips, settings, twice=True)
    assert np.array_equal(alone, beside)
    assert encoder.cores == {1}
    assert len(encoder.threads - {threading.main_thread()}) > 1
    assert torch.get_num_threads() == before


def test_a_broken_clip_is_left_out_of_its_batch(clips, settings):
    clips[3].path.write_bytes(b"RIFF")
    with pytest.raises(BrokenClipError, match=r"03\.wav"):
        embed_clips(loaded(Beside()), clips, settings)
    whole = [clip for clip in clips if clip is not clips[3]]
    encoder = Beside()
    assert embed_clips(loaded(encoder), whole, settings).shape == (19, 24)
    assert encoder.seen == 1  # all others are kept; one is looked at again


def test_an_encoder_that_fails_in_a_thread_is_reported(clips, settings):
    class Failing(Beside):
        def embed(self, audio):
            raise ValueError("no such band")

    with pytest.raises(InvalidInputError, match="no such band"):
        embed_clips(loaded(Failing()), clips, settings)


@pytest.mark.parametrize("name", ["logmel", "melpower"])
def test_baselines_compute_the_same_on_one_core_and_on_two(name):
    encoder = load_encoder(name, device="cpu").encoder
    audio = torch.from_numpy(np.stack([noise(0.5, number) for number in range(8)]).astype(np.float32))
    before = torch.get_num_threads()
    try:
        found = []
        for cores in (1, 2):
            torch.set_num_threads(cores)
            found.append(encoder.embed(audio))
    finally:
        torch.set_num_threads(before)
    assert encoder.concurrent
    assert torch.equal(*found)
