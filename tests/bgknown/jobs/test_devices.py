"""The one rule for ``--device``, on machines described by their number of GPUs."""

import pytest

from bgknown.errors import InvalidInputError
from bgknown.jobs.devices import choose_device


@pytest.mark.parametrize(
    ("name", "machine", "expected"),
    [
        (None, {"gpus": 0}, "cpu"),
        (None, {"gpus": 2}, "cuda:0"),
        (None, {"gpus": 0, "mps": True}, "cpu"),
        (None, {"gpus": 2, "kinds": ("cpu",)}, "cpu"),
        (None, {"gpus": 2, "local_rank": 1}, "cuda:1"),
        ("cpu", {"gpus": 2, "local_rank": 1}, "cpu"),
        ("cuda", {"gpus": 1}, "cuda:0"),
        ("cuda", {"gpus": 4, "local_rank": 3}, "cuda:3"),
        ("cuda:1", {"gpus": 4, "local_rank": 3}, "cuda:1"),
        ("mps", {"gpus": 0, "mps": True}, "mps"),
    ],
)
def test_a_device_is_chosen(name, machine, expected):
    assert choose_device(name, **machine) == expected


@pytest.mark.parametrize("name", ["", "tpu", "meta", "cuda:", "cuda:-1", "cuda:x", "cuda:01", "cuda:٣", "CPU", "cpu\n"])
def test_other_texts_are_refused_with_the_choices(name):
    with pytest.raises(InvalidInputError, match="not a device that this command runs on; use cpu, cuda, cuda:N, mps$"):
        choose_device(name, gpus=1)


@pytest.mark.parametrize(
    ("name", "machine", "message"),
    [
        ("cuda", {"gpus": 0}, "does not have GPU 0; use cpu$"),
        ("cuda:3", {"gpus": 2}, "does not have GPU 3; use cpu or cuda:0 or cuda:1$"),
        ("cuda", {"gpus": 1, "local_rank": 1}, "does not have GPU 1; use cpu or cuda:0, or start fewer processes$"),
        (None, {"gpus": 1, "local_rank": 1}, "does not have GPU 1; use cpu or cuda:0, or start fewer processes$"),
        ("mps", {"gpus": 0}, "does not have mps; use cpu$"),
        ("mps", {"gpus": 0, "mps": True, "kinds": ("cpu", "cuda")}, "not a device .*; use cpu, cuda, cuda:N$"),
    ],
)
def test_a_device_that_this_machine_does_not_have(name, machine, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        choose_device(name, **machine)
    assert "\n" not in str(caught.value)
