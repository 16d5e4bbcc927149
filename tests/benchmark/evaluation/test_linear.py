"""Protocol ``linear`` from the embeddings of a made task to scores, predictions and choices."""

import dataclasses

import numpy as np
import pytest

from benchmark.evaluation.linear import ALPHA_COLUMNS, RIDGE, probe_linear
from benchmark.evaluation.scoring import make_score, score_gains, take_median
from benchmark.predictions import PREDICTION_COLUMNS
from benchmark.results.run_folder import ALPHA_TABLE
from tests.benchmark.evaluation.made import ALPHAS, make_embeddings, make_setting, make_task

A = make_setting("a", minus="a")
SETTINGS = (
    make_setting("mix"),
    A,
    make_setting("a*", minus="a", alphas=ALPHAS),
    make_setting("shuffled*", minus="other", alphas=ALPHAS),
    make_setting("clean", "clean"),
    make_setting("clean -> a", "clean", tested=A),
)
GAINS = (("a", "mix"), ("a*", "mix"), ("a*", "shuffled*"), ("a", "absent"))


def probe(data, embeddings):
    found = probe_linear(data, [(fold, embeddings) for fold in data.folds], "cpu")
    return found.scores, found.predictions, found.chosen


@pytest.fixture(scope="module")
def outcome():
    data = make_task(SETTINGS, gains=GAINS)
    return data, *probe(data, make_embeddings(data))


def find(scores, setting, metric="accuracy"):
    (score,) = (score for score in scores if (score.setting, score.metric) == (setting, metric))
    return score


def test_what_is_exact_is_right_and_what_is_hidden_is_not(outcome):
    _, scores, _, _ = outcome
    accuracy = {setting.name: find(scores, setting.name).by_seed[0] for setting in SETTINGS}
    for name in ("a", "a*", "clean", "clean -> a"):
        assert accuracy[name] == 1.0, name
        assert find(scores, name, RIDGE + "accuracy").by_seed[0] == 1.0, name
    assert accuracy["mix"] < 0.7
    assert accuracy["shuffled*"] < 0.7


def test_the_chosen_weights_are_reported_by_both_regressions(outcome):
    _, scores, _, choices = outcome
    for metric in ("accuracy", RIDGE + "accuracy"):
        assert find(scores, "a*", metric).alpha == 1.0
        assert find(scores, "a", metric).alpha is None
    assert {choice["setting"]: choice.get("alpha") for choice in choices}["a*"] == 1.0
    assert all(0.0 <= choice["held_out_accuracy"] <= 1.0 and choice["strength"] > 0 for choice in choices)


def test_the_accuracy_at_every_weight_is_stored():
    data = make_task(SETTINGS[:4])
    evaluation = probe_linear(data, [(data.folds[0], make_embeddings(data))], "cpu")
    ((name, table),) = evaluation.tables.items()
    assert (name, list(table.columns)) == (ALPHA_TABLE, ALPHA_COLUMNS)
    assert table[["setting", "alpha"]].to_numpy().tolist() == [
        [name, a] for name in ("a*", "shuffled*") for a in ALPHAS
    ]
    chosen = {choice["setting"]: choice for choice in evaluation.chosen}
    for setting, part in table.groupby("setting"):
        assert part["accuracy"].max() == pytest.approx(100 * chosen[setting]["held_out_accuracy"], abs=1e-4)
        assert part.loc[part["chosen"] == 1, "alpha"].tolist() == [chosen[setting]["alpha"]]
        assert set(part["n"]) == {len(data.folds[0].train)}
        assert part["ridge_accuracy"].between(0, 100).all()
    assert probe_linear(make_task(SETTINGS[:1]), [(data.folds[0], make_embeddings(data))], "cpu").tables == {}


def test_nothing_is_drawn_and_every_probe_ends_at_its_optimum(outcome):
    data, scores, _, _ = outcome
    for score in scores:
        assert score.seeds == 0
        assert len(score.by_seed) == 1
        assert len(score.by_clip) == len(data.folds[0].test)
    for setting in SETTINGS:
        assert find(scores, setting.name).converged == 1.0
        assert find(scores, setting.name).strength > 0
        assert find(scores, setting.name, RIDGE + "accuracy").converged is None
    again = probe(data, make_embeddings(data))
    assert all(np.array_equal(one.by_clip, other.by_clip) for one, other in zip(scores, again[0], strict=True))


def test_gains_are_paired_differences(outcome):
    _, scores, table, _ = outcome
    gains = [score for score in scores if " - " in score.setting]
    assert [score.setting for score in gains] == ["a - mix", "a* - mix", "a* - shuffled*"]
    for score in gains:
        first, second = (find(scores, name) for name in score.setting.split(" - "))
        assert np.array_equal(score.by_clip, first.by_clip - second.by_clip)
        assert score.by_seed[0] == pytest.approx(first.by_seed[0] - second.by_seed[0])
        assert set(np.unique(score.by_clip)) <= {-1.0, 0.0, 1.0}
        assert [list(names) for names in score.groupings] == [list(names) for names in first.groupings]
    (negative,) = score_gains(table, [("mix", "a")], "accuracy")
    assert negative.by_seed[0] == pytest.approx(-gains[0].by_seed[0])


def test_predictions_have_a_row_per_probe_and_test_clip(outcome):
    data, scores, table, _ = outcome
    fold = data.folds[0]
    assert list(table.columns) == PREDICTION_COLUMNS
    assert len(table) == 2 * len(SETTINGS) * len(fold.test)
    part = table[(table["setting"] == "mix") & (table["metric"] == "accuracy")].set_index("clip_id")
    tested = data.table.iloc[fold.test].set_index("clip_id")
    assert set(part.index) == set(tested.index)
    assert (part["label"] == tested["label"].reindex(part.index)).all()
    assert (part["group"] == tested["group"].reindex(part.index)).all()
    assert (part["score"] == (part["label"] == part["predicted"])).all()
    assert part["score"].mean() == pytest.approx(find(scores, "mix").by_seed[0])


def test_scores_have_the_groups_of_their_clips(outcome):
    data, scores, _, _ = outcome
    (groups,) = find(scores, "mix").groupings
    assert sorted(groups) == sorted(data.groups()[data.folds[0].test])


def test_features_of_other_folds_test_clips_choose_nothing():
    """Test clips may hold anything without any change to what is chosen in the training part."""
    data = make_task(SETTINGS[:3])
    embeddings = make_embeddings(data)
    changed = {name: values.copy() for name, values in embeddings.items()}
    for values in changed.values():
        values[data.folds[0].test] = 1e3
    assert probe(data, embeddings)[2] == probe(data, changed)[2]


def test_a_task_with_several_folds_is_averaged_over_them():
    data = make_task(SETTINGS[:1])
    rows = np.arange(len(data.table))
    numbers = data.table["fold"].to_numpy()
    folds = [
        dataclasses.replace(data.folds[0], name=name, train=rows[numbers != name], test=rows[numbers == name])
        for name in ("1", "2")
    ]
    data = dataclasses.replace(data, folds=folds)
    scores, table, choices = probe(data, make_embeddings(data))
    by_fold = table[table["metric"] == "accuracy"].groupby("fold")["score"].mean()
    assert find(scores, "mix").by_seed[0] == pytest.approx(by_fold.mean())
    assert [choice["fold"] for choice in choices] == ["1", "2"]


def test_the_lower_median_is_taken():
    assert take_median([]) is None
    assert take_median([3.0, 1.0]) == 1.0
    assert take_median([3.0, 1.0, 2.0]) == 2.0


def test_a_score_is_the_mean_over_clips(outcome):
    _, _, table, _ = outcome
    score = make_score(table, "mix", "accuracy", seeds=0, lr=0.5)
    assert score.by_seed[0] == pytest.approx(score.by_clip.mean())
    assert score.lr == 0.5
