import gc
from gc import get_freeze_count

import pytest

from papertune.startup.garbage import collection_paused, objects_set_aside


def test_the_collector_is_off_in_nested_blocks():
    assert gc.isenabled()
    with collection_paused():
        assert not gc.isenabled()
        with collection_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_is_on_again_after_an_error():
    @collection_paused()
    def fail():
        assert not gc.isenabled()
        raise KeyError("something")

    for _ in range(2):
        with pytest.raises(KeyError):
            fail()
        assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.fixture
def nothing_set_aside(monkeypatch):
    """Show the objects that `conftest.py` has hidden, and hide them again; they are counted."""
    monkeypatch.setattr(gc, "get_freeze_count", get_freeze_count)
    gc.unfreeze()
    yield
    gc.freeze()


def test_objects_are_hidden_until_the_outermost_block_ends(nothing_set_aside):
    with objects_set_aside():
        hidden = gc.get_freeze_count()
        assert hidden > 1000
        with objects_set_aside():
            pass
        assert gc.get_freeze_count() > hidden / 2  # some end meanwhile
    assert gc.get_freeze_count() == 0
