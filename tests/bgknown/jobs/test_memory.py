"""The search for garbage while libraries are imported."""

import gc

import pytest

from bgknown.jobs.memory import load_libraries


@pytest.mark.parametrize("own_process", [False, True])
def test_the_search_for_garbage_pauses_and_goes_on(own_process):
    before = gc.get_freeze_count()
    with load_libraries(own_process=own_process):
        assert not gc.isenabled()
    assert gc.isenabled()
    assert (gc.get_freeze_count() > before) == own_process
    gc.unfreeze()


def test_a_search_that_is_off_stays_off():
    gc.disable()
    try:
        with load_libraries():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
