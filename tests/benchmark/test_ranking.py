import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import ranking as retrieval
from benchmark.ranking import chance, chance_recall, compute_ranks, score_queries
from bgknown.errors import InvalidInputError


def plain_rank(query, gallery, group, groups):
    """The definition, one query at a time."""
    similar = [float(query @ item) / (np.linalg.norm(query) * np.linalg.norm(item)) for item in gallery]
    best = max(value for value, other in zip(similar, groups, strict=True) if other == group)
    return 1 + sum(value >= best for value, other in zip(similar, groups, strict=True) if other != group)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), block=st.sampled_from([1, 7, 1 << 20]), width=st.sampled_from([1, 4, 100]))
def test_ranks_follow_the_definition(seed, block, width):
    draw = np.random.default_rng(seed)
    queries, gallery = draw.standard_normal((6, 5)), draw.standard_normal((9, 5))
    groups = draw.integers(0, 3, 9)
    wanted = groups[draw.integers(0, 9, 6)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "BLOCK", block)
        patch.setattr(retrieval, "GALLERY_BLOCK", width)
        found, first = compute_ranks(*map(torch.from_numpy, (queries, gallery, wanted, groups)))
    assert found.tolist() == [plain_rank(q, gallery, g, groups) for q, g in zip(queries, wanted, strict=True)]
    unit = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    assert first.tolist() == (queries @ unit.T).argmax(axis=1).tolist()


@settings(deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_the_gallery_does_not_matter(seed):
    draw = np.random.default_rng(seed)
    queries, gallery = torch.from_numpy(draw.standard_normal((4, 3))), torch.from_numpy(draw.standard_normal((8, 3)))
    groups, order = torch.arange(8), torch.from_numpy(draw.permutation(8))
    assert torch.equal(
        compute_ranks(queries, gallery, groups[:4], groups)[0],
        compute_ranks(queries, gallery[order], groups[:4], groups[order])[0],
    )


def test_ties_count_against_the_query():
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    query = torch.tensor([[1.0, 0.0]])
    assert compute_ranks(query, gallery, torch.tensor([0]), torch.arange(3))[0].tolist() == [2]
    assert compute_ranks(query, gallery, torch.tensor([0]), torch.tensor([0, 0, 1]))[0].tolist() == [1]
    assert compute_ranks(torch.zeros(1, 2), gallery, torch.tensor([0]), torch.arange(3))[0].tolist() == [3]


def test_a_space_that_has_collapsed_ranks_every_target_last():
    """All similarities are the same, to the last bit, in whatever block they are computed."""
    point = torch.randn(1, 512, generator=torch.Generator().manual_seed(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "GALLERY_BLOCK", 300)
        places = torch.arange(1_001)
        found, _ = compute_ranks(point.expand(1_001, -1), point.expand(1_001, -1), places, places)
    assert set(found.tolist()) == {1_001}


def test_chance_is_the_share_of_all_orders():
    for relevant, k in itertools.product((1, 2, 4), (1, 3, 5, 9)):
        orders = list(itertools.permutations(range(5)))
        share = np.mean([any(item < relevant for item in order[:k]) for order in orders])
        assert float(chance_recall(5, torch.tensor([relevant]), k)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2), torch.zeros(2)), r"shape \[2, 3\] and the gallery"),
        ((torch.full((1, 2), torch.nan), torch.ones(1, 2), torch.zeros(1), torch.zeros(1)), "queries hold NaN"),
        ((torch.ones(1, 2), torch.zeros(0, 2), torch.ones(1), torch.ones(0)), "gallery items are empty"),
        ((torch.ones(1, 2), torch.ones(1, 2), torch.ones(1), torch.zeros(1)), "1 queries have no relevant item"),
    ],
)
def test_wrong_input_is_one_line(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        compute_ranks(*arguments)


def test_metrics_follow_their_definitions():
    found = score_queries(torch.tensor([1, 2, 5, 6, 10, 11]))
    assert found["R@1"].tolist() == [1, 0, 0, 0, 0, 0]
    assert found["R@5"].tolist() == [1, 1, 1, 0, 0, 0]
    assert found["R@10"].tolist() == [1, 1, 1, 1, 1, 0]
    assert found["mAP@10"].tolist() == pytest.approx([1, 1 / 2, 1 / 5, 1 / 6, 1 / 10, 0])
    assert found["mean rank"].tolist() == [1, 2, 5, 6, 10, 11]


@pytest.mark.parametrize("gallery", [3, 10, 40])
def test_chance_is_the_mean_over_all_ranks(gallery):
    """In closed form what a random order gives: every rank is as likely as any other."""
    every = score_queries(torch.arange(1, gallery + 1))
    expected = chance(gallery)
    for name, values in every.items():
        assert expected[name] == pytest.approx(float(values.mean())), name
    assert expected["median rank"] == np.median(np.arange(1, gallery + 1))


def test_random_embeddings_are_at_chance():
    draw = torch.Generator().manual_seed(0)
    count, places = 1_000, torch.arange(1_000)
    found, _ = compute_ranks(
        torch.randn(count, 8, generator=draw), torch.randn(count, 8, generator=draw), places, places
    )
    for name, values in score_queries(found).items():
        spread = float(values.std()) / count**0.5 + 1e-3
        assert abs(float(values.mean()) - chance(count)[name]) < 4 * spread, name
