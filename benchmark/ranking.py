"""Retrieval metrics by cosine similarity, in blocks, so that a gallery of a million targets fits.

Shape letters: Q queries, G gallery, D embedding size. Ties count against the query.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from bgknown.errors import InvalidInputError

BLOCK = 1 << 22
"""Similarities that are held at a time."""
GALLERY_BLOCK = 1 << 14
"""Gallery items that are compared at a time."""


def compute_ranks(
    queries: Tensor, gallery: Tensor, query_groups: Tensor, gallery_groups: Tensor
) -> tuple[Tensor, Tensor]:
    """Rank of the best relevant gallery item of each query.

    An item is relevant if its group is the query's. Rank 1 is the first place; an irrelevant item that is exactly as
    similar as the best relevant one ranks before it.

    Args:
        queries: [Q, D].
        gallery: [G, D].
        query_groups: [Q] integers.
        gallery_groups: [G] integers.

    Returns:
        ranks [Q] int64 from 1, and the place in the gallery [Q] of each query's most similar item.

    Raises:
        InvalidInputError: shapes do not fit, values are not finite, or a query has no relevant item.

    Memory: in addition to the arguments, some blocks of ``BLOCK`` similarities and of ``GALLERY_BLOCK`` items.
    """
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise InvalidInputError(
            f"queries have shape {list(queries.shape)} and the gallery {list(gallery.shape)}; must be [Q, D] and [G, D]"
        )
    for name, values in (("queries", queries), ("gallery items", gallery)):
        if len(values) == 0:
            raise InvalidInputError(f"{name} are empty; there must be at least one of each")
        if not all(math.isfinite(float(end)) for end in values.aminmax()):
            raise InvalidInputError(f"{name} hold NaN or infinite values")
    lonely = ~torch.isin(query_groups, gallery_groups)
    if bool(lonely.any()):
        raise InvalidInputError(f"{int(lonely.sum())} queries have no relevant item in the gallery")
    width = min(len(gallery), GALLERY_BLOCK, BLOCK)
    height = max(1, BLOCK // width)
    found = [
        _ranks(queries[rows : rows + height], gallery, query_groups[rows : rows + height], gallery_groups, width)
        for rows in range(0, len(queries), height)
    ]
    return torch.cat([ranks for ranks, _ in found]), torch.cat([first for _, first in found])


def _ranks(
    queries: Tensor, gallery: Tensor, query_groups: Tensor, gallery_groups: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    """``compute_ranks`` of some queries, ``width`` items at a time: the best relevant item, then those above."""
    unit = torch.nn.functional.normalize(queries.float(), dim=1)

    def blocks() -> Iterator[tuple[int, Tensor, Tensor]]:
        for start in range(0, len(gallery), width):
            items = torch.nn.functional.normalize(gallery[start : start + width].float(), dim=1)
            relevant = query_groups.unsqueeze(1) == gallery_groups[start : start + width].unsqueeze(0)
            yield start, unit @ items.T, relevant

    best = torch.full((len(unit), 1), -torch.inf, device=unit.device)
    highest, first = best[:, 0].clone(), torch.zeros(len(unit), dtype=torch.int64, device=unit.device)
    for start, similar, relevant in blocks():
        best = torch.maximum(best, similar.masked_fill(~relevant, -torch.inf).amax(dim=1, keepdim=True))
        largest, place = similar.max(dim=1)
        first = torch.where(largest > highest, place + start, first)
        highest = torch.maximum(highest, largest)
    before = torch.zeros_like(first)
    for _, similar, relevant in blocks():  # computed again: a million by a million similarities do not fit
        before += ((similar >= best) & ~relevant).sum(dim=1)
    return before + 1, first


def chance_recall(gallery: int, relevant: Tensor, k: int) -> Tensor:
    """The probability that one of the relevant items is among the first k of a random order.

    1 - C(G - m, k) / C(G, k) for m relevant ones of G (hypergeometric distribution).

    Args:
        gallery: G.
        relevant: [Q] int64, m of each query.
        k: from 1.

    Returns:
        [Q] float64 in 0..1.
    """
    places = torch.arange(min(k, gallery), dtype=torch.float64)
    missed = ((gallery - relevant.double().unsqueeze(1) - places) / (gallery - places)).clamp(min=0.0)
    return 1.0 - missed.prod(dim=1)


RECALLS = (1, 5, 10)
"""K of R@K."""
MEAN_RANK, MEDIAN_RANK = "mean rank", "median rank"
"""Metrics that are not shares (``benchmark.results.row.RANKS``)."""
PRECISION_AT = 10
"""K of mAP@K."""


def score_queries(ranks: Tensor) -> dict[str, Tensor]:
    """The score of each query in every metric that is a mean over queries, where one item is relevant.

    Args:
        ranks: [Q] int64 from 1.

    Returns:
        [Q] float64: R@1, R@5, R@10 and mAP@10 as shares 0..1 (with one relevant item the average precision is 1 / rank,
        and 0 beyond the tenth place), and the rank itself as ``mean rank``.

    Source: Manning, Raghavan and Schuetze, Introduction to Information Retrieval (2008), section 8.4.
    """
    found = {f"R@{k}": (ranks <= k).double() for k in RECALLS}
    precision = torch.where(ranks <= PRECISION_AT, 1.0 / ranks.double(), 0.0)
    return {**found, f"mAP@{PRECISION_AT}": precision, MEAN_RANK: ranks.double()}


def chance(gallery: int) -> dict[str, float]:
    """The expected value of every metric for a random order of a gallery in which one item is relevant.

    The rank is uniform in 1..G: R@K is K / G, mAP@K the sum of 1 / k up to K over G, mean and median rank (G + 1) / 2.

    Args:
        gallery: G.
    """
    places = min(PRECISION_AT, gallery)
    return {
        **{f"R@{k}": min(k, gallery) / gallery for k in RECALLS},
        f"mAP@{PRECISION_AT}": sum(1.0 / place for place in range(1, places + 1)) / gallery,
        MEAN_RANK: (gallery + 1) / 2,
        MEDIAN_RANK: (gallery + 1) / 2,
    }
