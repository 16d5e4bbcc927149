"""Embeddings of mixtures: once, in blocks, resumable, and the same to the bit however many there are."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.embedding.settings import EmbedSettings
from benchmark.embedding.store import list_stores
from benchmark.heads import mixture_embeddings
from benchmark.heads.drawing import MixtureDraw
from benchmark.heads.mixing import find_plan
from benchmark.heads.mixture_embeddings import MixtureEmbeddings
from benchmark.heads.recordings import RecordingChoice, list_recordings
from bgknown.audio.sources import SourceStore
from bgknown.errors import InvalidInputError
from bgknown.jobs.caches import HEAD_EMBEDDINGS, clear_embeddings
from tests.benchmark.heads.conftest import RULES
from tests.benchmark.made_encoders import Bands, Fitted, loaded
from tests.conftest import RATE_HZ, noise, write_wav


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(mixture_embeddings, "MIXTURES_PER_BLOCK", 16)
    monkeypatch.setattr(mixture_embeddings, "FIT_MIXTURES", 16)


@pytest.fixture(scope="module")
def draw(recordings, tmp_path_factory):
    pool = list_recordings(RecordingChoice(audio=(recordings,)), cache=tmp_path_factory.mktemp("cache"))
    return MixtureDraw(pool.recordings, RULES)


def compute(draw, cache, count, encoder=None):
    encoder = encoder or Bands()
    work = MixtureEmbeddings(loaded(encoder), draw, count, EmbedSettings(cache=cache, jobs=1))
    work.compute_missing()
    blocks = list(work.read_blocks())
    return np.concatenate([rows for rows, _ in blocks]), np.concatenate([training for _, training in blocks])


def test_eight_mixtures_are_the_first_of_more_whatever_is_cached(draw, tmp_path):
    eight, training = compute(draw, tmp_path / "a", 8)
    assert eight.shape == (8, 3, Bands.embedding_size)
    assert training.tolist() == [True] * 7 + [False]
    many, training = compute(draw, tmp_path / "b", 40)
    assert np.array_equal(eight, many[:8])
    assert training.sum() == 35
    encoder = Bands()
    assert np.array_equal(compute(draw, tmp_path / "a", 13, encoder)[0], many[:13])
    assert encoder.seen == 3 * 8  # the second batch; the first was cached
    assert np.array_equal(compute(draw, tmp_path / "a", 40)[0], many)
    threads = MixtureEmbeddings(loaded(), draw, 8, EmbedSettings(cache=tmp_path / "c", jobs=3))
    threads.compute_missing()
    assert np.array_equal(next(threads.read_blocks())[0], eight)


class Killed(Bands):
    """Is interrupted in its third block."""

    def embed(self, audio):
        if self.seen >= 3 * 40:
            raise KeyboardInterrupt
        return super().embed(audio)


def test_an_interrupted_run_resumes_with_the_block_it_was_in(draw, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compute(draw, tmp_path / "a", 64, Killed())
    encoder = Bands()
    resumed, _ = compute(draw, tmp_path / "a", 64, encoder)
    assert encoder.seen == 3 * 32
    assert np.array_equal(resumed, compute(draw, tmp_path / "b", 64)[0])


def test_a_damaged_block_is_made_again_and_the_cache_can_be_cleared(draw, tmp_path):
    whole, _ = compute(draw, tmp_path, 32)
    (folder,) = (tmp_path / HEAD_EMBEDDINGS.folder).iterdir()
    block = folder / "block-000001.npy"
    data = bytearray(block.read_bytes())
    data[300] ^= 1
    block.write_bytes(data)
    encoder = Bands()
    assert np.array_equal(compute(draw, tmp_path, 32, encoder)[0], whole)
    assert encoder.seen == 3 * 16
    ((about, size),) = list_stores(tmp_path)
    assert about["name"] == "bands, mixtures for heads"
    assert size > whole.nbytes
    assert clear_embeddings(tmp_path) > whole.nbytes
    assert not (tmp_path / HEAD_EMBEDDINGS.folder).exists()


def test_only_a_block_of_audio_is_in_memory(draw, tmp_path, monkeypatch):
    sizes = []
    mix_batch = MixtureEmbeddings.mix_batch

    def watch(self, numbers):
        sizes.append(len(numbers))
        return mix_batch(self, numbers)

    monkeypatch.setattr(MixtureEmbeddings, "mix_batch", watch)
    compute(draw, tmp_path, 48)
    assert sizes == [16, 16, 16]


def test_statistics_come_from_the_same_mixtures_however_many_there_are(draw, tmp_path):
    few, _ = compute(draw, tmp_path / "a", 8, Fitted())
    more, _ = compute(draw, tmp_path / "b", 32, Fitted())
    assert np.array_equal(few, more[:8])
    plain, _ = compute(draw, tmp_path / "a", 8)
    assert not np.allclose(few, plain)


class Broken(Bands):
    def embed(self, audio):
        return super().embed(audio) * torch.nan


def test_an_encoder_that_breaks_its_contract_is_one_line(draw, tmp_path):
    with pytest.raises(InvalidInputError, match="NaN or infinite values for 24 of 24 clips"):
        compute(draw, tmp_path, 8, Broken())


def test_mixtures_with_a_foreground_that_must_not_be_one_are_left_out_and_the_rest_is_the_same(draw, tmp_path):
    encoder = Bands()
    whole, training = compute(draw, tmp_path, 40, encoder)
    banned = {recording.path for recording in draw.recordings if "short" in str(recording.path)}
    recordings = [replace(each, is_foreground=each.path not in banned) for each in draw.recordings]
    fewer = MixtureDraw(recordings, RULES)
    seen = encoder.seen
    kept = np.array([draw.plan_mixture(number).foreground.path not in banned for number in range(40)])
    assert 0 < kept.sum() < 40
    for _ in range(2):  # the second time from the cache
        rows, trained = compute(fewer, tmp_path, 40, encoder)
        assert encoder.seen == seen
        assert np.array_equal(rows, whole[kept])
        assert np.array_equal(trained, training[kept])
    assert fewer.sha256 == draw.sha256
    assert fewer.count_parts()["backgrounds"] == draw.count_parts()["backgrounds"]
    assert fewer.count_parts()["foregrounds"] < draw.count_parts()["foregrounds"]


def test_an_interrupted_search_for_foregrounds_resumes(draw, tmp_path, monkeypatch):
    monkeypatch.setattr(mixture_embeddings, "MIXTURES_PER_SEARCH", 16)
    banned = draw.recordings[0].path
    fewer = MixtureDraw([replace(each, is_foreground=each.path != banned) for each in draw.recordings], RULES)
    looked_at, stop_at = [], 1_000

    def find(draw, number, store, **given):
        looked_at.append(number)
        if number >= stop_at:
            raise KeyboardInterrupt
        return find_plan(draw, number, store, **given)

    monkeypatch.setattr(mixture_embeddings, "find_plan", find)
    whole, _ = compute(fewer, tmp_path / "a", 40)
    assert sorted(looked_at) == list(range(40))
    looked_at.clear()
    stop_at = 20
    with pytest.raises(KeyboardInterrupt):
        compute(fewer, tmp_path / "b", 40)
    looked_at.clear()
    stop_at = 1_000
    assert np.array_equal(compute(fewer, tmp_path / "b", 40)[0], whole)
    assert sorted(looked_at) == list(range(16, 40))


def test_threads_end_with_the_mixture_they_are_at(draw, tmp_path):
    """One recording has most mixtures, and another thread is interrupted."""
    numbers = range(200)
    backgrounds = [draw.plan_mixture(number).background.path for number in numbers]
    several = MixtureEmbeddings(loaded(), draw, 8, EmbedSettings(cache=tmp_path, jobs=2))
    first = [number for number in numbers if backgrounds[number] == backgrounds[0]]
    other = next(number for number in numbers if backgrounds[number] != backgrounds[0])
    begun, made = threading.Event(), []

    def work(number, store):
        if number == other:
            begun.wait(10)
            raise KeyboardInterrupt
        made.append(number)
        begun.set()
        time.sleep(0.02)

    with pytest.raises(KeyboardInterrupt):
        several._by_background(work, [other, *first])
    time.sleep(0.1)
    assert 0 < len(made) < len(first) / 2


def test_the_foreground_of_a_mixture_is_that_of_the_attempt_that_was_mixed(tmp_path):
    for number in range(4):
        write_wav(tmp_path / f"{number}.wav", noise(1.2, number))
    write_wav(tmp_path / "silent.wav", np.zeros(RATE_HZ // 2))
    pool = list_recordings(RecordingChoice(audio=(tmp_path,)), cache=tmp_path / "cache")
    draw = MixtureDraw(pool.recordings, RULES)
    drawn = [draw.plan_mixture(number).foreground.name for number in range(32)]
    assert "silent.wav" in drawn
    store = SourceStore(keep=2)
    used = [find_plan(draw, number, store).foreground.name for number in range(32)]
    assert "silent.wav" not in used
    assert [name for name in drawn if name != "silent.wav"] == [
        name for name, first in zip(used, drawn, strict=True) if first != "silent.wav"
    ]
