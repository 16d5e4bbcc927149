"""Sweeps: one run for each combination, resumed as a whole."""

import logging
import shutil

import pytest

from benchmark.encoders.registry import load_encoder
from benchmark.plots.lambdas import LAMBDA, SEED
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.jobs.shards import Shard
from pretrain import sweep as sweeping
from pretrain.checkpoint import load_checkpoint
from pretrain.sweep import SweepOptions, list_sweep, sweep
from tests.pretrain.made import make_corpus

LEAST = ("training.statistics_crops=8", "training.frames=32", "training.steps=2", "views.memory=12")


AT_8_KHZ = ("front_end.rate_hz=8000", "front_end.f_max=4000")


@pytest.fixture
def options(tmp_path):
    def make(**settings):
        given = {"corpus": tmp_path / "corpus", "config": "smoke", "out": tmp_path / "sweep", "changes": LEAST}
        return SweepOptions(**{**given, "device": "cpu", **settings})

    make_corpus(tmp_path / "corpus")
    return make


def names(options):
    return [run.name for run in list_sweep(options)]


def test_runs_are_all_combinations_seed_by_seed(options):
    found = options(lambdas=(0.0, 0.5), vary=("objective.contrast=0,1",), seeds=2)
    assert names(found) == [
        f"contrast{contrast}-lambda{weight}-seed{seed}"
        for seed in (0, 1)
        for contrast in "01"
        for weight in ("0", "0.5")
    ]
    last = list_sweep(found)[-1].config
    assert (last.objective.lambda_, last.objective.contrast, last.training.seed) == (0.5, 1.0, 1)
    assert last.training.steps == 2
    assert names(options()) == ["seed0"]
    assert names(options(vary=("objective.mix_domain='power',normalised",))) == [
        *("mix_domainpower-seed0", "mix_domainnormalised-seed0"),
    ]


def test_a_sweep_leaves_a_run_for_each_and_resumes(options, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first = options(lambdas=(0.0, 0.5), seeds=2, shard=Shard(number=1, count=2))
    assert [path.parent.name for path in sweep(first)] == ["lambda0-seed0", "lambda0.5-seed0"]
    shutil.rmtree(tmp_path / "sweep" / "lambda0.5-seed0")
    before = (tmp_path / "sweep" / "lambda0-seed0" / "checkpoint.pt").stat().st_mtime_ns
    paths = list(sweep(options(lambdas=(0.0, 0.5), seeds=2)))
    assert [path.parent.name for path in paths] == [
        f"lambda{weight}-seed{seed}" for seed in (0, 1) for weight in ("0", "0.5")
    ]
    assert paths[0].stat().st_mtime_ns == before  # finished runs are left as they are
    assert "run 4 of 4: lambda0.5-seed1, about " in caplog.text
    for path in paths:
        assert load_checkpoint(path).card["steps_done"] == 2
    loaded = load_encoder(str(paths[-1]))
    assert loaded.name == "lambda0.5-seed1"
    assert (loaded.training_settings[LAMBDA], loaded.training_settings[SEED]) == (0.5, 1)  # what plots of lambda read


def test_a_run_that_fails_does_not_stop_the_others(options, monkeypatch, caplog):
    whole = sweeping.train

    def fail(given):
        if given.out.name == "lambda0-seed0":
            raise InvalidInputError("the loss is nan")
        return whole(given)

    monkeypatch.setattr(sweeping, "train", fail)
    done = []
    with pytest.raises(InvalidInputError, match="1 of 2 runs failed: lambda0-seed0; the reasons are above"):
        done.extend(sweep(options(lambdas=(0.0, 0.5))))
    assert "lambda0-seed0 failed: the loss is nan" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vary": ("objective.contrast",)}, "write TABLE.KEY=VALUE,VALUE"),
        ({"vary": ("objective.contrast=0,",)}, "write TABLE.KEY=VALUE,VALUE"),
        ({"vary": ("objective.contrat=0,1",)}, "unknown key 'contrat' in .objective.; did you mean contrast"),
        ({"vary": ("objective.contrast=0,-1",)}, "objective.contrast is -1.0; it must be at least 0"),
        ({"vary": ("training.seed=0,1",)}, "training.seed cannot be varied here; use --seeds"),
        ({"vary": ("objective.lambda=0,1",), "lambdas": (0.5,)}, "objective.lambda cannot be varied here; use one"),
        ({"lambdas": (0.5, 0.5)}, "two runs would have the same folder: give each value of a setting once"),
        ({"vary": ("training.batch=" + ",".join(map(str, range(2, 200))),), "seeds": 99}, "the sweep has 19,602 runs"),
        ({"seeds": 0}, "--seeds 0: must be from 1 to 10,000"),
        ({"changes": (*LEAST, *AT_8_KHZ)}, "packed at 16000 Hz, but front_end.rate_hz is 8000"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(options, tmp_path, settings, message):
    with pytest.raises(InvalidInputError, match=message):
        list(sweep(options(**settings)))
    assert not (tmp_path / "sweep").exists()


def test_there_must_be_a_corpus_and_the_encoder_to_start_from(options, tmp_path):
    with pytest.raises(NotFoundError, match="not a finished corpus"):
        list(sweep(options(corpus=tmp_path / "none")))
    with pytest.raises(NotFoundError, match=r"none.pth: no such file"):
        list(sweep(options(init=tmp_path / "none.pth")))
