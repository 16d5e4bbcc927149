import csv

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.results.board import BoardOptions
from benchmark.results.export import format_page, format_text, write_page
from benchmark.results.leaderboard import arrange as arrange_rows
from benchmark.results.rows import ResultRow, add_rows, read_paper_rows, read_rows
from benchmark.text_tables import align_columns, format_markdown
from bgknown.errors import NotFoundError


def arrange(rows, *, outs=(), **options):
    return arrange_rows(rows, BoardOptions(**options), outs=outs)


def row(encoder, mean, setting="mix", half=None, **changes) -> ResultRow:
    interval = {} if half is None else {"low": mean - half, "high": mean + half}
    facts = {"task": "bgknown", "metric": "accuracy", "protocol": "paper", "dataset_sha256": "d" * 64}
    return ResultRow(encoder=encoder, setting=setting, mean=mean, **{**facts, **interval, **changes})


def cells(table) -> dict[str, list[str | None]]:
    return {line.encoder: [cell and cell.text() for cell in line.cells] for line in table.lines}


ROWS = [
    row("logmel", 41.0, half=1.25),
    row("logmel", 38.5, "a"),
    row("melpower", 40.0, half=0.5),
    row("melpower", 69.123456789, "a", half=0.5),
    row("melpower", 36.0, "shuffled"),
]


def test_a_task_with_settings_has_a_column_for_each():
    (table,) = arrange(ROWS).tables
    assert table.title == "bgknown: accuracy (%), protocol paper, dataset dddddddd"
    assert table.columns == ["a", "mix"]
    assert cells(table) == {
        "BYOL-A any lambda (about) (paper)": [None, "47"],
        "logmel": ["38.5", "41.0 [39.8, 42.2]"],
        "melpower": ["69.1 [68.6, 69.6]", "40.0 [39.5, 40.5]"],
    }
    (table,) = arrange(ROWS, everything=True).tables
    assert table.columns == ["a", "mix", "shuffled"]
    assert cells(table)["melpower"] == ["69.1 [68.6, 69.6]", "40.0 [39.5, 40.5]", "36.0"]


def test_encoders_are_ranked_by_the_first_column_or_another():
    names = [line.encoder for line in arrange(ROWS).tables[0].lines]
    assert names == ["melpower", "logmel", "BYOL-A any lambda (about) (paper)"]
    names = [line.encoder for line in arrange(ROWS, sort="mix").tables[0].lines]
    assert names == ["BYOL-A any lambda (about) (paper)", "logmel", "melpower"]
    names = [line.encoder for line in arrange([*ROWS, row("logmel", 75.0, "a*")]).tables[0].lines]
    assert names == ["logmel", "melpower", "BYOL-A any lambda (about) (paper)"]
    with pytest.raises(NotFoundError, match="no column 'shufled'; did you mean shuffled"):
        arrange(ROWS, sort="shufled", everything=True)


def test_other_datasets_protocols_and_metrics_stand_apart():
    others = [
        row("logmel", 1.0, dataset_sha256="e" * 64),
        row("logmel", 2.0, protocol="short-1a2b3c"),
        row("logmel", 3.0, metric="clip R@1"),
    ]
    board = arrange([*ROWS, *others], everything=True)
    assert [table.title for table in board.tables] == [
        "bgknown: accuracy (%), protocol paper, dataset dddddddd",
        "bgknown: accuracy (%), protocol paper, dataset eeeeeeee",
        "bgknown: accuracy (%), protocol short-1a2b3c, dataset dddddddd",
        "bgknown: clip R@1 (%), protocol paper, dataset dddddddd",
    ]
    shown = [cells(table)["logmel"][table.columns.index("mix")] for table in board.tables]
    assert shown == ["41.0 [39.8, 42.2]", "1.0", "2.0", "3.0"]
    # the paper's figures belong to its own protocol and metric
    assert ["BYOL-A any lambda (about) (paper)" in cells(table) for table in board.tables] == [True, True, False, False]


def test_tasks_with_one_setting_share_a_table():
    rows = [
        row("logmel", 60.0, "clip", task="esc50", half=1.0, protocol="evar"),
        row("logmel", 70.0, "clip", task="us8k", dataset_sha256="f" * 64, protocol="evar"),
    ]
    (table,) = arrange(rows).tables
    assert table.title == "accuracy (%), protocol evar"
    assert table.columns == ["esc50", "us8k"]
    assert cells(table)["logmel"] == ["60.0 [59.0, 61.0]", "70.0"]
    assert cells(table)["BYOL-A lambda 0 (paper)"] == ["82.70 [80.94, 84.46]", "79.43 [78.70, 80.16]"]
    assert [line.encoder for line in table.lines][:2] == ["BYOL-A lambda 0.2 (paper)", "BYOL-A lambda 0 (paper)"]
    assert len(table.lines) == 6


def test_two_datasets_of_one_task_have_a_table_each():
    facts = {"task": "esc50", "protocol": "evar"}
    rows = [row("logmel", 60.0, "clip", dataset_sha256=letter * 64, **facts) for letter in "ab"]
    tables = arrange([*rows, row("logmel", 1.0, "clip", task="us8k", protocol="evar")]).tables
    assert [table.title for table in tables] == [
        *(f"esc50: accuracy (%), protocol evar, dataset {letter * 8}" for letter in "ab"),
        "accuracy (%), protocol evar",
    ]
    assert [table.columns for table in tables] == [["esc50"], ["esc50"], ["us8k"]]
    assert all(cells(table)["BYOL-A lambda 0 (paper)"] == ["82.70 [80.94, 84.46]"] for table in tables[:2])


def test_tasks_of_the_paper_are_in_its_order_with_the_average_last():
    names = ["nine-tasks", "surge", "mine", "esc50", "vc1"]
    rows = [row("logmel", 60.0, "average" if name == "nine-tasks" else "clip", task=name) for name in names]
    (table,) = arrange(rows, paper=False).tables
    assert table.columns == ["esc50", "vc1", "surge", "nine-tasks average", "mine"]


def test_checkpoints_of_one_name_are_distinguished():
    rows = [
        row("byola", 50.0, checkpoint_sha256="12" * 32),
        row("byola", 51.0, checkpoint_sha256="34" * 32),
        row("logmel", 41.0),
    ]
    (table,) = arrange(rows, paper=False).tables
    assert [line.encoder for line in table.lines] == ["byola [34343434]", "byola [12121212]", "logmel"]


def test_the_paper_can_be_left_out_or_asked_for():
    assert all(one.source == "measured" for one in arrange(ROWS, paper=False).rows)
    board = arrange([], task="apwd-rain", metric="R@1")
    assert cells(board.tables[0])["BYOL-A lambda 0.2 (paper)"] == ["53.99"]


def test_the_paper_is_shown_next_to_other_text_encoders_too():
    facts = {"task": "apwd-rain", "metric": "R@1"}
    protocols = ["paper, text minilm", "paper, text minilm, limit 100"]
    rows = [
        row("logmel", 40.0, setting, protocol=protocol, **facts)
        for setting in ("audio+text", "chance")
        for protocol in protocols
    ]
    tables = {table.title: table for table in arrange(rows, metric="R@1").tables}
    (joined, apart) = (tables[f"apwd-rain: R@1 (%), protocol {name}, dataset dddddddd"] for name in protocols)
    assert cells(joined)["BYOL-A lambda 0.2 (paper)"] == ["53.99", None]
    assert joined.notes == ["the paper's text encoder is distilbert-base-uncased"]
    assert set(cells(apart)) == {"logmel"}
    assert len(tables) == 2


def test_unknown_names_are_reported_with_the_nearest():
    with pytest.raises(NotFoundError, match="no result of task 'bgknow'; did you mean bgknown. there are: bgknown"):
        arrange(ROWS, task="bgknow")
    with pytest.raises(NotFoundError, match="no result of metric 'acuracy'; did you mean accuracy"):
        arrange(ROWS, metric="acuracy")
    with pytest.raises(NotFoundError, match="there are no results yet; `benchmark run`"):
        arrange([])


def test_only_the_chosen_task_is_shown():
    board = arrange([*ROWS, row("logmel", 60.0, "clip", task="esc50")], task="esc50", paper=False)
    assert [one.task for one in board.rows] == ["esc50"]


def test_a_leak_is_reported_under_the_table():
    rows = [row("logmel", 41.0, leak_check="3 sources in both splits"), row("melpower", 1.0, leak_check="ok")]
    (table,) = arrange(rows).tables
    assert table.notes == ["leak check of bgknown: 3 sources in both splits"]
    assert table.notes[0] in format_text(arrange(rows))
    assert table.notes[0] in format_page(arrange(rows))


def test_text_is_aligned():
    lines = format_text(arrange(ROWS, paper=False)).splitlines()
    assert lines[:4] == [
        "bgknown: accuracy (%), protocol paper, dataset dddddddd",
        "encoder                   a                mix",
        "melpower  69.1 [68.6, 69.6]  40.0 [39.5, 40.5]",
        "logmel                 38.5  41.0 [39.8, 42.2]",
    ]
    assert "1 more figures (other settings, controls, metrics): --all" in lines
    assert "(paper): as published" in format_text(arrange(ROWS))


def test_markdown_is_a_page_that_can_be_kept(tmp_path):
    board = arrange(ROWS, everything=True)
    page = write_page(tmp_path / "out", board).read_text(encoding="utf-8")
    assert page == format_page(board)
    assert page.startswith("# Leaderboard\n\n## bgknown: accuracy (%)")
    assert "| encoder | a | mix | shuffled |\n| --- | ---: | ---: | ---: |\n" in page
    assert "| melpower | 69.1 \\[68.6, 69.6\\] | 40.0 \\[39.5, 40.5\\] | 36.0 |" in page


def test_csv_has_exact_values_of_ours_and_of_the_paper(tmp_path):
    read = read_rows(add_rows(tmp_path, ROWS))
    write_page(tmp_path, arrange(read))
    found = list(csv.DictReader((tmp_path / "leaderboard_with_paper.csv").read_text().splitlines()))
    assert [one["mean"] for one in found if (one["encoder"], one["setting"]) == ("melpower", "a")] == ["69.123456789"]
    assert [one["source"] for one in found] == ["measured"] * len(ROWS) + ["paper"]


def test_every_published_figure_has_one_place():
    published = read_paper_rows()
    tasks = list(dict.fromkeys(one.task for one in published))
    shown = [
        cell.row
        for task in tasks
        for table in arrange([], task=task, everything=True).tables
        for cell in all_cells(table)
    ]
    assert sorted(one.identity for one in shown) == sorted(one.identity for one in published)


def all_cells(table):
    return [cell for line in table.lines for cell in line.cells if cell is not None]


def test_results_in_a_read_only_folder_are_shown(tmp_path):
    add_rows(tmp_path, ROWS)
    (tmp_path / "leaderboard.md").mkdir()  # nobody, not even root, can put the page there
    result = CliRunner().invoke(main, ["leaderboard", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert "melpower" in result.stdout
    assert "page" not in result.stdout
    assert "leaderboard.md" in result.stderr
    assert "pass the copy as --out" in result.stderr


def test_layout_keeps_columns_apart():
    assert align_columns(["a", "b"], [["x", "10"], ["yyy", "2"]]) == "a     b\nx    10\nyyy   2"
    assert format_markdown(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"
    assert align_columns(["a", "b"], []) == "a  b"


def test_markup_in_names_is_escaped_in_the_page():
    name = "a|b <img src=x> [l](javascript:y) \x1b[31m `c` https://d"
    page = format_page(arrange([row(name, 41.0), row("logmel", 40.0)], paper=False))
    line = next(line for line in page.splitlines() if "javascript" in line)
    assert line.replace("\\|", "").count("|") == 3
    assert not any(part in line for part in ("<img", "\x1b", "://"))
    assert "\\[l\\](javascript:y)" in line


def test_control_characters_in_names_are_escaped_in_the_terminal():
    text = format_text(arrange([row("a\x1b[2Jb\u202ec", 41.0)], paper=False))
    assert "a\\x1b[2Jb\\u202ec" in text
