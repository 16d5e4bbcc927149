import numpy as np

from bgknown import seeding


def test_keys_are_the_same_on_every_machine():
    assert seeding.derive_key(0, "a", "b") == 7692335375239204862


def test_names_are_kept_apart():
    assert (
        len(
            {
                seeding.derive_key(0, "a", "b"),
                seeding.derive_key(0, "ab"),
                seeding.derive_key(0, "b", "a"),
                seeding.derive_key(1, "a", "b"),
            }
        )
        == 4
    )


def test_a_generator_depends_on_its_names_alone():
    first = seeding.make_generator(3, "clip", "a").integers(1000, size=5)
    np.random.default_rng(0).random()
    assert np.array_equal(first, seeding.make_generator(3, "clip", "a").integers(1000, size=5))


def test_scores_are_uniform_and_never_tie():
    keys = seeding.draw_ranks(0, "x", [str(k) for k in range(5000)])
    scores = seeding.score_pairs(seeding.derive_key(0, "clip"), keys)
    assert np.unique(scores).size == 5000
    assert abs(scores.astype(float).mean() / 2**64 - 0.5) < 0.02
    favourites = [
        int(np.argmin(seeding.score_pairs(seeding.derive_key(0, f"clip{k}"), keys[:10]))) for k in range(2000)
    ]
    assert np.bincount(favourites, minlength=10).min() > 130
