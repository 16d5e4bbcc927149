import errno
import io
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmark.embedding import store
from benchmark.embedding.clips import Clip, FileState
from benchmark.embedding.embed import EmbedSettings, embed_clips
from benchmark.embedding.store import list_stores, open_store
from benchmark.encoders.registry import load_encoder
from bgknown.errors import InvalidInputError, NotFoundError, StorageError
from bgknown.jobs.caches import clear_embeddings
from bgknown.jobs.files import hash_bytes
from tests.benchmark.made_encoders import Bands, Fitted, loaded
from tests.conftest import noise, write_wav


@pytest.fixture
def clips(tmp_path):
    """Twenty clips of three lengths."""
    found = []
    for number in range(20):
        path = tmp_path / "audio" / f"{number:02}.wav"
        write_wav(path, noise(0.1 + 0.05 * (number % 3), number), 16_000)
        found.append(Clip(path=path))
    return found


@pytest.fixture
def settings(tmp_path):
    return EmbedSettings(cache=tmp_path / "cache", batch_size=4)


def plain(clips, encoder):
    """One clip at a time, without any of the machinery."""
    audio = [torch.from_numpy(soundfile.read(str(clip.path), dtype="float32")[0]) for clip in clips]
    return torch.cat([encoder.embed(samples.unsqueeze(0)) for samples in audio]).numpy()


def test_embeddings_come_in_the_order_asked_for(clips, settings):
    expected = plain(clips, Bands())
    assert np.allclose(embed_clips(loaded(), clips, settings), expected, rtol=1e-5)
    order = [5, 3, 3, 19, 0]
    assert np.allclose(embed_clips(loaded(), [clips[i] for i in order], settings), expected[order], rtol=1e-5)


def test_what_is_cached_is_not_computed_again(clips, settings):
    encoder = Bands()
    first = embed_clips(loaded(encoder), clips, settings).copy()
    assert encoder.seen == 20
    encoder.seen = 0
    again = embed_clips(loaded(encoder), clips, settings)
    assert encoder.seen == 1  # one clip is looked at, to see that the encoder is still the same
    assert np.array_equal(first, again)
    assert not np.shares_memory(first, again)


def test_a_copy_of_a_file_is_recognised_by_its_bytes(clips, settings, tmp_path):
    encoder = Bands()
    before = embed_clips(loaded(encoder), clips[:4], settings).copy()
    copy = tmp_path / "copy.wav"
    copy.write_bytes(clips[2].path.read_bytes())
    encoder.seen = 0
    assert np.array_equal(embed_clips(loaded(encoder), [Clip(path=copy)], settings)[0], before[2])
    assert encoder.seen == 0
    embed_clips(loaded(encoder), [Clip(path=copy)], settings)
    assert encoder.seen == 1  # only the look at one clip: the copy itself is known by now


def test_a_changed_file_is_embedded_again(clips, settings):
    before = embed_clips(loaded(), clips, settings).copy()
    write_wav(clips[7].path, noise(0.15, 99), 16_000)
    after = embed_clips(loaded(), clips, settings)
    assert not np.allclose(before[7], after[7])
    assert np.array_equal(np.delete(before, 7, axis=0), np.delete(after, 7, axis=0))


@pytest.mark.parametrize(
    "other",
    [
        lambda settings: (loaded(weights_sha256="1" * 64), settings),
        lambda settings: (loaded(pooling="max"), settings),
        lambda settings: (loaded(), EmbedSettings(cache=settings.cache, precision="bfloat16")),
    ],
)
def test_weights_configuration_and_precision_have_embeddings_of_their_own(clips, settings, other):
    embed_clips(loaded(), clips, settings)
    changed, its_settings = other(settings)
    embed_clips(changed, clips, its_settings)
    assert changed.encoder.seen == 20


class Linear(Bands):
    """One matrix product, which autocast computes in its precision."""

    def embed(self, audio):
        weight = torch.sin(torch.arange(24 * audio.shape[1])).view(24, -1)
        return audio @ weight.T


def test_precision_is_what_was_asked_for(clips, settings, tmp_path):
    exact = embed_clips(loaded(Linear()), clips[:4], settings).copy()
    coarse = embed_clips(loaded(Linear()), clips[:4], EmbedSettings(cache=tmp_path / "cache", precision="bfloat16"))
    assert coarse.dtype == np.float32
    assert not np.allclose(exact, coarse, rtol=1e-4)
    assert np.abs(exact - coarse).max() < 0.05 * np.abs(exact).max()


def test_crops_have_embeddings_of_their_own(clips, settings):
    whole = embed_clips(loaded(), clips[:2], settings).copy()
    cut = embed_clips(loaded(), [Clip(path=clip.path, duration_s=0.05) for clip in clips[:2]], settings)
    assert not np.allclose(whole, cut)


def test_weights_that_the_key_cannot_see_are_noticed(clips, settings, caplog):
    embed_clips(loaded(), clips, settings)
    changed = Bands()
    changed.embed = lambda audio: 2.0 * Bands().embed(audio)
    doubled = embed_clips(loaded(changed), clips, settings)
    assert "no longer gives the embeddings that are cached" in caplog.text
    assert np.allclose(doubled, 2.0 * plain(clips, Bands()), rtol=1e-5)


def test_a_damaged_row_is_made_again(clips, settings):
    before = embed_clips(loaded(), clips, settings).copy()
    part = next((settings.cache / "embeddings").glob("*/part-*.f32"))
    data = bytearray(part.read_bytes())
    data[4 * 24 * 3] ^= 0xFF
    part.write_bytes(data)
    encoder = Bands()
    assert np.allclose(embed_clips(loaded(encoder), clips, settings), before, rtol=1e-6)
    assert encoder.seen == 2


def test_an_index_line_cut_short_is_passed_over(clips, settings):
    before = embed_clips(loaded(), clips, settings).copy()
    index = next((settings.cache / "embeddings").glob("*/part-*.csv"))
    index.write_bytes(index.read_bytes()[:-7])
    encoder = Bands()
    assert np.allclose(embed_clips(loaded(encoder), clips, settings), before, rtol=1e-6)
    assert encoder.seen == 2


def test_a_fitted_encoder_is_fitted_on_training_audio_and_cached_by_it(clips, settings):
    encoder = Fitted()
    first = embed_clips(loaded(encoder), clips, settings, fit_on=clips[:8]).copy()
    assert np.allclose(first, plain(clips, Bands()) / plain(clips[:8], Bands()).sum(axis=0), rtol=1e-4)
    other = embed_clips(loaded(Fitted()), clips, settings, fit_on=clips[8:])
    assert not np.allclose(first, other)
    unfitted = Fitted()
    assert np.array_equal(embed_clips(loaded(unfitted), clips, settings, fit_on=clips[:8]), first)
    assert unfitted.level is None  # everything came from the cache
    with pytest.raises(InvalidInputError, match="takes statistics from a task's training audio, but there is none"):
        embed_clips(loaded(Fitted()), clips, settings)


class Faulty(Bands):
    """An encoder with a fault of its own on loud clips."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def embed(self, audio):
        return self.fault(super().embed(audio))


def fail(output):
    raise RuntimeError("no kernel image\nis available")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda output: output[:, :7], r"embed returned shape \[4, 7\]; it must be \[4, 24\]"),
        (lambda output: output[:-1], r"embed returned shape \[3, 24\]; it must be \[4, 24\]"),
        (lambda output: output.unsqueeze(1), r"embed returned shape \[4, 1, 24\]"),
        (lambda output: output.long(), "embed returned torch.int64; it must be float32"),
        (lambda output: output.numpy(), "embed returned ndarray"),
        (fail, r"failed on a batch \[4, 4410\] that starts with .*00\.wav: RuntimeError: no kernel image$"),
    ],
)
def test_an_encoder_that_breaks_its_contract_is_one_line(clips, settings, fault, message):
    with pytest.raises(InvalidInputError, match=message) as error:
        embed_clips(loaded(Faulty(fault)), clips, settings)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("encoder bands")


def test_broken_audio_ends_the_pass_and_keeps_what_was_done(clips, settings):
    clips[10].path.write_bytes(b"no audio")
    with pytest.raises(InvalidInputError, match=r"10\.wav: not readable as audio"):
        embed_clips(loaded(), clips, settings)
    clips[10].path.unlink()
    with pytest.raises(NotFoundError, match=r"10\.wav: no such file"):
        embed_clips(loaded(), clips, settings)
    write_wav(clips[10].path, noise(0.15, 10), 16_000)
    assert np.allclose(embed_clips(loaded(), clips, settings), plain(clips, Bands()), rtol=1e-5)


def test_a_file_that_is_not_what_its_dataset_lists_is_refused_even_when_cached(clips, settings):
    embed_clips(loaded(), clips, settings)
    listed = [Clip(path=clips[0].path, sha256="ab" * 32)]
    with pytest.raises(InvalidInputError, match="the dataset's manifest says abab"):
        embed_clips(loaded(), listed, settings)


def test_the_cache_is_listed_and_emptied(clips, settings):
    embed_clips(loaded(), clips, settings)
    ((about, size),) = list_stores(settings.cache)
    assert about["name"] == "bands"
    assert size > 20 * 24 * 4
    assert clear_embeddings(settings.cache) == size
    assert list_stores(settings.cache) == []


def test_a_cache_that_cannot_be_written_is_one_line(clips, settings):
    settings.cache.write_bytes(b"")
    with pytest.raises(StorageError, match="a part of this path is a file"):
        embed_clips(loaded(), clips, settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "the batch size is 0"),
        ({"precision": "int8"}, "precision is 'int8'"),
        ({"jobs": -1}, "jobs"),
    ],
)
def test_settings_are_checked(tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        EmbedSettings(cache=tmp_path, **changes)


SCRIPT = textwrap.dedent(
    """
    import os, sys, time
    from pathlib import Path
    from benchmark.embedding.clips import Clip
    from benchmark.embedding.embed import EmbedSettings, embed_clips
    from tests.benchmark.made_encoders import Bands, loaded

    class Slow(Bands):
        def embed(self, audio):
            time.sleep(float(sys.argv[3]))
            return super().embed(audio)

    clips = [Clip(path=path) for path in sorted(Path(sys.argv[1]).glob("*.wav"))]
    embed_clips(loaded(Slow()), clips, EmbedSettings(cache=Path(sys.argv[2]), batch_size=4))
    """
)


def run(tmp_path, pause, **environment):
    arguments = [sys.executable, "-c", SCRIPT, tmp_path / "audio", tmp_path / "cache", str(pause)]
    return subprocess.Popen(arguments, env={**os.environ, **environment})


@pytest.mark.slow
def test_a_killed_pass_goes_on_to_the_same_bytes(clips, settings, tmp_path):
    process = run(tmp_path, 0.3)
    while not any(len(path.read_bytes()) for path in (settings.cache / "embeddings").glob("*/part-*.csv")):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    encoder = Bands()
    resumed = embed_clips(loaded(encoder), clips, settings)
    assert encoder.seen < 20
    whole = embed_clips(loaded(), clips, EmbedSettings(cache=tmp_path / "other", batch_size=4))
    assert np.array_equal(resumed, whole)


@pytest.mark.slow
def test_processes_of_torchrun_share_the_work(clips, settings, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    subprocess.run(
        [*command, script, tmp_path / "audio", tmp_path / "cache", "0"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())},
        check=True,
        capture_output=True,
    )
    parts = list((settings.cache / "embeddings").glob("*/part-*.f32"))
    assert len(parts) == 2
    assert all(part.stat().st_size > 0 for part in parts)
    encoder = Bands()
    shared = embed_clips(loaded(encoder), clips, settings)
    assert encoder.seen == 1
    alone = embed_clips(loaded(), clips, EmbedSettings(cache=tmp_path / "other", batch_size=4))
    assert np.array_equal(shared, alone)


def test_a_file_that_was_replaced_behind_an_old_date_is_embedded_anew(clips, settings):
    listed = [Clip(path=clip.path, sha256=hash_bytes(clip.path.read_bytes())) for clip in clips[:3]]
    before = embed_clips(loaded(), listed, settings).copy()
    path = listed[2].path
    state = path.stat()
    write_wav(path, noise(soundfile.info(path).frames / 44_100, 99), 16_000)
    assert path.stat().st_size == state.st_size
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    listed[2] = Clip(path=path, sha256=hash_bytes(path.read_bytes()))
    after = embed_clips(loaded(), listed, settings)
    assert np.allclose(after, plain(listed, Bands()), rtol=1e-5)
    assert not np.allclose(after[2], before[2], rtol=1e-3)


FITTED = """
import torch
from helper import K


class Mine:
    name, rate_hz, embedding_size = "mine", 16_000, 1

    def fit(self, batches):
        for _ in batches:
            pass

    def embed(self, audio):
        return K * audio.square().mean(dim=1, keepdim=True)
"""


def test_code_beside_an_encoder_that_is_fitted_is_part_of_its_key(clips, settings, tmp_path):
    (tmp_path / "mine.py").write_text(FITTED)
    (tmp_path / "helper.py").write_text("K = 1.0\n")
    spec = f"{tmp_path / 'mine.py'}:Mine"
    first = embed_clips(load_encoder(spec, trust_code=True), clips, settings, fit_on=clips).copy()
    (tmp_path / "helper.py").write_text("K = 100.0\n")
    del sys.modules["helper"]  # as in a new process
    again = embed_clips(load_encoder(spec, trust_code=True), clips, settings, fit_on=clips)
    assert np.allclose(again, 100 * first)


def test_a_store_that_is_emptied_leaves_another_process_its_own(tmp_path):
    about = {"name": "x"}
    first, second = (open_store(tmp_path, "a" * 64, 2, about) for _ in range(2))
    clip, state = Clip(path=tmp_path / "1.wav"), FileState(size=1, mtime_ns=1)
    first.append(np.ones((1, 2), np.float32), [(clip, state, "s")])
    fresh = second.start_empty()
    assert fresh.find(clip, state) is None
    other = Clip(path=tmp_path / "2.wav")
    first.append(np.full((1, 2), 2.0, np.float32), [(other, state, "t")])
    assert first.gather([first.find(clip, state), first.find(other, state)]).tolist() == [[1, 1], [2, 2]]
    fresh.append(np.full((1, 2), 3.0, np.float32), [(clip, state, "s")])
    for each in (first, fresh):
        each.close()
    opened = open_store(tmp_path, "a" * 64, 2, about)
    assert opened.gather([opened.find(clip, state)]).tolist() == [[3, 3]]
    assert opened.find(other, state) is None
    again = opened.start_empty()
    assert again.folder.parent == first.folder
    assert open_store(tmp_path, "a" * 64, 2, about).find(clip, state) is None


def test_an_index_line_that_is_damaged_is_passed_over(tmp_path):
    store = open_store(tmp_path, "a" * 64, 2, {})
    clip, state = Clip(path=tmp_path / "1.wav"), FileState(size=1, mtime_ns=1)
    store.append(np.ones((1, 2), np.float32), [(clip, state, "s")])
    store.close()
    (index,) = store.folder.glob("part-*.csv")
    line = index.read_text()
    index.write_text(line.replace(",0,", ",zero,", 1) + line)
    again = open_store(tmp_path, "a" * 64, 2, {})
    assert again.find(clip, state) is not None


def test_large_embeddings_from_several_parts_are_mapped_from_a_file_that_vanishes(clips, settings, monkeypatch):
    whole = np.array(embed_clips(loaded(), clips, settings))
    monkeypatch.setattr(store, "IN_MEMORY_BYTES", 0)
    before = set(settings.cache.rglob("*"))
    rows = embed_clips(loaded(), [clips[2], clips[0], clips[1]], settings)
    assert isinstance(rows, np.memmap)
    assert np.array_equal(rows, whole[[2, 0, 1]])
    assert set(settings.cache.rglob("*")) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_is_still_one_line_when_the_file_is_closed(tmp_path):
    full = open_store(tmp_path, "a" * 64, 2, {})
    clip, state = Clip(path=tmp_path / "1.wav"), FileState(size=1, mtime_ns=1)
    with Path("/dev/full").open("wb", buffering=0) as raw:
        full._data = io.BufferedWriter(raw)
        with pytest.raises(StorageError, match=f"{full.folder}: the disk is full: free some space"):
            full.append(np.ones((1, 2), np.float32), [(clip, state, "s")])
        full.close()


def test_no_room_for_that_file_is_one_line(clips, settings, monkeypatch):
    embed_clips(loaded(), clips, settings)
    monkeypatch.setattr(store, "IN_MEMORY_BYTES", 0)

    def full(**where):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.tempfile, "TemporaryFile", full)
    with pytest.raises(StorageError, match="the disk is full"):
        embed_clips(loaded(), [clips[1], clips[0]], settings)
