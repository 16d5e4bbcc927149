import csv
import io
import json

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.results.merge import read_names, read_results
from benchmark.results.rows import COLUMNS, add_rows, read_rows
from bgknown.errors import InvalidInputError, NotFoundError
from tests.benchmark.results.made_runs import CLASSES, draw_answers, write_results


@pytest.fixture
def out(tmp_path):
    for seed, name in enumerate(("log_mel", "mel&power")):
        settings = {
            setting: draw_answers(0.4 + 0.3 * seed, 10 * seed + n) for n, setting in enumerate(("mix", "a", "bg"))
        }
        write_results(tmp_path / "out", name, settings, groups=[f"s{n // 3}" for n in range(60)])
    return tmp_path / "out"


def call(*arguments, code=0):
    result = CliRunner().invoke(main, ["leaderboard", "--no-paper", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_csv_has_exact_values_with_ranks(out):
    lines = list(csv.DictReader(io.StringIO(call("--out", out, "--format", "csv"))))
    assert list(lines[0])[-len(COLUMNS) :] == list(COLUMNS)
    rows = {(row.encoder, row.setting): row for row in read_rows(out)}
    assert len(lines) == 4
    for line in lines:
        row = rows[line["encoder"], line["setting"]]
        assert (float(line["mean"]), float(line["low"]), float(line["std"])) == (row.mean, row.low, row.std)
        assert (line["rank"] != "") == (line["column"] == "a")
    best = {(line["name"], line["column"]) for line in lines if line["best"] == "1"}
    assert best == {("mel&power", "a"), ("mel&power", "mix")}


def test_json_has_the_tables(out):
    board = json.loads(call("--out", out, "--format", "json"))
    (table,) = board["tables"]
    assert (table["columns"], table["order"]) == (["a", "mix"], "a")
    assert [line["name"] for line in table["lines"]] == ["mel&power", "log_mel"]
    assert table["lines"][0]["rank"]["place"] == 1
    assert table["lines"][0]["cells"]["mix"]["n_groups"] == 20


def test_latex_is_escaped_and_bold(out):
    text = call("--out", out, "--format", "latex")
    assert "mel\\&power & 1 [1, 1] & 1 & \\textbf{" in text
    assert "log\\_mel" in text
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 1
    assert "\\begin{tabular}{lrrrr}" in text
    assert "accuracy (\\%)" in text


def test_markdown_goes_to_the_terminal(out):
    assert call("--out", out, "--format", "md").startswith("# Leaderboard")
    assert not (out / "leaderboard.md").exists()


def test_columns_are_chosen_in_their_order_and_renamed(out, tmp_path):
    names = tmp_path / "names.toml"
    names.write_text('log_mel = "Log-mel"\na = "difference"\n')
    text = call("--out", out, "--columns", "bg, a", "--names", names, "--names", "mel&power=Power")
    header = text.splitlines()[1].split()
    assert header == ["encoder", "rank", "tie", "bg", "difference"]
    assert "Log-mel" in text
    assert "log_mel" not in text
    assert "more figures" not in text


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--columns", "mixx"], "no column 'mixx'; did you mean mix"),
        (["--names", "logmel=x"], "no encoder or column 'logmel' to rename; did you mean log_mel"),
        (["--names", "x"], "--names is 'x'; it must be OLD=NEW"),
        (["--names", "log_mel=mel&power"], "two encoders are both called 'mel&power'"),
        (["--per-class", "--confusion"], "give --per-class or --confusion, not both"),
    ],
)
def test_invalid_choices_are_reported(out, arguments, match):
    result = CliRunner().invoke(main, ["leaderboard", "--no-paper", "--out", str(out), *arguments])
    assert result.exit_code != 0
    assert match in result.output


def test_a_file_of_names_holds_texts(tmp_path):
    (tmp_path / "names.toml").write_text("a = 1\n")
    with pytest.raises(InvalidInputError, match="a is 1, must be a display name in quotes"):
        read_names([str(tmp_path / "names.toml")])


def test_folders_are_merged_and_keep_datasets_apart(out, tmp_path):
    write_results(tmp_path / "more", "third", {"a": draw_answers(0.5, 50), "mix": draw_answers(0.5, 51)})
    write_results(tmp_path / "more", "log_mel", {"a": draw_answers(0.5, 52)}, dataset_sha256="d2")
    text = call("--out", out, "--out", tmp_path / "more")
    titles = [line for line in text.splitlines() if line.startswith("bgknown: ")]
    assert titles == [f"bgknown: accuracy (%), protocol paper, dataset {name}" for name in ("d1", "d2")]
    assert "third" in text
    assert "rank" in text.splitlines()[1]
    assert not (out / "leaderboard.md").exists()


def test_the_same_run_in_two_folders_is_there_once(out, tmp_path):
    add_rows(tmp_path / "copy", read_rows(out))
    assert read_results([out, tmp_path / "copy"]) == read_rows(out)


def test_different_results_of_the_same_run_are_an_error_that_names_both(out, tmp_path):
    write_results(tmp_path / "other", "log_mel", {"a": draw_answers(0.1, 9)})
    with pytest.raises(InvalidInputError, match="different results of log_mel on bgknown, a, accuracy") as caught:
        read_results([out, tmp_path / "other"])
    assert str(out) in str(caught.value)
    assert str(tmp_path / "other") in str(caught.value)


def test_accuracy_by_class_follows_from_the_predictions(out):
    lines = list(csv.DictReader(io.StringIO(call("--out", out, "--per-class", "--columns", "a"))))
    assert [line["label"] for line in lines] == [*CLASSES, *CLASSES]
    assert {line["setting"] for line in lines} == {"a"}
    for encoder in ("log_mel", "mel&power"):
        found = [line for line in lines if line["encoder"] == encoder]
        assert sum(int(line["n_test"]) for line in found) == 60
        (row,) = (row for row in read_rows(out) if (row.encoder, row.setting) == (encoder, "a"))
        assert sum(float(line["accuracy"]) for line in found) / 5 == pytest.approx(row.mean)
    assert all(0 <= float(line["low"]) < float(line["high"]) <= 100 for line in lines)
    assert {int(line["n_groups"]) for line in lines} == {12}


def test_confusion_counts_all_predictions(out):
    lines = list(csv.DictReader(io.StringIO(call("--out", out, "--confusion", "--columns", "a"))))
    found = [line for line in lines if line["encoder"] == "log_mel"]
    assert sum(int(line["count"]) for line in found) == 60 * 3
    assert {line["seeds"] for line in found} == {"3"}
    assert {line["predicted"] for line in found if line["label"] == "dog"} == {"bell", "dog"}


def test_missing_predictions_of_classes_are_reported(out, tmp_path):
    add_rows(tmp_path / "rows", read_rows(out))
    result = CliRunner().invoke(main, ["leaderboard", "--out", str(tmp_path / "rows"), "--per-class"])
    assert result.exit_code != 0
    assert "there are no predictions of log_mel on bgknown, mix" in result.output


def test_an_unknown_folder_is_reported(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        read_results([tmp_path])
