"""The leaderboard page: it holds what the commands print."""

import io
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.pages.leaderboard_page import write_leaderboard_page
from benchmark.results.board import BoardOptions
from benchmark.results.classes import format_per_class
from benchmark.results.compare import compare
from benchmark.results.export import format_csv
from benchmark.results.leaderboard import arrange
from benchmark.results.rows import read_rows
from benchmark.results.runs import list_runs
from bgknown.errors import InvalidInputError, NotFoundError
from bgknown.mixtures.dataset import open_dataset
from tests.benchmark.pages.made_pages import BANDS, HOSTILE, read_blocks


@pytest.fixture(scope="module")
def blocks(board_folder):
    return read_blocks(board_folder / "pages" / "leaderboard.html")


def find_table(blocks, metric="accuracy", task="bgknown", protocol="linear"):
    for tab in blocks["board"]["tabs"]:
        for number in tab["tables"]:
            if (tab["task"], tab["protocol"]) == (task, protocol) and blocks["board"]["tables"][number][
                "metric"
            ] == metric:
                return number, blocks["board"]["tables"][number]
    raise AssertionError(f"no table of {task}, {protocol}, {metric}")


def test_every_figure_is_that_of_the_command(board_folder, blocks):
    board = arrange(read_rows(board_folder / "results"), BoardOptions(everything=True), outs=[board_folder / "results"])
    printed = pd.read_csv(io.StringIO(format_csv(board)), keep_default_na=False, dtype=str)
    shown = []
    for table in blocks["board"]["tables"]:
        for line in table["lines"]:
            for column, cell in zip(table["columns"], line["cells"], strict=True):
                if cell is not None:
                    shown.append((line["name"], column["name"], table["metric"], *cell[1:4]))
    expected = [
        (name, column, metric, *(None if text == "" else round(float(text), 4) for text in values))
        for name, column, metric, *values in printed[["name", "column", "metric", "mean", "low", "high"]].itertuples(
            index=False
        )
    ]
    assert shown == expected
    texts = [
        cell[0] for table in blocks["board"]["tables"] for line in table["lines"] for cell in line["cells"] if cell
    ]
    assert texts == [cell.text() for table in board.tables for line in table.lines for cell in line.cells if cell]
    ranks = {line.encoder: line.rank for line in board.tables[find_table(blocks)[0]].lines}
    for line in find_table(blocks)[1]["lines"]:
        if line["rank"] is not None:
            rank = ranks[line["name"]]
            assert line["rank"] == [rank.place, rank.low, rank.high, rank.tie]


def test_tabs_never_mix_tasks_protocols_or_datasets(blocks):
    tabs = [(tab["task"], tab["protocol"], tab["dataset"][:2]) for tab in blocks["board"]["tabs"]]
    assert len(tabs) == len(set(tabs)) == 3
    assert ("bgknown", "paper", "") in tabs  # the paper's
    paper = find_table(blocks, protocol="paper")[1]
    assert [line["paper"] for line in paper["lines"]] == [True] * len(paper["lines"])


def test_key_columns_are_those_of_the_first_table(board_folder, blocks, tmp_path):
    _, table = find_table(blocks)
    key = [column["name"] for column in table["columns"] if column["kind"] & 1]
    assert key == ["a", "a*", "a* - mix", "a* - shuffled*", "mix", "clean"]
    chosen = tmp_path / "chosen.html"
    write_leaderboard_page(
        [board_folder / "results"], chosen, BoardOptions(columns=("mix", "a"), names={"a": "α"}, task="bgknown")
    )
    _, table = find_table(read_blocks(chosen))
    assert {column["name"] for column in table["columns"] if column["kind"] & 1} == {"mix", "α", "a*"} - {"a*"}


def test_classes_are_those_of_the_command(board_folder, blocks):
    number, table = find_table(blocks)
    data = blocks[f"classes-{number}"]
    printed = pd.read_csv(
        io.StringIO(format_per_class(read_rows(board_folder / "results"), [board_folder / "results"]))
    )
    printed = printed[printed["task"] == "bgknown"].set_index(["encoder", "setting", "label"])
    count = 0
    for place, column in enumerate(table["columns"]):
        for line, values in zip(table["lines"], data["figures"][place], strict=True):
            for label, clips, figures in zip(data["labels"], data["counts"], values or [], strict=bool(values)):
                row = printed.loc[(line["name"], column["setting"], label)]
                assert figures == pytest.approx([row["accuracy"], row["low"], row["high"]], abs=1e-4)
                assert clips == row["n_test"]
                count += 1
    assert count == len(printed)


def test_pairs_are_those_of_compare(board_folder, blocks):
    number, table = find_table(blocks)
    pairs = blocks[f"pairs-{number}"]
    assert len(pairs) == 3 * 5  # a, a*, mix and both gains; clean is a control
    found = compare(board_folder / "results", "good", "fair", task="bgknown")
    runs = {line["name"]: next(cell[5] for cell in line["cells"] if cell) for line in table["lines"]}
    shown = {pair[2]: pair for pair in pairs if pair[:2] == [runs["good"], runs["fair"]]}
    for one in found:
        if one.setting_a in shown:
            result = one.result
            expected = [result.mean, result.low, result.high, result.p, result.wins, result.losses]
            assert shown.pop(one.setting_a)[3:] == pytest.approx(expected, rel=1e-3)
    assert not shown


def test_bands_are_those_of_the_run(blocks):
    data = blocks[f"bands-{find_table(blocks)[0]}"]
    assert data["bands"] == list(BANDS)
    assert data["counts"] == [12, 12, 12]
    assert data["lines"][0]["a* - mix"] == [[50.5, 40.0, 60.25], [59.5, 40.0, 60.25], [68.5, 40.0, 60.25]]


def test_hostile_names_add_no_element(board_folder):
    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.found = []

        def handle_starttag(self, tag, attrs):
            self.found.append(tag)

    tags = Tags()
    text = (board_folder / "pages" / "leaderboard.html").read_text()
    tags.feed(text)
    assert not {"img", "b"} & set(tags.found)
    assert HOSTILE not in text
    assert tags.found.count("script") == text.count("</script>")


def test_files_are_next_to_the_page_and_inside_their_folders(board_folder, built, blocks):
    clips = {block["clips"][0]: block for name, block in blocks.items() if name.startswith("clips-")}
    mixtures = clips["4-400-A-0"]
    assert mixtures["audio"]["mix"]["folder"].startswith("../")
    assert (board_folder / "pages" / mixtures["audio"]["mix"]["folder"] / "manifest.csv").samefile(
        built[1] / "manifest.csv"
    )
    assert "9-0-A-0" not in mixtures["audio"]["mix"]["files"]
    assert {part for name in clips for part in str(clips[name]["audio"]).split("'") if part.startswith("/")} == set()


def test_a_page_without_a_dataset_says_so_and_is_small(board_folder, tmp_path):
    report = write_leaderboard_page([board_folder / "results"], tmp_path / "new" / "page.html")
    assert report.predictions == 3 * (6 * 40 + 3 * 10 + 10)
    assert report.size == (tmp_path / "new" / "page.html").stat().st_size < 200_000
    audio = [block["audio"] for name, block in read_blocks(report.path).items() if name.startswith("clips-")]
    assert audio == [{}, {}, {}]


def test_folders_of_audio_are_checked(board_folder, built, tmp_path):
    out, page = [board_folder / "results"], tmp_path / "page.html"
    with pytest.raises(NotFoundError, match=r"no such folder; --dataset must name"):
        write_leaderboard_page(out, page, datasets=[str(tmp_path / "none")])
    with pytest.raises(InvalidInputError, match=r"--dataset is '=x'; it must be DIR or TASK=DIR"):
        write_leaderboard_page(out, page, datasets=["=x"])
    with pytest.raises(NotFoundError, match=r"has no test clip of task mine, such as"):
        write_leaderboard_page(out, page, datasets=[f"mine={tmp_path}"])
    other = tmp_path / "other"
    other.mkdir()
    rows = (board_folder / "results" / "leaderboard.csv").read_text()
    (other / "leaderboard.csv").write_text(rows.replace(open_dataset(built[1]).id, "f" * 64))
    with pytest.raises(NotFoundError, match=r"no result was measured on this dataset, .*; there are d2, d3, ffffffff"):
        write_leaderboard_page([other], page, datasets=[str(built[1])])
    assert not page.exists()


def test_only_pages_are_overwritten(board_folder, tmp_path):
    out, page = board_folder / "results", tmp_path / "page.html"
    for kept in (tmp_path / "notes.html", tmp_path / "leaderboard.csv"):
        kept.write_text("mine")
        done = CliRunner().invoke(main, ["leaderboard", "--out", str(out), "--html", str(kept)])
        assert done.exit_code == 1
        assert done.output == f"error: {kept}: already exists and is not a page of bgknown; give another --html\n"
        assert kept.read_text() == "mine"
    for _ in range(2):
        write_leaderboard_page([out], page)
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(main, ["leaderboard", "--out", str(out), "--html", str(tmp_path / "file" / "page.html")])
    assert done.exit_code == 1
    assert "give another --html" in done.output


def test_without_predictions_there_is_nothing_to_open(board_folder, tmp_path):
    shutil.copytree(board_folder / "results", tmp_path / "results")
    for predictions in (tmp_path / "results" / "runs").glob("*/predictions*"):
        predictions.unlink()
    write_leaderboard_page([tmp_path / "results"], tmp_path / "page.html")
    blocks = read_blocks(tmp_path / "page.html")
    assert blocks["board"]["tables"]
    assert blocks["runs"] == []
    assert not [name for name in blocks if name.startswith(("classes-", "pairs-", "run-"))]


def test_a_damaged_table_of_bands_is_named(board_folder, tmp_path):
    shutil.copytree(board_folder / "results", tmp_path / "results")
    run = next(run for run in list_runs(tmp_path / "results") if run.row.task == "bgknown")
    (run.folder / "snr.csv").write_text("band,n,n_groups,setting,mean,low,high\n0,12,5,a,many,1,2\n")
    with pytest.raises(InvalidInputError, match=r"snr.csv, line 2: mean is 'many'; it must be a number"):
        write_leaderboard_page([tmp_path / "results"], tmp_path / "page.html")


def test_the_command(board_folder, built, tmp_path):
    page, out = tmp_path / "page.html", str(board_folder / "results")
    done = CliRunner().invoke(main, ["leaderboard", "--out", out, "--html", str(page), "--dataset", str(built[1])])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"page  {page}  (840 predictions, 0.")
    for extra in (["--format", "csv"], ["--per-class"], ["--confusion"]):
        done = CliRunner().invoke(main, ["leaderboard", "--out", out, "--html", str(page), *extra])
        assert done.exit_code == 2
        assert "give --html without" in done.output
    done = CliRunner().invoke(main, ["leaderboard", "--out", out, "--dataset", str(built[1])])
    assert done.exit_code == 2
