"""A few of the cases of ``tests.fuzz.caches`` for each kind of cache."""

import pytest

from tests.fuzz.caches import CACHES, cases


@pytest.mark.parametrize("kind", CACHES)
def test_a_damaged_cache_is_made_again_and_never_an_error(kind):
    outcomes = list(cases(kind, 25, seed=1))
    assert set(outcomes) <= {"kept", "made again"}
    assert kind == "hashes" or "made again" in outcomes
