import pandas as pd
import pytest

from benchmark.predictions import (
    PREDICTION_COLUMNS,
    add_optional_columns,
    average_by_seed,
    list_groupings,
    read_predictions,
    score_clips,
)

OLD = """task,setting,metric,fold,seed,clip_id,label,predicted,score
t,a,accuracy,,0,x,'=1,dog,1
t,a,accuracy,,0,y,c,d,0
"""


def make_table(scores, setting="a", *, folds="", seed="0", groups=""):
    clips = [f"c{number}" for number in range(len(scores))]
    facts = {"task": "t", "setting": setting, "metric": "accuracy", "label": "x", "predicted": "x"}
    table = pd.DataFrame({"clip_id": clips, "score": scores}).assign(fold=folds, seed=seed, group=groups, **facts)
    return add_optional_columns(table)


def test_columns_are_those_of_the_contract():
    assert ", ".join(PREDICTION_COLUMNS) == (
        "encoder, task, setting, metric, fold, seed, clip_id, group, background, label, predicted, score"
    )


def test_tables_of_earlier_versions_are_read(tmp_path):
    (tmp_path / "predictions.csv").write_text(OLD)
    table = read_predictions(tmp_path)
    assert list(table.columns) == PREDICTION_COLUMNS
    assert table["label"].tolist() == ["=1", "c"]
    assert table["score"].tolist() == [1.0, 0.0]
    assert set(table["encoder"]) | set(table["group"]) | set(table["background"]) == {""}
    assert list_groupings(table, pd.Index(["x", "y"])) == ()


def test_clips_are_weighted_so_that_folds_count_equally():
    table = make_table([1.0, 0.0, 0.0, 0.0], folds=["1", "1", "1", "2"])
    clips = score_clips(table, "a", "accuracy")
    assert clips.mean() == pytest.approx((1 / 3 + 0) / 2) == pytest.approx(average_by_seed(table, "a", "accuracy")[0])


def test_a_gain_is_the_difference_of_its_settings():
    table = pd.concat([make_table([1.0, 1.0, 0.0]), make_table([0.0, 1.0, 1.0], "mix")])
    assert score_clips(table, "a - mix", "accuracy").tolist() == [1.0, 0.0, -1.0]
    assert average_by_seed(table, "a - mix", "accuracy") == [0.0]
    assert score_clips(table, "a - other", "accuracy").empty


def test_groupings_are_those_that_have_entries():
    table = make_table([1.0, 0.0, 1.0], groups=["s", "s", ""])
    assert list_groupings(table, pd.Index(["c2", "c0"])) == (["", "s"],)
    both = table.assign(background=["u", "v", "u"])
    assert list_groupings(both, pd.Index(["c0", "c1", "c2"])) == (["s", "s", ""], ["u", "v", "u"])


def test_groupings_are_those_of_a_clip_s_first_row():
    table = pd.concat([make_table([1.0, 0.0], groups=["s", "t"])] * 2 + [make_table([1.0] * 3, groups=["s", "t", "u"])])
    assert list_groupings(table, pd.Index(["c2", "nowhere", "c0"])) == (["u", "", "s"],)
    assert list_groupings(table.iloc[:0], pd.Index(["c0"])) == ()
