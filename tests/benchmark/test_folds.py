"""What of a clip reaches the probe that is tested on it, and what is left when a run fails or is stopped."""

import dataclasses
import errno
import json

import numpy as np
import pytest
import soundfile
import torch

from benchmark import evaluate as evaluating
from benchmark import record, resuming, tasks
from benchmark.embedding.clips import BrokenClipError
from benchmark.embedding.embed import EmbedSettings
from benchmark.embedding.embedding_pass import EmbeddingPass
from benchmark.encoders.registry import load_encoder
from benchmark.evaluation import gradient
from benchmark.protocol import PROTOCOLS
from benchmark.results.rows import read_rows
from benchmark.run import RunOptions, run
from benchmark.tasks.contract import TaskOptions
from benchmark.tasks.locations import parse_locations
from bgknown.errors import InvalidInputError, StorageError
from tests.benchmark.corpora import make_cremad, make_esc50, make_us8k

BRIEF = dataclasses.replace(PROTOCOLS["evar"], max_epochs=5, seeds=2, name="brief")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    for name, make in {"esc50": make_esc50, "cremad": make_cremad, "us8k": make_us8k}.items():
        (root / name).mkdir()
        make(root / name)
    return root


@pytest.fixture
def data(corpora, tmp_path):
    return tasks.prepare("esc50", corpora / "esc50", TaskOptions(cache=tmp_path))


def evaluated(data, tmp_path, monkeypatch, rows, encoder="logmel"):
    """The probes of an evaluation in which these are the embeddings, by fold and seed; and what was fitted on."""
    probes, fitted = {}, []
    real = gradient.train_probes

    def watched(problems, *given, **more):
        results = real(problems, *given, **more)
        probes.update({(p.fold, p.seed): result for p, result in zip(problems, results, strict=True)})
        return results

    def given(loaded, clips, settings, *, fit_on=(), **_):
        fitted.append([clip.path for clip in fit_on])
        return rows

    monkeypatch.setattr(gradient, "train_probes", watched)
    monkeypatch.setattr(evaluating, "embed_clips", given)
    evaluating.evaluate(load_encoder(encoder), data, BRIEF, EmbedSettings(cache=tmp_path))
    monkeypatch.undo()
    return probes, fitted


def test_a_fold_s_probes_do_not_know_its_test_clips(data, tmp_path, monkeypatch):
    """Fails when anything, statistics above all, is worked out on all folds, or on another fold's clips."""
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((len(data.signals["audio"]), 6)).astype(np.float32)
    clean, _ = evaluated(data, tmp_path, monkeypatch, rows)
    assert len(clean) == 10
    for fold in data.folds:
        changed = rows.copy()
        changed[np.concatenate([fold.test, data.trained_on(fold.test)])] *= 1e3
        other, _ = evaluated(data, tmp_path, monkeypatch, changed)
        for (name, seed), probe in clean.items():
            same = torch.equal(probe.weight, other[name, seed].weight)
            assert same == (name == fold.name)


def test_an_encoder_that_is_fitted_hears_each_fold_s_training_clips_alone(data, tmp_path, monkeypatch):
    rows = np.random.default_rng(0).standard_normal((len(data.signals["audio"]), 6)).astype(np.float32)
    _, fitted = evaluated(data, tmp_path, monkeypatch, rows, encoder="audiontt2022-untrained")
    views = data.signals["audio"]
    for fold, heard in zip(data.folds, fitted, strict=True):
        assert heard == [views[row].path for row in data.trained_on(fold.train)]
        assert not set(heard) & {views[row].path for row in fold.test}


def options(corpora, tmp_path, *names, **more):
    return RunOptions(
        encoders=("logmel",),
        tasks=names,
        data=parse_locations([str(corpora)]),
        out=tmp_path / "results",
        embedding=EmbedSettings(cache=tmp_path / "cache"),
        protocols=(BRIEF,),
        **more,
    )


@pytest.fixture(autouse=True)
def clean_checkout(monkeypatch):
    monkeypatch.setattr(record, "find_commit", lambda: "1234567")


def test_a_folder_of_results_that_cannot_be_written_costs_nothing(corpora, tmp_path, monkeypatch):
    (tmp_path / "results").write_text("a file")
    monkeypatch.setattr(EmbeddingPass, "embed_missing", lambda *given, **more: pytest.fail("it was measured"))
    with pytest.raises(StorageError, match="results: a file of this name is in the way"):
        list(run(options(corpora, tmp_path, "cremad")))


def test_probes_are_not_lost_when_their_results_cannot_be_written(corpora, tmp_path, monkeypatch):
    """Those of long trainings: what they go on from is forgotten with the last row that is written."""
    asked = options(corpora, tmp_path, "cremad")

    def full(*given, **more):
        raise StorageError(f"results: {errno.ENOSPC}")

    with monkeypatch.context() as patch:
        patch.setattr(resuming, "INTERVAL_S", 0.0)
        patch.setattr(record, "write_run", full)
        with pytest.raises(StorageError):
            list(run(asked))
    stored = list((tmp_path / "cache" / "probes").iterdir())
    assert len(stored) == BRIEF.seeds
    epochs = []
    with monkeypatch.context() as patch:
        patch.setattr(evaluating.Resuming, "forget", lambda self: epochs.append(1))
        patch.setattr("benchmark.probe.stack.Stack._train_epoch", lambda self: pytest.fail("an epoch was trained"))
        (outcome,) = run(asked)
    assert epochs == [1]
    assert [row.task for row in read_rows(tmp_path / "results")] == ["cremad"]
    assert not outcome.kept


def test_other_settings_of_a_protocol_of_the_same_name_are_measured_again(corpora, tmp_path):
    asked = options(corpora, tmp_path, "cremad")
    assert [outcome.kept for _ in range(2) for outcome in run(asked)] == [False, True]
    for changes in ({"stop_on": "loss"}, {"weight_decay": 0.0}, {"batch_size": 256}):
        changed = dataclasses.replace(asked, protocols=(dataclasses.replace(BRIEF, **changes),))
        assert [outcome.kept for outcome in run(changed)] == [False]
    assert [outcome.kept for outcome in run(asked)] == [False]
    assert {row.protocol for row in read_rows(tmp_path / "results")} == {"brief"}


def test_how_probes_ended_is_kept_with_a_run(corpora, tmp_path):
    asked = options(corpora, tmp_path, "cremad")
    (first,), (kept,) = list(run(asked)), list(run(asked))
    assert kept.kept
    assert first.endings == kept.endings
    assert "cut at the last epoch" in first.endings
    config = json.loads((first.folder / "config.json").read_text())
    assert [set(probe) for probe in config["probes"]] == [{"setting", "fold", "seed", "ended", "steps"}] * 2


def given_problems(data, tmp_path, monkeypatch, protocol):
    """The problems of an evaluation."""
    seen = []
    monkeypatch.setattr(gradient, "train_probes", lambda problems, *_, **__: seen.extend(problems) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluating.evaluate(load_encoder("logmel"), data, protocol, EmbedSettings(cache=tmp_path))
    return seen


def test_evar_standardises_on_training_and_held_out_clips(data, tmp_path, monkeypatch):
    for task in given_problems(data, tmp_path, monkeypatch, BRIEF):
        assert set(task.standardise) == set(task.train) | set(task.valid)
        assert set(task.train) & set(task.valid) == set()
        labels = task.labels.numpy()
        assert set(labels[task.valid]) == set(labels[task.train]) == set(labels)
    for task in given_problems(data, tmp_path, monkeypatch, PROTOCOLS["paper"]):
        assert np.array_equal(task.standardise_rows, task.train)


def test_an_official_validation_part_is_not_standardised_on(corpora, tmp_path, monkeypatch):
    data = tasks.prepare("cremad", corpora / "cremad", TaskOptions(cache=tmp_path))
    for task in given_problems(data, tmp_path, monkeypatch, BRIEF):
        assert np.array_equal(task.valid, data.folds[0].valid)
        assert np.array_equal(task.standardise_rows, task.train)


def test_too_few_clips_for_evar_are_reported_before_they_are_embedded(corpora, tmp_path, monkeypatch):
    data = tasks.prepare("esc50", corpora / "esc50", TaskOptions(cache=tmp_path, limit=20))
    monkeypatch.setattr(evaluating, "embed_clips", lambda *given, **more: pytest.fail("clips were embedded"))
    protocol = dataclasses.replace(BRIEF, validation_share=0.01)
    with pytest.raises(InvalidInputError, match="give another --protocol"):
        evaluating.evaluate(load_encoder("logmel"), data, protocol, EmbedSettings(cache=tmp_path))


def test_audio_that_is_replaced_is_measured_again(corpora, tmp_path):
    asked = options(corpora, tmp_path, "us8k")
    assert [outcome.kept for _ in range(2) for outcome in run(asked)] == [False, True]
    victim = next((corpora / "us8k").rglob("*.wav"))
    audio, rate_hz = soundfile.read(victim)
    soundfile.write(victim, audio[::-1], rate_hz)  # as long as before, so that every table is the same
    assert [outcome.kept for outcome in run(asked)] == [False]


def test_all_clips_that_cannot_be_decoded_are_found_at_once(corpora, tmp_path, monkeypatch, caplog):
    """Each would otherwise begin the task anew, and an encoder that is fitted embed it anew."""
    root = tmp_path / "corpora" / "cremad"
    root.mkdir(parents=True)
    make_cremad(root)
    for path in sorted(root.rglob("*_SAD_XX.wav"))[::5]:
        audio, rate_hz = soundfile.read(path, dtype="float32")
        audio[100] = np.nan
        soundfile.write(path, audio, rate_hz, subtype="FLOAT")
    asked = options(root.parent, tmp_path, "cremad")
    with pytest.raises(
        BrokenClipError, match=r"4 of 60 clips .*NaN or infinite samples: 1, the first at sample 100.*--skip-broken$"
    ):
        list(run(asked))
    prepared = []
    real = tasks.prepare
    monkeypatch.setattr(tasks, "prepare", lambda *given: prepared.append(1) or real(*given))
    (outcome,) = run(dataclasses.replace(asked, skip_broken=True))
    assert (outcome.rows[0].n_skipped, len(prepared)) == (4, 2)
    assert "4 clips are left out" in caplog.text
