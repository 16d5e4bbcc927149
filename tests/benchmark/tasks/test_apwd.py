"""Retrieval with a text modifier from JAMS pairs to rows, on small soundscapes and a tiny text encoder."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmark import tasks
from benchmark.cli import main
from benchmark.contamination import check_training_data
from benchmark.embedding.clips import read_clip
from benchmark.results.rows import read_rows
from benchmark.tasks import apwd
from benchmark.tasks.contract import TaskOptions
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.sounds import make_sound_list
from tests.benchmark.embedding.test_texts import distilbert
from tests.bgknown.apwd.conftest import make_pairs

PROTOCOL = "seeds = 2\n[retrieval]\nepochs = 4\nsize = 16\nbatch_size = 4\nvalidation_share = 0.3\n"


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pairs, a set of them with audio and one without, a text encoder and a protocol."""
    root = tmp_path_factory.mktemp("apwd")
    pairs = make_pairs(root / "made")
    pairs.build(root / "set")
    pairs.build(root / "texts", source=None)
    distilbert(root / "encoder")
    (root / "quick.toml").write_text(PROTOCOL)
    return root


@pytest.fixture
def options(place, tmp_path):
    return TaskOptions(cache=tmp_path, text_encoder=str(place / "encoder"))


def arguments(place, out, data="set"):
    return [
        *("--task", "apwd-rain", "--encoder", "logmel", "--data", f"apwd-rain={place / data}", "--out", out),
        *("--text-encoder", place / "encoder", "--protocol", place / "quick.toml", "--device", "cpu"),
    ]


def test_a_run_gives_all_controls_and_metrics(place, tmp_path, monkeypatch):
    monkeypatch.setenv("BGKNOWN_CACHE", str(tmp_path / "cache"))
    done = run("run", *arguments(place, tmp_path / "out"))
    assert "these are not the published pairs: 7 of 50,000 train pairs, 7 of 1,000 test pairs" in done.output
    rows = {(row.setting, row.metric): row for row in read_rows(tmp_path / "out")}
    zero_shot = ["zero-shot difference", "zero-shot audio"]
    settings = ["audio+text", "audio", "text", *zero_shot, *(f"{name}, uncentred" for name in zero_shot), "chance"]
    metrics = ["R@1", "R@5", "R@10", "mAP@10", "mean rank", "median rank"]
    assert set(rows) == {(setting, metric) for setting in settings for metric in metrics}
    assert {rows[setting, "R@1"].seeds for setting in settings[:3]} == {2}
    assert {rows[setting, "R@1"].seeds for setting in settings[3:]} == {0}
    assert rows["chance", "R@1"].mean == pytest.approx(100 / 7)
    assert rows["chance", "mean rank"].mean == 4
    assert all(rows[setting, "R@10"].mean == 100 for setting in settings)
    assert all(1 <= rows[setting, "mean rank"].mean <= 7 for setting in settings)
    assert {row.n_test for row in rows.values()} == {7}
    assert rows["audio", "R@1"].protocol.endswith(", text encoder")
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    queries = pd.read_csv(folder / "queries.csv")
    assert len(queries) == 7 * (3 * 2 + 4)
    by_hand = queries[queries["setting"] == "audio+text"].groupby("seed")["rank"].mean()
    assert rows["audio+text", "mean rank"].mean == pytest.approx(by_hand.mean())
    share = (queries[queries["setting"] == "audio+text"]["rank"] == 1).mean()
    assert rows["audio+text", "R@1"].mean == pytest.approx(100 * share)
    breakdown = pd.read_csv(folder / "breakdown.csv")
    assert set(breakdown["changes"]) >= {"added", "removed", "louder", "quieter", "event", "background", "one change"}
    assert len(pd.read_csv(folder / "worst.csv")) == 7
    config = json.loads((folder / "config.json").read_text())
    assert config["text_encoder"]["name"] == "encoder"
    distilbert(tmp_path / "other" / "encoder", seed=1)
    given = [tmp_path / "other" / "encoder" if each == place / "encoder" else each for each in arguments(place, "")]
    given[given.index("--out") + 1] = tmp_path / "out"
    message = run("run", *given, status=1).stderr
    assert "was measured with another text encoder called encoder" in message
    assert "rename the folder of this one" in message
    board = run("leaderboard", "--out", tmp_path / "out").output
    assert [f"apwd-rain: R@{k} (%)" in board for k in (1, 5, 10)] == [True] * 3
    assert "apwd-rain: mean rank, protocol" not in board
    assert "apwd-rain: mean rank, protocol" in run("leaderboard", "--all", "--out", tmp_path / "out").output


def test_audio_is_rendered_where_there_is_none(place, options):
    built = tasks.prepare("apwd-rain", place / "set", options)
    data = {"apwd-jams": place / "made" / "jams", "apwd-source": place / "made" / "source"}
    rendered = tasks.prepare("apwd-rain", place / "texts", dataclasses.replace(options, data=data))
    assert rendered.signals["s1"][0].rendering is not None
    for side in ("s1", "s2"):
        for one, other in zip(built.signals[side], rendered.signals[side], strict=True):
            assert np.array_equal(read_clip(one, 16_000)[0], read_clip(other, 16_000)[0])


def test_the_pairs_of_a_scene(place, options):
    data = tasks.prepare("apwd-rain", place / "set", options)
    assert data.leak_check == "ok"
    assert [len(data.folds[0].train), len(data.folds[0].test)] == [7, 7]
    assert data.table["clip_id"].is_monotonic_increasing
    some = tasks.prepare("apwd-rain", place / "set", dataclasses.replace(options, limit=6))
    assert [len(some.folds[0].train), len(some.folds[0].test)] == [3, 3]
    assert some.sha256 != data.sha256


def test_hashes_of_soundscapes_say_nothing_of_their_sources(place, options, tmp_path):
    data = tasks.prepare("apwd-rain", place / "set", options)
    tested = data.signals["s1"][data.folds[0].test[0]].sha256
    outcomes = [
        check_training_data(data, make_sound_list([entry]), cache=tmp_path) for entry in ("20002.wav", "0" * 64, tested)
    ]
    assert outcomes[:2] == ["training data of the encoder not comparable with this task"] * 2
    assert outcomes[2].startswith("the encoder was trained on the source of ")


def test_a_soundscape_in_both_splits_is_a_leak():
    columns = {"jams_s1_sha256": ["a", "b", "c"], "jams_s2_sha256": ["d", "e", "a"]}
    table = pd.DataFrame({"split": ["train", "train", "test"], **columns})
    assert apwd.check_soundscape_leaks(table) == "1 soundscapes in training and test"


def test_missing_files_are_reported_in_one_line(place, options, tmp_path):
    with pytest.raises(NotFoundError, match="has no pairs of the scene traffic with both sides; its scenes are rain"):
        tasks.prepare("apwd-traffic", place / "set", options)
    with pytest.raises(InvalidInputError, match=r"pairs have no audio; .*--data apwd-jams=DIR"):
        tasks.prepare("apwd-rain", place / "texts", options)
    with pytest.raises(NotFoundError, match="no set of pairs"):
        tasks.prepare("apwd-rain", tmp_path, options)
    with pytest.raises(InvalidInputError, match="apwd-rain has a fixed split and no labels"):
        tasks.prepare("apwd-rain", place / "set", dataclasses.replace(options, shuffle_labels=True))


def test_without_the_text_encoder_one_line_says_the_two_ways_out(place, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    given = [each for each in arguments(place, tmp_path / "out") if each not in {"--text-encoder", place / "encoder"}]
    message = run("run", *given, status=1).stderr
    assert message.startswith("error: text encoder distilbert-base-uncased: no such folder, and the hub lacks it")
    assert "use a folder that save_pretrained wrote, or download the model first" in message
    assert len(message.splitlines()) == 1
    assert not Path(tmp_path / "out").exists()


def test_the_default_text_encoder_is_no_part_of_the_protocol(place, options):
    data = tasks.prepare("apwd-rain", place / "set", options)
    assert data.variant == "text encoder"
    named = dataclasses.replace(data.text_encoder, name="distilbert-base-uncased")
    assert dataclasses.replace(data, text_encoder=named).variant == ""
    assert dataclasses.replace(data, text_encoder=dataclasses.replace(named, pooling="cls")).variant == (
        "text distilbert-base-uncased cls"
    )
