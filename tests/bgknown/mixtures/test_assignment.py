"""Which clip gives its recording to another: the first that may. Clips that may not are not looked at again."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from bgknown.mixtures.assignment import _Givers, assign


def find_giver(chosen, left_over, forbidden, not_for_clip):
    """The definition: the first clip that may have what is left over, and whose recording the other may have."""
    for clip, place in chosen.items():
        if place != left_over and left_over not in forbidden[clip] and place not in not_for_clip:
            return clip
    return None


PLACES = st.frozensets(st.integers(0, 4), max_size=4)


@given(st.lists(st.tuples(PLACES, st.integers(0, 4), st.integers(0, 4), PLACES), min_size=1, max_size=30))
def test_the_first_clip_that_may_is_found_after_any_swaps(steps):
    """In each step a clip chooses, and another asks for a giver, who then gives."""
    forbidden = {f"c{number}": never for number, (never, *_) in enumerate(steps)}
    givers = _Givers(chosen={}, forbidden=forbidden)
    for number, (_, place, left_over, not_for_clip) in enumerate(steps):
        givers.add(f"c{number}", place)
        expected = find_giver(givers.chosen, left_over, forbidden, not_for_clip)
        assert givers.find(left_over, not_for_clip) == expected
        if expected is not None:
            had = givers.chosen[expected]
            assert givers.swap(expected, left_over) == had


class Counting(dict):
    """Counts how often a value is looked up."""

    looked_up = 0

    def __getitem__(self, name):
        self.looked_up += 1
        return super().__getitem__(name)


def test_clips_that_cannot_give_are_looked_at_once():
    """A class with two recordings, all others barred: every one of its clips asks for the same recording."""
    count = 2_000
    forbidden = Counting({f"c{number}": frozenset({2}) for number in range(count)})
    givers = _Givers(chosen={}, forbidden=forbidden)
    for number in range(count):
        assert givers.find(2, frozenset({2})) is None
        givers.add(f"c{number}", number % 2)
    assert forbidden.looked_up <= count


def test_clips_of_a_source_with_most_recordings_share_what_is_left():
    clips = pd.DataFrame({"clip_id": [f"c{n}" for n in range(3_000)], "source": ["s0", "s1", "s0"] * 1_000})
    pool = pd.DataFrame({"recording_id": [f"r{n}" for n in range(10)], "source": ["s0"] * 6 + ["s1"] * 4})
    chosen = assign(clips, pool, 0)
    uses = pd.Series(chosen).value_counts()
    assert {name: int(uses[name]) for name in ("r0", "r5", "r6", "r9")} == {"r0": 167, "r5": 167, "r6": 500, "r9": 500}
