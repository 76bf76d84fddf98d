"""Garbage collection around imports."""

import gc
from collections.abc import Iterator

import pytest

from tfdump.process.garbage import hold_collection, settle_collection


@pytest.fixture(autouse=True)
def collection_as_it_was() -> Iterator[None]:
    yield
    settle_collection()
    gc.enable()


def test_garbage_is_collected_again_behind_the_imports() -> None:
    hold_collection()
    hold_collection()
    assert not gc.isenabled()
    settle_collection()
    assert gc.isenabled()


def test_what_somebody_else_stopped_stays_so() -> None:
    gc.disable()
    frozen = gc.get_freeze_count()
    hold_collection()
    settle_collection()
    assert not gc.isenabled()
    assert gc.get_freeze_count() <= frozen  # what was frozen before may be freed meanwhile
