import numpy as np
import pandas as pd
import pytest

from benchmark.composed_retrieval import zero_shot
from benchmark.composed_retrieval.report import break_down, group_queries, list_worst_queries
from benchmark.composed_retrieval.zero_shot import apply_changes, fit_differences
from bgknown.apwd.changes import parse_codes

CODES = [
    "event_added:dog",
    "event_removed:dog",
    "event_added:bell;event_louder:dog",
    "background_quieter:rain",
    "event_louder:dog",
]
CHANGES = [parse_codes(codes, "here") for codes in CODES]
PAIRS = [f"pair{number}" for number in range(5)]


def queries():
    ranks = {("audio+text", 0): [1, 1, 2, 11, 3], ("audio+text", 1): [1, 3, 2, 13, 1], ("audio", 0): [5, 5, 5, 5, 5]}
    return pd.concat(
        [
            pd.DataFrame({"pair": PAIRS, "rank": found, "first": PAIRS[::-1]}).assign(setting=setting, seed=seed)
            for (setting, seed), found in ranks.items()
        ],
        ignore_index=True,
    )


def test_queries_are_grouped_by_what_changes():
    found = {name: np.flatnonzero(inside).tolist() for name, inside in group_queries(CHANGES)}
    assert found == {
        "added": [0, 2],
        "removed": [1],
        "louder": [2, 4],
        "quieter": [3],
        "event": [0, 1, 2, 4],
        "background": [3],
        "one change": [0, 1, 3, 4],
        "several changes": [2],
    }


def test_breakdown_has_mean_and_interval_of_each_group():
    table = break_down(queries(), CHANGES).set_index(["setting", "changes", "metric"])
    added = table.loc[("audio+text", "added", "R@1")]
    assert (added["mean"], added["n_test"]) == (50.0, 2)
    assert 0 <= added["low"] < 50.0 < added["high"] <= 100
    assert table.loc[("audio+text", "one change", "mean rank"), "mean"] == pytest.approx((1 + 2 + 12 + 2) / 4)
    assert table.loc[("audio+text", "background", "R@10"), "mean"] == 0.0
    assert table.loc[("audio", "event", "R@10"), "mean"] == 100.0


def test_worst_queries_are_listed_with_what_was_ranked_first():
    facts = pd.DataFrame(
        {
            "text": [f"text {pair}" for pair in PAIRS],
            "changes": CODES,
            "s1": "x",
            "s2": [f"{pair}_s2" for pair in PAIRS],
        },
        index=PAIRS,
    )
    asked = queries()
    asked.loc[(asked["pair"] == "pair3") & (asked["seed"] == 1), "first"] = "other"
    facts.loc["other"] = ["text other", "event_added:dog", "x", "other_s2"]
    table = list_worst_queries(asked, facts)
    assert table["pair"].tolist()[0] == "pair3"
    assert table["mean_rank"].tolist() == [12.0, 2.0, 2.0, 2.0, 1.0]
    assert (table["worst_rank"].tolist()[0], table["seed"].tolist()[0]) == (13, 1)
    assert table["retrieved"].tolist()[0] == "other"
    assert table["retrieved_s2"].tolist()[0] == "other_s2"
    assert table["text"].tolist()[0] == "text pair3"


def test_difference_of_a_change_is_the_mean_over_its_pairs():
    draw = np.random.default_rng(0)
    changes = [("a",), ("b",), ("a",), ("b",), ("a",)]
    differences = draw.standard_normal((5, 3)).astype(np.float32)
    first = draw.standard_normal((7, 3)).astype(np.float32)
    second = first.copy()
    second[1:6] += differences
    codes, found = fit_differences(first, second, np.arange(1, 6), changes)
    assert codes == ["a", "b"]
    assert np.allclose(found, [differences[[0, 2, 4]].mean(axis=0), differences[[1, 3]].mean(axis=0)], atol=1e-6)


def test_differences_of_several_changes_are_sums(monkeypatch):
    vectors = {"a": [1.0, 0.0], "b": [0.0, 2.0], "c": [3.0, 3.0]}
    changes = [("a",), ("a", "b"), ("b", "c"), ("c",), ()]
    differences = np.array([np.sum([vectors[code] for code in found] or [[0, 0]], axis=0) for found in changes])
    monkeypatch.setattr(zero_shot, "BLOCK_ROWS", 2)
    codes, found = fit_differences(np.zeros((5, 2), np.float32), differences.astype(np.float32), np.arange(5), changes)
    assert np.allclose(found, [vectors[code] for code in codes], atol=1e-6)
    moved = apply_changes(np.zeros((2, 2), np.float32), [("a", "c"), ("unknown",)], codes, found)
    assert np.allclose(moved, [[4, 3], [0, 0]], atol=1e-6)
