import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmark.probe import draw_random_validation_rows, draw_validation_rows
from bgknown.errors import InvalidInputError

DRAWS = [draw_validation_rows, draw_random_validation_rows]


@example(counts=[1, 10], share=0.5, seed=0)  # a class of one clip gives none, so another gives one more than its half
@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=8),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 3),
)
def test_stratified_draw_takes_its_share_of_each_class(counts, share, seed):
    if max(counts) < 2:
        counts = [*counts, 2]
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"clip {i}" for i in range(len(labels))]
    held = draw_validation_rows(labels, names, share=share, seed=seed)
    took = np.bincount(labels[held], minlength=len(counts))
    assert np.all(took <= np.maximum(np.array(counts) - 1, 0))
    assert np.all(took <= np.floor(np.array(counts) * share) + 1)
    roomy = np.array(counts) * (1 - share) >= 1
    assert np.all(took[roomy] >= np.floor(np.array(counts) * share)[roomy])
    assert held.sum() >= 1


@pytest.mark.parametrize("draw", DRAWS)
def test_draw_depends_on_names_and_seed(draw):
    labels = np.arange(200) % 5
    names = [f"clip {i}" for i in range(200)]
    held = draw(labels, names, share=0.1, seed=1)
    assert held.sum() == 20
    order = np.random.default_rng(0).permutation(200)
    again = draw(labels[order], [names[i] for i in order], share=0.1, seed=1)
    assert {names[i] for i in np.flatnonzero(held)} == {names[order[i]] for i in np.flatnonzero(again)}
    assert not np.array_equal(held, draw(labels, names, share=0.1, seed=2))


def test_single_clips_cannot_be_held_out():
    with pytest.raises(InvalidInputError, match="no class has two training clips"):
        draw_validation_rows(np.arange(4), list("abcd"), share=0.1, seed=0)


def test_random_draw_has_every_class_and_is_not_stratified():
    labels = np.arange(400) % 10
    names = [f"clip {i}" for i in range(400)]
    counts = [
        np.bincount(labels[draw_random_validation_rows(labels, names, share=0.1, seed=seed)], minlength=10)
        for seed in range(200)
    ]
    assert {count.sum() for count in counts} == {40}
    assert min(count.min() for count in counts) == 1
    assert np.std(counts) > 1.5  # 1.85 if the draw is hypergeometric, 0 if it is stratified
    assert np.mean(counts, axis=0) == pytest.approx(4.0, abs=0.5)


def test_number_of_random_validation_clips_is_rounded_up_as_by_scikit_learn():
    labels = np.arange(241) % 2
    held = draw_random_validation_rows(labels, [str(i) for i in range(241)], share=0.1, seed=0)
    assert held.sum() == 25


@pytest.mark.parametrize("labels", [np.arange(40) // 4, np.append(np.zeros(99, int), 1)])
def test_random_draw_without_every_class_is_one_line(labels):
    """Ten classes and four validation clips; and a class of one clip, which cannot be in both parts."""
    with pytest.raises(InvalidInputError, match="do not include each of the .* classes, as EVAR's protocol") as error:
        draw_random_validation_rows(labels, [str(i) for i in range(len(labels))], share=0.1, seed=0)
    assert "\n" not in str(error.value)
