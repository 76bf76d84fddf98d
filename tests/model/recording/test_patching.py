"""Replacing an attribute for a while leaves no trace, whatever the attribute was."""

import types
from typing import Any

import pytest

from tfdump.model.recording.patching import replaced


class Base:
    """Has a method."""

    def call(self) -> str:
        """Return whose it is."""
        return "base"


class Inheriting(Base):
    """Has the method of its base."""


class Own(Base):
    """Has a method of its own."""

    def call(self) -> str:
        """Return whose it is."""
        return "own"


@pytest.mark.parametrize("owner", [Base, Inheriting, Own, Own(), types.SimpleNamespace(call="plain")])
def test_the_owner_has_afterwards_what_it_had(owner: Any) -> None:
    before = dict(vars(owner))
    with replaced(owner, "call", "new"):
        assert owner.call == "new"
    assert dict(vars(owner)) == before


def test_the_owner_has_it_after_an_error_too() -> None:
    def fail() -> None:
        with replaced(Own, "call", "new"):
            raise KeyError

    before = dict(vars(Own))
    with pytest.raises(KeyError):
        fail()
    assert dict(vars(Own)) == before


def test_a_class_that_inherits_follows_its_base_again() -> None:
    with replaced(Inheriting, "call", lambda self: "new"):
        assert Inheriting().call() == "new"
        assert Base().call() == "base"
    with replaced(Base, "call", lambda self: "of the base"):
        assert Inheriting().call() == "of the base"


def test_two_replacements_end_in_any_order() -> None:
    with replaced(Own, "call", lambda self: "outer"):
        with replaced(Own, "call", lambda self: "inner"):
            assert Own().call() == "inner"
        assert Own().call() == "outer"
    assert Own().call() == "own"
