"""Shares of an embedding pass, made by several runs into one cache."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.embedding.embed import EmbedSettings, embed_clips, embed_share
from bgknown.jobs.shards import Shard
from tests.benchmark.embedding.test_embed import Bands, clips, loaded, settings  # noqa: F401  (fixtures)


@pytest.fixture
def run():
    def invoke(*arguments):
        done = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return invoke


def test_shares_together_are_the_whole_pass(clips, tmp_path):  # noqa: F811
    whole = embed_clips(loaded(), clips, EmbedSettings(cache=tmp_path / "other", batch_size=4))
    held = []
    for number in (2, 1, 3):
        shard = Shard(number=number, count=3)
        held.append(embed_share(loaded(), clips, EmbedSettings(cache=tmp_path / "c", batch_size=4, shard=shard)))
    assert held == sorted(held)
    assert 0 < held[0] < held[-1] == len(set(clips))
    encoder = Bands()
    together = embed_clips(loaded(encoder), clips, EmbedSettings(cache=tmp_path / "c", batch_size=4))
    assert encoder.seen == 1, "only the check of the cache embeds"
    assert np.array_equal(together, whole)


def test_embed_by_shards_gives_the_same_array(clips, run, tmp_path):  # noqa: F811
    options = ["embed", "--encoder", "logmel", tmp_path / "audio", "--device", "cpu", "--batch", 4]
    run(*options, "--out", tmp_path / "whole", "--cache", tmp_path / "one")
    shared = [*options, "--out", tmp_path / "shared", "--cache", tmp_path / "two"]
    for number in (1, 2):
        assert f"shard {number} of 2: the cache holds" in run(*shared, "--shard", f"{number}/2")
    assert not (tmp_path / "shared").exists()
    run(*shared)
    arrays = [np.load(tmp_path / name / "embeddings.npy") for name in ("whole", "shared")]
    assert np.array_equal(*arrays)


def test_run_by_shards_gives_the_same_figures(built, run, tmp_path):
    options = ["run", "--encoder", "melpower", "--task", "bgknown", "--data", f"bgknown={built[1]}", "--device", "cpu"]
    options += ["--protocol", "linear", "--cache", tmp_path / "cache"]
    for number in (1, 2, 3):
        assert "melpower on bgknown: the cache holds" in run(
            *options, "--out", tmp_path / "a", "--shard", f"{number}/3"
        )
    assert not (tmp_path / "a" / "leaderboard.csv").exists()
    run(*options, "--out", tmp_path / "a")
    shutil.rmtree(tmp_path / "cache")
    run(*options, "--out", tmp_path / "b")
    predictions = [next((tmp_path / name).rglob("predictions.csv")).read_bytes() for name in "ab"]
    assert predictions[0] == predictions[1]
