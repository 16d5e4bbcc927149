from hypothesis import given, settings
from hypothesis import strategies as st

from bgknown.soundscape import find_exact_seconds

RATE_HZ = 44_100


@given(start=st.integers(0, 600 * RATE_HZ), frames=st.one_of(st.just(5 * RATE_HZ), st.integers(882, 10 * RATE_HZ)))
@settings(max_examples=2000)
def test_scaper_gets_exactly_the_samples(start, frames):
    time_s, duration_s = find_exact_seconds(start, frames)
    assert int(time_s * RATE_HZ) == start
    assert int((time_s + duration_s) * RATE_HZ) == start + frames


def test_every_start_of_a_recording_of_30_seconds():
    for start in range(0, 25 * RATE_HZ, 7):
        time_s, duration_s = find_exact_seconds(start, 5 * RATE_HZ)
        assert (int(time_s * RATE_HZ), int((time_s + duration_s) * RATE_HZ)) == (start, start + 5 * RATE_HZ)


def test_plain_quotients_would_not_be_exact():
    missed = sum(int(k / RATE_HZ * RATE_HZ) != k for k in range(1_000_000))
    assert 0.05 < missed / 1_000_000 < 0.1
