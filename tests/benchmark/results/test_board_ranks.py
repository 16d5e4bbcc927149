"""Ranks, tie groups and best marks on the leaderboard, from predictions."""

import dataclasses
import shutil

import pandas as pd
import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.results.board import BoardOptions
from benchmark.results.export import format_page, format_text
from benchmark.results.leaderboard import arrange
from benchmark.results.rows import add_rows, read_rows
from tests.benchmark.results.made_runs import CLIPS, draw_answers, write_results

SKILLS = {"good": 0.9, "as good": 0.9, "bad": 0.3}


def list_best(table) -> set[tuple[str, str]]:
    return {
        (line.encoder, column)
        for line in table.lines
        for column, cell in zip(table.columns, line.cells, strict=True)
        if cell is not None and cell.is_best
    }


@pytest.fixture
def out(tmp_path):
    for place, (name, skill) in enumerate(SKILLS.items()):
        settings = {
            setting: draw_answers(share, 10 * place + n)
            for n, (setting, share) in enumerate(
                {"mix": 0.5, "a": skill, "a*": skill, "shuffled*": skill, "clean": skill, "bg": skill}.items()
            )
        }
        write_results(tmp_path, name, settings, gains=["a* - mix", "a* - shuffled*"])
    return tmp_path


def show(out, **options):
    return arrange(read_rows(out), BoardOptions(paper=False, **options), outs=[out])


def test_first_table_has_the_key_figures_ordered_by_a_star(out):
    (table,) = show(out).tables
    assert table.columns == ["a", "a*", "a* - mix", "a* - shuffled*", "mix", "clean"]
    assert table.order == "a*"
    means = [line.cells[1].row.mean for line in table.lines]
    assert means == sorted(means, reverse=True)
    assert table.lines[-1].encoder == "bad"
    assert [line.rank.place for line in table.lines] == [1, 2, 3]
    assert [line.rank.tie for line in table.lines] == [1, 1, 2]
    assert [(line.rank.low, line.rank.high) for line in table.lines] == [(1, 2), (1, 2), (3, 3)]
    assert table.lines[0].cells[2].text().startswith("+")


def test_best_covers_the_tie_group_and_is_never_given_in_controls(out):
    (table,) = show(out, everything=True).tables
    assert {"bg", "shuffled*", "clean"} < set(table.columns)
    best = list_best(table)
    assert {name for name, column in best if column == "a*"} == {"good", "as good"}
    assert {name for name, column in best if column == "a"} == {"good", "as good"}
    assert {column for _, column in best} <= {"mix", "a", "a*", "a* - mix", "a* - shuffled*"}


def test_text_and_page_show_ranks_and_marks(out):
    text = format_text(show(out))
    assert "rank  tie" in text.splitlines()[1]
    assert "1 [1, 2]    1" in text
    assert text.count("]*") == len(list_best(show(out).tables[0]))
    assert "6 more figures (other settings, controls, metrics): --all" in text
    page = format_page(show(out))
    assert "| encoder | rank | tie | a |" in page.replace("\\", "")
    assert page.count("**") == 2 * len(list_best(show(out).tables[0]))


def test_seed_standard_deviations_are_shown_with_all_only(out):
    assert " sd " not in format_text(show(out))
    assert " sd " in format_text(show(out, everything=True))


def test_one_encoder_has_neither_rank_nor_mark(tmp_path):
    write_results(tmp_path, "alone", {"a": draw_answers(0.9, 0)})
    board = show(tmp_path)
    assert board.tables[0].lines[0].rank is None
    assert not list_best(board.tables[0])
    assert board.notes == []


def test_ranks_are_left_out_with_one_note_where_predictions_are_missing(out):
    shutil.rmtree(next((out / "runs").glob("bad-*")))
    board = show(out, everything=True)
    assert not any(table.is_ranked for table in board.tables)
    assert not any(list_best(table) for table in board.tables)
    (note,) = board.notes
    assert "no ranks and no best marks: predictions of bad on bgknown are missing (runs/bad-bgknown" in note


def test_encoders_tested_on_different_clips_have_no_ranks(tmp_path):
    write_results(tmp_path, "all", {"a": draw_answers(0.9, 0)})
    write_results(tmp_path, "some", {"a": draw_answers(0.9, 0, clips=CLIPS[:50])})
    assert "all and some were tested on different clips of bgknown" in show(tmp_path).notes[0]


def test_groups_of_clips_decide_on_ties(tmp_path):
    groups = [f"s{n // 30}" for n in range(60)]
    right = pd.DataFrame([[1.0] * 30 + [1.0] * 30], columns=CLIPS)
    for name, answers in (("good", right), ("bad", 1 - right)):
        write_results(tmp_path / "alone", name, {"a": answers})
        write_results(tmp_path / "grouped", name, {"a": answers}, groups=groups)
    assert [line.rank.tie for line in show(tmp_path / "alone").tables[0].lines] == [1, 2]
    assert [line.rank.tie for line in show(tmp_path / "grouped").tables[0].lines] == [1, 1]


def test_probes_that_were_cut_are_marked_with_a_note(tmp_path):
    write_results(tmp_path, "cut", {"a": draw_answers(0.9, 0)}, facts={"converged": 0.4})
    write_results(tmp_path, "whole", {"a": draw_answers(0.9, 0)}, facts={"converged": 1.0})
    board = show(tmp_path)
    text = format_text(board)
    assert text.count("†") == 2
    assert board.tables[0].notes == ["†: some probes were cut before they converged (share that converged: cut a 40%)"]


def test_retrieval_has_a_table_for_each_recall_with_its_controls(tmp_path):
    for seed, name in enumerate(("one", "two")):
        for n, metric in enumerate(("R@1", "R@5", "mAP@10", "R@10")):
            settings = {setting: draw_answers(0.9, seed + n) for setting in ("audio+text", "audio", "chance")}
            write_results(tmp_path / metric, name, settings, metric=metric, task="apwd-rain")
            add_rows(tmp_path, read_rows(tmp_path / metric))
    rows = [row for metric in ("R@1", "R@5", "mAP@10", "R@10") for row in read_rows(tmp_path / metric)]
    outs = [tmp_path / "R@1"]
    tables = arrange(rows, BoardOptions(paper=False), outs=outs).tables
    assert [table.title.split(",")[0] for table in tables] == [f"apwd-rain: R@{k} (%)" for k in (1, 5, 10)]
    assert tables[0].columns == ["audio+text", "audio", "chance"]
    assert {column for _, column in list_best(tables[0])} == {"audio+text"}


def test_command_shows_all_only_if_asked(out):
    shown = [CliRunner().invoke(main, ["leaderboard", "--out", str(out), *more]).output for more in ([], ["--all"])]
    assert [" bg" in text for text in shown] == [False, True]
    assert "bg" in (out / "leaderboard.md").read_text()


def test_small_ranks_are_the_best_ones(tmp_path):
    for name, share in (("near", 0.0), ("far", 1.0)):
        ranks = draw_answers(share, 0) * 50 + 1
        write_results(tmp_path, name, {"a": ranks}, metric="mean rank")
    (table,) = show(tmp_path).tables
    assert [(line.encoder, line.rank.place) for line in table.lines] == [("near", 1), ("far", 2)]
    assert list_best(table) == {("near", "a")}
    assert dataclasses.replace(table).is_ranked
