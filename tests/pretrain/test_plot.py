"""Curves of runs: their table equals the logs, whatever was interrupted or resumed."""

import csv
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from click.testing import CliRunner

import pretrain
from pretrain.cli import main
from pretrain.plot import read_log
from tests.pretrain.made import make_corpus
from tests.pretrain.runs import run

HEADER = "step,epoch,loss,loss_byol,loss_difference,target_spread,embedding_spread,clips_per_s\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that was resumed, and one without the difference loss."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretrain.train.time_step", lambda *_: None)
        corpus = make_corpus(root / "corpus")
        for steps in (4, 8):
            run(corpus, root / "resumed", f"training.steps={steps}", "training.log_every=2")
        run(corpus, root / "byola", "training.steps=4", "training.log_every=2", "objective.lambda=0")
    return root / "resumed", root / "byola"


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_table_equals_the_logs_and_the_figure_is_text(runs, tmp_path):
    paths = pretrain.plot_runs([str(runs[0]), runs[1] / "log.csv"], tmp_path / "a", formats=["svg"])
    assert [path.name for path in paths] == ["training.svg", "training.csv"]
    table = pd.read_csv(paths[1])
    for folder, steps in zip(runs, ([2, 4, 6, 8], [2, 4]), strict=True):
        part = table[table["run"] == folder.name]
        assert part["step"].tolist() == steps
        assert set(part["learning_rate"]) == {0.001}
        for line, stored in zip(part.to_dict("records"), read(folder / "log.csv"), strict=True):
            for name, text in stored.items():
                assert (text == "" and pd.isna(line[name])) or line[name] == float(text), name
    assert table.loc[table["run"] == "byola", "loss_difference"].isna().all()
    texts = {"".join(one.itertext()) for one in ET.parse(paths[0]).iter("{http://www.w3.org/2000/svg}text")}
    assert {"step", "loss", "difference loss", "learning rate", "clips per second", "resumed", "byola"} <= texts
    again = pretrain.plot_runs([runs[0], runs[1]], tmp_path / "b", formats=["svg"])
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def write(folder, text, configuration=""):
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text(text)
    if configuration:
        (folder / "config.toml").write_text(configuration)
    return folder


def test_a_row_that_a_kill_cut_off_is_left_out_and_other_losses_are_kept(tmp_path):
    header = HEADER.replace("loss_difference", "loss_difference,loss_more")
    rows = "2,0.1,1.5,1.0,,0.5,0.8,0.3,9.5\n4,0.2,1.25,1.0,,0.25,0.8,0.3,9.5\n6,0.3,1.0"
    table = read_log(write(tmp_path / "x", header + rows, "[training]\nlearning_rate = 0.5\n"), "x")
    assert table["step"].tolist() == [2, 4]
    assert table["loss"].tolist() == [1.5, 1.25]
    assert table["loss_more"].tolist() == [0.5, 0.25]
    assert set(table["learning_rate"]) == {0.5}
    paths = pretrain.plot_runs(tmp_path / "x", tmp_path, formats=["svg"])
    assert ">loss_more<" in paths[0].read_text()


def test_a_log_with_its_own_learning_rate_and_repeated_steps(tmp_path):
    text = "step,loss,learning_rate\n4,1.0,0.1\n2,3.0,0.2\n4,2.0,0.3\n"
    table = read_log(write(tmp_path / "x", text), "x")
    assert table[["step", "loss", "learning_rate"]].to_numpy().tolist() == [[2, 3.0, 0.2], [4, 2.0, 0.3]]


def test_runs_of_the_same_name_and_hostile_names(tmp_path):
    row = "2,0.1,1.5,1.0,,0.8,0.3,9.5\n"
    folders = [write(tmp_path / name / "<b>$x$", HEADER + row) for name in ("one", "two")]
    paths = pretrain.plot_runs(folders, tmp_path / "to", formats=["svg"])
    assert set(pd.read_csv(paths[1])["run"]) == {"one/<b>$x$", "two/<b>$x$"}
    assert "one/&lt;b&gt;$x$" in paths[0].read_text()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "log.csv: no such file; `pretrain train --out"),
        ("", "is not a log of `pretrain train`: it has no column step"),
        (HEADER, "has no rows yet; the first is written after training.log_every steps"),
        (HEADER + "2,0.1", "has no rows yet"),
    ],
)
def test_runs_without_a_log_are_one_line(tmp_path, text, match):
    folder = tmp_path / "run" if text is None else write(tmp_path / "run", text)
    done = CliRunner().invoke(main, ["plot", str(folder), "--to", str(tmp_path / "to")])
    assert done.exit_code == 1
    assert done.output.startswith("error: ")
    assert match in done.output
    assert done.output.count("\n") == 1
    assert not (tmp_path / "to").exists()


def test_the_command_writes_the_formats_and_refuses_others(runs, tmp_path):
    done = CliRunner().invoke(main, ["plot", *map(str, runs), "--to", str(tmp_path), "--format", "png"])
    assert done.output.splitlines() == [str(tmp_path / "training.png"), str(tmp_path / "training.csv")]
    done = CliRunner().invoke(main, ["plot", str(runs[0]), "--to", str(tmp_path), "--format", "pg"])
    assert "--format 'pg': no such format; did you mean png" in done.output
    done = CliRunner().invoke(main, ["plot", str(runs[0]), str(runs[0]), "--to", str(tmp_path)])
    assert "this run is given twice" in done.output
