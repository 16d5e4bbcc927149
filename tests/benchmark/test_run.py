import json
import logging
import os
import pickle
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from benchmark import demo
from benchmark.cli import main
from benchmark.results.rows import read_rows
from benchmark.tasks.bgknown import SETTINGS
from bgknown.corpora import miniature
from bgknown.mixtures.dataset import open_dataset
from bgknown.mixtures.recipe import hash_recipe, read_recipe

ENCODER = """
import torch

class Tones:
    name = "tones"
    rate_hz = 8000
    embedding_size = 16

    def embed(self, audio):
        power = torch.fft.rfft(audio).abs().square()
        return torch.stack([part.mean(dim=1) for part in power.tensor_split(16, dim=1)], dim=1)


class Quiet(Tones):
    name = "quiet"

    def embed(self, audio):
        return torch.log(super().embed(audio) + 1e-3)


class NotANumber(Tones):
    def embed(self, audio):
        return super().embed(audio) * float("nan")


class Wide(Tones):
    def embed(self, audio):
        return super().embed(audio).repeat(1, 2)


class Leaving(Tones):
    def embed(self, audio):
        raise SystemExit(0)


class Sparse(Tones):
    def embed(self, audio):
        return super().embed(audio).to_sparse()


class Odd(Tones):
    configuration = {"x": float("nan")}


class Mixed(Tones):
    configuration = {1: "a", "b": 2}


class Unfit(Tones):
    def fit(self, batches):
        raise RuntimeError("no statistics today")


class Hidden(Tones):
    @property
    def rate_hz(self):
        raise ValueError("not now")


class Fast(Tones):
    rate_hz = 10**12


class Growing(Tones):
    calls = 0

    def embed(self, audio):
        Growing.calls += 1
        return super().embed(audio) if Growing.calls < 3 else super().embed(audio)[:, :5]
"""


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


LINEAR = ("--protocol", "linear")
"""Without the paper's protocol as well, which takes most of the time."""


@pytest.fixture
def place(tmp_path, built, monkeypatch):
    """A folder with encoders in it, and the options of a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BGKNOWN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BGKNOWN_DATA", raising=False)
    (tmp_path / "mine.py").write_text(ENCODER)
    corpora, root = built
    return ["--data", f"bgknown={root}", "--data", f"esc50={corpora.esc50}", "--out", "results", "--device", "cpu"]


@pytest.fixture(scope="module")
def logmel(built, tmp_path_factory):
    """A folder with the results of one run, and the cache that it left."""
    root = tmp_path_factory.mktemp("logmel")
    data = ["--data", f"bgknown={built[1]}", "--data", f"esc50={built[0].esc50}"]
    where = ["--out", root / "results", "--cache", root / "cache", "--device", "cpu"]
    run("run", "--encoder", "logmel", *LINEAR, *data, *where)
    return root


@pytest.fixture
def measured(place, logmel, tmp_path):
    """The options of a run that has been done, and a copy of its results and its cache."""
    for name in ("results", "cache"):
        shutil.copytree(logmel / name, tmp_path / name)
    return place


def figures(out="results"):
    return {(row.encoder, row.setting, row.metric): row for row in read_rows(Path(out))}


def test_a_run_writes_rows_predictions_and_configuration(place, tmp_path):
    result = run("run", "--encoder", "mine.py:Tones", "--trust-code", "--protocol", "paper", *place)
    rows = figures()
    gains = {"a - mix", "a - shuffled", "a* - mix", "a* - shuffled*"}
    assert {setting for _, setting, metric in rows if metric == "accuracy"} == {*SETTINGS, *gains}
    queried = {*SETTINGS, "chance"} - {"clean", "clean -> a"}
    assert {setting for _, setting, metric in rows if metric == "clip R@5"} == queried
    one = rows["tones", "a", "accuracy"]
    assert (one.seeds, one.n_test, one.n_skipped, one.leak_check, one.lr, one.protocol) == (
        3,
        4,
        0,
        "ok; training data of the encoder unknown",
        1e-3,
        "paper",
    )
    assert one.low <= one.mean <= one.high
    assert rows["tones", "a", "clip R@1"].seeds == 0
    assert "tones on bgknown, protocol paper: 10 clips, leak check: ok" in result.output
    assert re.search(r"\nprobes: \d+ of 36 (stopped early|cut at the last epoch)", result.output)
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    predictions = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
    part = predictions[(predictions["setting"] == "a") & (predictions["metric"] == "accuracy")]
    assert 100 * part["score"].mean() == pytest.approx(one.mean)
    assert (part["score"] == (part["label"] == part["predicted"])).all()
    assert sorted(part["clip_id"].unique()) == sorted(
        open_dataset(place[1].partition("=")[2]).table.query("split == 'test'").index
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["protocol_settings"]["max_epochs"] == 200
    assert config["embedding_size"] == 16
    assert one.checkpoint_sha256 == config["checkpoint_sha256"]


def test_running_again_replaces_and_answers_from_the_cache(place):
    run("run", "--encoder", "mine.py:Tones", "--trust-code", *LINEAR, *place)
    first = figures()
    before = {path: path.stat().st_size for path in Path("cache/embeddings").glob("*/part-*.f32")}
    run("run", "--encoder", "mine.py:Tones", "--trust-code", *LINEAR, *place)
    again = figures()
    assert before == {path: path.stat().st_size for path in Path("cache/embeddings").glob("*/part-*.f32")}
    assert set(first) == set(again)
    assert all(first[key].mean == again[key].mean for key in first)


def test_two_encoders_are_listed_side_by_side_and_compared(place):
    run("run", "--encoder", "mine.py:Tones", "--encoder", "mine.py:Quiet", "--trust-code", *LINEAR, *place)
    board = run("leaderboard", "--out", "results").output
    assert "tones" in board
    assert "quiet" in board
    assert "(paper)" in board
    compared = run("compare", "tones", "quiet", "--out", "results").output
    assert "accuracy" in compared
    within = run("compare", "tones:a", "tones:shuffled", "--out", "results").output
    assert "shuffled" in within


def test_two_configurations_of_one_encoder_are_two_encoders(place):
    result = run("run", "--encoder", "logmel", "--encoder", "logmel?n_mels=32", *LINEAR, *place)
    assert "logmel?n_mels=32 on bgknown" in result.output
    rows = figures()
    assert rows["logmel", "mix", "accuracy"].encoder != rows["logmel?n_mels=32", "mix", "accuracy"].encoder
    assert len(list(Path("results/runs").iterdir())) == 2
    assert "accuracy" in run("compare", "logmel", "logmel?n_mels=32", "--out", "results").output


def test_results_of_another_configuration_are_not_replaced(place):
    run("run", "--encoder", "logmel", "--name", "mine", *LINEAR, *place)
    before = figures()
    result = run("run", "--encoder", "logmel?n_mels=32", "--name", "mine", *LINEAR, *place, status=1)
    assert "mine on bgknown was measured with another configuration of the encoder" in result.stderr
    assert figures() == before


def test_removed_rows_are_reported(measured, caplog):
    run("run", "--encoder", "logmel", *LINEAR, *measured[:2], *measured[4:])
    assert "logmel on bgknown was also measured with clean, clean -> a; those rows are removed" in caplog.text


def test_the_page_is_whole_whatever_is_shown(measured):
    run("leaderboard", "--out", "results")
    page = Path("results/leaderboard.md").read_text()
    shown = run("leaderboard", "--out", "results", "--metric", "accuracy")
    assert "clip R@1" not in shown.output
    assert Path("results/leaderboard.md").read_text() == page
    rows = pd.read_csv("results/leaderboard_with_paper.csv")
    assert set(rows["source"]) == {"measured", "paper"}
    assert len(rows) == len(read_rows(Path("results"))) + (rows["source"] == "paper").sum()


def test_limits_seeds_and_protocols_are_told_apart(place, tmp_path):
    (tmp_path / "short.toml").write_text("max_epochs = 3\n")
    run("run", "--encoder", "logmel", "--limit", "6", "--seeds", "2", *place)
    run("run", "--encoder", "logmel", "--protocol", "short.toml", *place)
    names = {row.protocol for row in read_rows(tmp_path / "results")}
    (short,) = (name for name in names if name.startswith("short-"))
    assert names == {"paper, seeds 2, limit 6", "linear, limit 6", short}  # both protocols where none is named
    assert {row.seeds for row in read_rows(tmp_path / "results") if row.metric == "accuracy"} == {0, 2, 3}


def test_without_esc50_a_note_says_what_is_missing(place):
    result = run("run", "--encoder", "logmel", *LINEAR, place[0], place[1], "--out", "results")
    assert (
        "note: clean and the difference retrieval are not measured: give ESC-50 with --data esc50=DIR" in result.output
    )


def test_the_whole_dataset_folder_and_the_variable_serve(place, monkeypatch):
    root = place[1].partition("=")[2]
    run("run", "--encoder", "logmel", *LINEAR, "--data", root, "--out", "results")
    monkeypatch.setenv("BGKNOWN_DATA", root)
    run("run", "--encoder", "logmel", *LINEAR, "--out", "elsewhere")
    assert figures()["logmel", "a", "accuracy"].mean == figures("elsewhere")["logmel", "a", "accuracy"].mean


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("mine.py:NotANumber", "embed returned NaN or infinite values"),
        ("mine.py:Wide", r"embed returned shape \[10, 32\], must be \[10, 16\]|embed returned shape"),
        ("mine.py:Growing", "embed returned shape"),
        ("mine.py:Leaving", "SystemExit"),
        ("mine.py:Sparse", "embed returned a sparse tensor"),
        ("mine.py:Odd", "configuration cannot be written as JSON"),
        ("mine.py:Mixed", "configuration cannot be written as JSON"),
        ("mine.py:Unfit", "cannot be fitted: RuntimeError: no statistics today"),
        ("mine.py:Hidden", "not now"),
        ("mine.py:Fast", "rate_hz is 1000000000000; it must be in 1000..768000"),
        ("mine.py:Toness", "did you mean"),
        ("logmell", "did you mean"),
        ("nowhere.pt", "nowhere.pt"),
    ],
)
def test_a_faulty_encoder_is_one_line_and_nothing_is_written(place, encoder, message, tmp_path):
    result = run("run", "--encoder", encoder, "--trust-code", "--batch", "10", *place, status=1)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert pd.Series([result.stderr]).str.contains(message).all()
    assert not (tmp_path / "results" / "leaderboard.csv").exists()


def test_programs_need_to_be_trusted(place):
    result = run("run", "--encoder", "mine.py:Tones", *place, status=1)
    assert "--trust-code" in result.stderr
    assert result.stderr.count("\n") == 1


class Evil:
    def __reduce__(self):
        return (os.system, ("touch touched",))


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(place, tmp_path):
    torch.save({"state": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    shutil.copy(tmp_path / "evil.pt", tmp_path / "evil.pt2")
    for name in ("evil.pt", "evil.pth", "evil.pt2"):
        result = run("run", "--encoder", name, *place, status=1)
        assert result.stderr.count("\n") == 1
        assert name in result.stderr
    assert not (tmp_path / "touched").exists()


def test_a_truncated_checkpoint_is_one_line(place, tmp_path):
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:900])
    result = run("run", "--encoder", "cut.pt", *place, status=1)
    assert "cut.pt" in result.stderr
    assert result.stderr.count("\n") == 1


def damaged(place, tmp_path):
    root = tmp_path / "dataset"
    shutil.copytree(place[1].partition("=")[2], root)
    return root


def test_a_dataset_that_fails_verify_is_one_line(place, tmp_path):
    root = damaged(place, tmp_path)
    path = next((root / "audio" / "b").iterdir())
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    result = run("run", "--encoder", "logmel", "--data", root, "--out", "results", status=1)
    assert "the dataset's manifest says" in result.stderr
    assert result.stderr.count("\n") == 1
    manifest = root / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",bell,", ",drum,", 1))
    result = run("run", "--encoder", "logmel", "--data", root, "--out", "results", status=1)
    assert "the recipe says bell" in result.stderr


def test_a_class_without_training_clips_is_one_line(place, tmp_path):
    root = damaged(place, tmp_path)
    for name in ("manifest.csv", "recipe.csv"):
        table = pd.read_csv(root / name, dtype=str, keep_default_na=False)
        test = (table["split"] == "test") & (table["category"] == "bell")
        table.loc[test, "category"] = "gong"
        table.to_csv(root / name, index=False, lineterminator="\n")
    facts = json.loads((root / "dataset.json").read_text())
    facts["recipe_sha256"] = hash_recipe(read_recipe(root / "recipe.csv"))
    del facts["dataset_id"]  # as in a dataset of 0.1.0
    (root / "dataset.json").write_text(json.dumps(facts))
    result = run("run", "--encoder", "logmel", "--data", root, "--out", "results", status=1)
    assert "class gong is in the test part but not in training" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "bgknow"], "no task 'bgknow'; did you mean bgknown"),
        (["--protocol", "papr"], "no protocol 'papr'"),
        (["--seeds", "0"], "seeds is 0"),
        (["--limit", "0"], "the limit is 0"),
        (["--batch", "0"], "the batch size is 0"),
        (["--jobs", "0"], "jobs is 0"),
        (["--device", "tpu"], "--device 'tpu': not a device that this command runs on"),
        (["--name", " "], "the name of the encoder is empty"),
        (["--encoder", "melpower", "--name", "x"], "is for one encoder, but 2 are given"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--data", "esc-50=."], "no such data; did you mean esc50?"),
        (["--name", " hi"], "the encoder's name is ' hi'; it must be one line without spaces at its ends"),
        (["--name", "a\nb"], "the encoder's name is 'a\\nb'; it must be one line"),
        (["--device", "meta"], "--device 'meta': not a device that this command runs on; use cpu, cuda, cuda:N, mps"),
        (["--encoder", "nowhere.py:Scale?args=" + "x" * 400], "nowhere.py"),
    ],
)
def test_wrong_options_are_one_line(place, arguments, message):
    result = run("run", "--encoder", "logmel", *place, *arguments, status=1)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_data_at_all_says_how_to_give_it(place):
    result = run("run", "--encoder", "logmel", "--out", "results", status=1)
    assert "give --data DIR or --data bgknown=DIR, or set BGKNOWN_DATA" in result.stderr


def test_files_are_embedded_into_an_array(place, tmp_path):
    audio = tmp_path.joinpath(place[3].partition("=")[2]) / "audio"
    result = run("embed", "--encoder", "melpower", audio, "--out", "vectors", "--duration", "1.5")
    assert "10 clips of 64 values" in result.output
    rows, table = np.load("vectors/embeddings.npy"), pd.read_csv("vectors/clips.csv")
    assert rows.shape == (10, 64)
    assert table["file"].map(os.path.basename).tolist() == sorted(path.name for path in audio.iterdir())
    (tmp_path / "empty").mkdir()
    assert "no audio files" in run("embed", "--encoder", "logmel", "empty", "--out", "v", status=1).stderr


def test_lists_and_the_cache(measured):
    assert "melpower" in run("encoders").output
    tasks = run("tasks").output
    assert "shuffled" in tasks
    assert "licence: " in tasks
    assert "logmel" in run("cache").output
    assert "MB deleted" in run("cache", "--clear").output
    assert "logmel" not in run("cache").output


def test_an_encoder_is_checked(place):
    assert "determin" in run("check", "--encoder", "logmel").output
    result = run("check", "--encoder", "mine.py:NotANumber", "--trust-code", status=1)
    assert "fails the check" in result.stderr


@pytest.mark.slow
def test_the_demo_runs_the_whole_pipeline(place, monkeypatch):
    """In this process, with a clip of each of four classes in each fold: at full size it takes minutes on one core."""
    monkeypatch.setattr(miniature, "VOICES", dict(list(miniature.VOICES.items())[:4]))
    monkeypatch.setattr(demo, "make", partial(miniature.make, takes=1, recordings=(8, 6)))
    log = logging.getLogger("bgknown.corpora")
    before = log.level
    try:
        first, again = (run("demo", "--out", "demo", "--jobs", "2", "--device", "cpu") for _ in range(2))
    finally:
        log.setLevel(before)
    assert "audiontt2022-untrained" in first.stdout
    assert f"{'listen':<11}  demo/bgknown.html" in first.stdout
    assert Path("demo/bgknown.html").is_file()
    for page in ("leaderboard", "map"):
        assert f"{page:<11}  demo/{page}.html" in first.stdout
        assert "../cache/miniature/ESC-50/audio" in Path(f"demo/{page}.html").read_text()
    rows = figures("demo/results")
    # in power, what is left is the clip itself but for its gain
    assert rows["melpower", "a", "cosine to clean"].mean > 0.9 > rows["melpower", "mix", "cosine to clean"].mean
    assert again.stdout == first.stdout
