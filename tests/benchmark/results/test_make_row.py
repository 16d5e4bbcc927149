import numpy as np

from benchmark.results.rows import make_row
from benchmark.scores import Score


def make(*, by_clip=(0.0, 1.0) * 20, groupings=(), **changes):
    facts = {"setting": "a", "metric": "accuracy", "seeds": 0, "by_seed": [0.5], "lr": None, **changes}
    score = Score(by_clip=np.array(by_clip), groupings=tuple(map(np.array, groupings)), **facts)
    return make_row(score, encoder="x", checkpoint_sha256="", task="t", protocol="linear", dataset_sha256="")


def test_groups_widen_the_interval_of_a_row():
    by_clip = np.repeat([0.0, 1.0], 20)
    alone, grouped = make(by_clip=by_clip), make(by_clip=by_clip, groupings=[np.repeat(list("abcd"), 10).tolist()])
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)
    assert (alone.n_groups, grouped.n_groups) == (40, 4)
    both = make(by_clip=by_clip, groupings=[[""] * 40, np.repeat(list("abcd"), 10).tolist()])
    assert (both.low, both.high, both.n_groups) == (grouped.low, grouped.high, 4)


def test_intervals_stay_where_values_can_be():
    full = make(by_seed=[1.0], by_clip=[1.0] * 40)
    assert (full.mean, full.high) == (100.0, 100.0)
    assert 85 < full.low < 95
    gain = make(setting="a* - mix", by_seed=[-0.95], by_clip=[-1.0] * 38 + [0.0] * 2)
    assert (gain.mean, gain.low) == (-95.0, -100.0)
    assert -95 < gain.high < -80
    ranks = make(metric="mean rank", by_seed=[1.5], by_clip=[1.0] * 5 + [2.0] * 5)
    assert 1 <= ranks.low < 1.5 < ranks.high < 2.5
    cosine = make(metric="cosine to clean", by_seed=[0.1], by_clip=[-0.2, 0.2, 0.3] * 5)
    assert -1 <= cosine.low < 0.1 < cosine.high <= 1


def test_chance_has_no_interval():
    row = make(setting="chance", metric="clip R@1")
    assert (row.low, row.high, row.n_groups, row.n_test) == (None, None, None, 40)


def test_interval_holds_a_mean_over_uneven_folds():
    row = make(by_seed=[0.99], by_clip=[0.0, 1.0] * 20)
    assert row.low < 50 < row.high == 99.0
