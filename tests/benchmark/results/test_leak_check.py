"""The text of the leak check: its two parts, and the notes of a leaderboard."""

import pytest

from benchmark.results.leak_check import (
    NOT_COMPARABLE,
    UNKNOWN,
    describe_overlap,
    join_findings,
    list_leaks,
    split_findings,
)
from benchmark.results.rows import OF_ITS_TASKS
from tests.benchmark.results.test_leaderboard import row

FOUND = describe_overlap(sources=3, backgrounds=0, clips=1600)
NONE = describe_overlap(sources=0, backgrounds=0, clips=160)


@pytest.mark.parametrize("of_task", ["ok", "", "1 singers in training and test; 2 singers in validation and test"])
@pytest.mark.parametrize("of_encoder", [UNKNOWN, NOT_COMPARABLE, FOUND, NONE, ""])
def test_the_parts_can_be_told_apart(of_task, of_encoder):
    assert split_findings(join_findings(of_task, of_encoder)) == (of_task, of_encoder)


def test_counts_are_written_out():
    assert FOUND == "the encoder was trained on the source of 3 of 1,600 test clips"
    assert NONE == "the encoder was trained on none of 160 test clips"


def test_notes_name_leaks_contaminated_encoders_and_unknown_ones():
    rows = [
        row("one", 41.0, leak_check=f"2 sources in both splits; {FOUND}"),
        row("one", 43.0, setting="b", leak_check=f"2 sources in both splits; {FOUND}"),
        row("two", 40.0, leak_check=f"2 sources in both splits; {NONE}"),
        row("old", 39.0, leak_check="ok"),
        *(row(f"x{place}", 38.0, leak_check=f"ok; {UNKNOWN}") for place in range(5)),
        row("six", 37.0, leak_check=f"ok; {NOT_COMPARABLE}"),
        row("average", 36.0, leak_check=OF_ITS_TASKS),
    ]
    assert list_leaks(rows) == [
        "leak check of bgknown: 2 sources in both splits",
        "one was trained on the source of 3 of 1,600 test clips of bgknown",
        "training data of the encoder unknown: x0, x1, x2 and 2 more",
        "training data of the encoder not comparable with this task: six",
    ]
