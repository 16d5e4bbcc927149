"""Heads in `benchmark run`: rows beside the encoder's, which stay as they are; other encoders' heads are refused."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.contamination import check_with_head
from benchmark.embedding.settings import EmbedSettings
from benchmark.heads.drawing import MixtureRules
from benchmark.heads.head import read_head
from benchmark.heads.recordings import RecordingChoice
from benchmark.heads.settings import apply_head
from benchmark.heads.training import HeadOptions, train_head
from benchmark.results.rows import read_rows
from benchmark.tasks import prepare
from benchmark.tasks.contract import TaskOptions
from bgknown.sounds import SoundList, make_sound_list
from tests.benchmark.corpora import MAKERS

GENERAL = tuple(MAKERS)
"""All nine tasks."""


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def head(built, recordings, root):
    corpora, dataset = built
    options = HeadOptions(
        encoder="logmel",
        choice=RecordingChoice(audio=(recordings, corpora.esc50 / "audio"), exclude=(dataset,)),
        out=root / "head.safetensors",
        embedding=EmbedSettings(cache=root / "cache", jobs=1),
        rules=MixtureRules(duration_s=0.5),
        mixtures=32,
    )
    return train_head(options).file


@pytest.fixture(scope="module")
def measured(built, head, root):
    """Results of logmel on bgknown and general tasks, without a head and then with one."""
    corpora, dataset = built
    for name in GENERAL:
        (root / "general" / name).mkdir(parents=True)
        MAKERS[name](root / "general" / name)
    where = ["--data", f"bgknown={dataset}", "--data", root / "general", "--data", f"esc50={corpora.esc50}"]
    where += ["--task", ",".join(["bgknown", *GENERAL]), "--skip-broken", "--cache", root / "cache"]
    where += ["--device", "cpu", "--protocol", "linear", "--jobs", "1"]
    plain = run("run", "--encoder", "logmel", *where, "--out", root / "plain")
    both = run("run", "--encoder", "logmel", "--head", head, *where, "--out", root / "both")
    for done in (plain, both):
        assert done.exit_code == 0, done.output
    return both.output


def list_rows(folder, encoder):
    rows = read_rows(folder / "leaderboard.csv")
    return {(row.setting, row.metric): row for row in rows if row.encoder == encoder and row.task == "bgknown"}


def read_cells(folder, encoder):
    """The rows of an encoder as they are in the file, without when and how fast they were measured."""
    table = pd.read_csv(folder / "leaderboard.csv", dtype=str, keep_default_na=False)
    table = table[table["encoder"] == encoder].drop(columns=["date", "seconds"])
    return table.sort_values(["task", "setting", "metric"]).reset_index(drop=True)


def test_rows_of_the_head_are_beside_those_of_the_encoder(measured, root):
    rows = list_rows(root / "both", "logmel+head")
    assert [setting for setting, metric in rows if metric == "accuracy"] == [
        *("mix", "a", "b", "c", "shuffled", "clean", "clean -> a"),
        *("a - mix", "a - shuffled"),
    ]
    for setting in ("mix", "a", "b", "c", "shuffled"):
        assert (setting, "clip R@1") in rows
        assert (setting, "clip R@1 uncentred") in rows
    assert "logmel+head on bgknown, protocol linear" in measured
    own = list_rows(root / "both", "logmel")
    assert {row.checkpoint_sha256 for row in own.values()}.isdisjoint(row.checkpoint_sha256 for row in rows.values())


def test_a_head_changes_no_byte_of_what_is_measured_without_it(measured, root):
    plain, both = (read_cells(root / folder, "logmel") for folder in ("plain", "both"))
    assert set(plain["task"]) == {"bgknown", *GENERAL}
    assert plain.equals(both)
    folders = [path.name for path in (root / "plain" / "runs").iterdir()]
    assert len(folders) == 1 + len(GENERAL)
    for name in folders:
        predictions = [root / out / "runs" / name / "predictions.csv" for out in ("plain", "both")]
        assert predictions[0].read_bytes() == predictions[1].read_bytes()
    assert set(read_cells(root / "both", "logmel+head")["task"]) == {"bgknown"}


def test_clean_is_the_same_with_a_head(measured, root):
    own = ["encoder", "checkpoint_sha256", "leak_check"]
    clean = [read_cells(root / "both", name).drop(columns=own) for name in ("logmel", "logmel+head")]
    clean = [rows[rows["setting"] == "clean"].reset_index(drop=True) for rows in clean]
    assert len(clean[0]) >= 2
    assert clean[0].equals(clean[1].query("task == 'bgknown'"))
    runs = [next((root / "both" / "runs").glob(f"logmel-{name}*")) for name in ("bgknown", "head")]
    lines = [(run / "predictions.csv").read_bytes().splitlines() for run in runs]
    lines = [[line.split(b",", 1)[1] for line in found if b",bgknown,clean," in line] for found in lines]
    assert len(lines[0]) >= 4
    assert lines[0] == lines[1]


def test_the_features_are_the_heads(built, head, measured, root):
    corpora, dataset = built
    data = prepare("bgknown", dataset, TaskOptions(cache=root, data={"esc50": corpora.esc50}))
    found = read_head(head)
    settings = {setting.name: setting for setting in apply_head(data, found).settings}
    draw = np.random.default_rng(0)
    embeddings = {name: draw.standard_normal((len(data.table), 128)).astype(np.float32) for name in data.signals}
    mix = embeddings["mix"]
    for name in "abc":
        assert np.array_equal(settings[name].features(embeddings), found.subtract(mix, embeddings[name]))
    assert np.array_equal(settings["mix"].features(embeddings), found.subtract(mix, None))
    assert np.array_equal(settings["clean"].features(embeddings), embeddings["clean"])
    other = embeddings["a"][settings["shuffled"].minus_rows]
    assert np.array_equal(settings["shuffled"].features(embeddings), found.subtract(mix, other))
    tested = settings["clean -> a"].tested
    assert np.array_equal(tested.features(embeddings), found.subtract(mix, embeddings["a"]))


def test_the_leak_check_has_the_heads_sounds_too(built, head, measured, root):
    corpora, dataset = built
    rows = list_rows(root / "both", "logmel+head")
    assert rows["a", "accuracy"].leak_check.endswith("the encoder was trained on none of 4 test clips")
    data = prepare("bgknown", dataset, TaskOptions(cache=root, data={"esc50": corpora.esc50}))
    of_head = read_head(head).trained_on
    tested = make_sound_list(["4-400-A-0.wav"])
    unknown = "training data of the encoder unknown"
    source = "the encoder was trained on the source of 1 of 4 test clips"
    assert check_with_head(data, None, of_head, cache=root) == unknown
    assert check_with_head(data, None, tested, cache=root) == source
    assert check_with_head(data, tested, of_head, cache=root) == source
    assert check_with_head(data, SoundList(), tested, cache=root) == source


def test_the_configuration_names_the_head_and_a_finished_run_is_kept(built, head, measured, root):
    (folder,) = (root / "both" / "runs").glob("logmel-head-*")
    config = json.loads((folder / "config.json").read_text())
    assert config["head"]["sha256"] == read_head(head).sha256
    assert config["head"]["mixtures"] == 32
    for path in (root / "plain" / "runs").iterdir():
        assert "head" not in json.loads((path / "config.json").read_text())
    compared = run("compare", "logmel:a", "logmel+head:a", "--out", root / "both")
    assert compared.exit_code == 0, compared.output


def test_the_head_of_another_encoder_is_refused_in_one_line(built, head, root):
    where = ["--data", f"bgknown={built[1]}", "--cache", root / "cache", "--device", "cpu", "--out", root / "never"]
    done = run("run", "--encoder", "melpower", "--head", head, *where)
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert "this head was trained for the encoder logmel" in done.output
    assert "not for melpower; train one with `benchmark head" in done.output
    several = run("run", "--encoder", "melpower", "--encoder", "audiontt2022-untrained", "--head", head, *where)
    assert several.exit_code == 1
    assert "not for melpower, " in several.output
    assert not (root / "never").exists()


def test_a_head_needs_a_task_with_backgrounds(head, root, tmp_path):
    MAKERS["esc50"](tmp_path / "esc50")
    done = run(
        "run", "--encoder", "logmel", "--head", head, "--task", "esc50", "--data", tmp_path, "--out", tmp_path / "out"
    )
    assert done.exit_code == 1
    assert "none of the tasks esc50 subtracts backgrounds" in done.output
