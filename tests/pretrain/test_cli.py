"""The commands of pretrain, as a user gives them."""

import shutil

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from pretrain.cli import main
from pretrain.config import read_config
from tests.pretrain.made import make_corpus


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def audio(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    for number in range(12):
        samples = rng.uniform(0.02, 0.2) * rng.standard_normal(22_050 * (1 + number % 3))
        soundfile.write(tmp_path / "audio" / f"{number:02}.wav", samples, 22_050)
    return tmp_path / "audio"


def test_from_audio_to_an_encoder(audio, tmp_path):
    packed = run("pack", "--audio", audio, "--out", tmp_path / "corpus", "--jobs", 1)
    assert packed.stdout == f"{tmp_path / 'corpus'}: 12 clips, 0.01 hours\n"
    trained = run(
        *("train", "--corpus", tmp_path / "corpus", "--config", "smoke", "--lambda", 0.2, "--seed", 3),
        *("--out", tmp_path / "run", "--device", "cpu"),
    )
    assert trained.stdout == f"{tmp_path / 'run' / 'checkpoint.pt'}\n"
    assert "step 12/12" in trained.stderr
    assert "clips/s" in trained.stderr
    exported = run("export", tmp_path / "run", "--to", tmp_path / "encoder.safetensors")
    assert exported.stdout.splitlines() == [
        str(tmp_path / f"encoder.{suffix}") for suffix in ("safetensors", "md", "trained-on.txt")
    ]
    written = read_config(str(tmp_path / "run" / "config.toml"))
    assert written == read_config("smoke", ["objective.lambda=0.2", "training.seed=3"])


def test_broken_files_are_reported(audio, tmp_path):
    for number in range(25):
        (audio / f"x{number:02}.flac").write_bytes(b"nothing")
    failed = run("pack", "--audio", audio, "--out", tmp_path / "corpus", status=1)
    assert "x00.flac: unreadable" in failed.stderr
    assert "12 of 37 files are kept" in failed.stderr
    done = run("pack", "--audio", audio, "--out", tmp_path / "corpus", "--skip-broken")
    assert "12 clips, 0.01 hours, 25 broken files skipped" in done.stdout
    assert done.stderr.count("skipped: ") == 20
    assert "... and 5 more, all in corpus.json" in done.stderr


def test_a_configuration_is_printed_and_read(tmp_path):
    printed = run("config", "--config", "small", "--lambda", 0, "--set", "training.batch=16").stdout
    assert "lambda = 0.0" in printed
    (tmp_path / "mine.toml").write_text(printed)
    assert run("config", "--config", tmp_path / "mine.toml").stdout == printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--corpus", "none", "--out", "run"), "error: none: not a finished corpus"),
        (("train", "--corpus", "c", "--out", "run", "--config", "big"), "error: big: no such configuration"),
        (("train", "--corpus", "c", "--out", "run", "--set", "training.size=3"), "unknown key 'size' in [training]"),
        (
            ("train", "--corpus", "c", "--out", "run", "--lambda", "2"),
            "objective.lambda is 2.0; it must be from 0 to 1",
        ),
        (("pack", "--audio", "none", "--out", "corpus"), "error: --audio none: no such folder"),
        (("export", "none", "--to", "a.safetensors"), "none: "),
    ],
)
def test_errors_are_reported_in_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    told = run(*arguments, status=1).stderr
    assert message in told
    assert len(told.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_is_exported_as_it_is(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    smoke = ("--corpus", corpus, "--config", "smoke", "--out", tmp_path / "run")
    run("train", *smoke, "--set", "training.steps=8")
    run("train", *smoke, "--set", "training.steps=20", "--set", "training.checkpoint_every=100")
    assert "has not ended" not in run("export", tmp_path / "run", "--to", tmp_path / "a.safetensors").stderr
    shutil.rmtree(tmp_path / "run")
    steps = ("--set", "training.steps=8", "--set", "training.learning_rate=1e30", "--set", "training.log_every=1")
    run("train", *smoke, *steps, "--set", "training.checkpoint_every=1", status=1)
    assert "has not ended" in run("export", tmp_path / "run", "--to", tmp_path / "b.safetensors").stderr
