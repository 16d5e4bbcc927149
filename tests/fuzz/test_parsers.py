import pytest

from tests.fuzz.runner import run_cases
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name.replace(" ", "-"))
def test_mutated_files_are_read_or_refused_in_one_line(target):
    counts = run_cases(target, range(target.ci_cases), seed=0)
    assert counts.good, "\n".join(counts.faults)
    assert sum(counts.outcomes.values()) == target.ci_cases
