"""Training audio that is decoded on request."""

import numpy as np
import pytest
import soundfile
import torch

from benchmark.embedding.clips import Clip
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.encoders.contract import LoadedEncoder, TrainingAudio
from bgknown.errors import NotFoundError


class Keeper:
    """Reads its training audio in several ways."""

    name, rate_hz, embedding_size = "keeper", 16_000, 1

    def fit(self, batches):
        assert isinstance(batches, TrainingAudio)
        self.passes = [[batch.clone() for batch in batches] for _ in range(2)]
        self.audio, self.count = batches, len(batches)

    def embed(self, audio):
        return audio.mean(dim=1, keepdim=True)


@pytest.fixture
def clips(tmp_path):
    """Five clips of two lengths, each of one value."""
    found = [Clip(path=tmp_path / f"{number}.wav") for number in range(5)]
    for number, clip in enumerate(found):
        soundfile.write(str(clip.path), np.full(200 if number == 1 else 100, number / 8), 16_000, subtype="FLOAT")
    return found


@pytest.fixture
def kept(clips, tmp_path):
    """An encoder that was fitted on the clips."""
    encoder = Keeper()
    loaded = LoadedEncoder(encoder=encoder, spec="keeper", kind="python", weights_sha256="")
    embed_clips(loaded, clips[:1], EmbedSettings(cache=tmp_path / "cache", batch_size=3), fit_on=clips)
    return encoder


def test_training_audio_can_be_iterated_over_again(kept):
    first, second = kept.passes
    assert kept.count == len(first) == len(second) == 3
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert [batch[:, 0].tolist() for batch in first] == [[0.0, 0.25, 0.375], [0.5], [0.125]]


def test_training_audio_gives_single_clips(kept):
    assert list(kept.audio.lengths) == [100, 100, 100, 100, 200]
    last, first = kept.audio.read([4, 0])
    assert torch.equal(last, torch.full((200,), 0.125))
    assert torch.equal(first, torch.zeros(100))
    assert kept.audio.read([]) == []


def test_training_audio_names_a_clip_that_is_gone(kept, clips):
    clips[1].path.unlink()
    with pytest.raises(NotFoundError, match=r"1\.wav: "):
        kept.audio.read([4])


@pytest.mark.parametrize("other", [[torch.zeros(1, 2)], iter([torch.zeros(1, 2)]), torch.zeros(1, 2)])
def test_what_cannot_be_read_clip_by_clip_is_not_training_audio(other):
    assert not isinstance(other, TrainingAudio)
