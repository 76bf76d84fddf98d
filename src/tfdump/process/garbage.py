"""Imports without garbage collection, for processes of the command line.

Imports make many objects and almost no garbage, and Python would search all of them again and again: that is a fifth of
the time that TensorFlow takes to import.
"""

import gc


class _Collection:
    """Whether collection is on hold here; other code may have stopped it for good."""

    held = False


def hold_collection() -> None:
    """Stop garbage collection until `settle_collection`."""
    _Collection.held = _Collection.held or gc.isenabled()
    gc.disable()


def settle_collection() -> None:
    """Resume garbage collection if it is on hold, and exempt all objects that exist now: modules stay until the end."""
    if _Collection.held:
        _Collection.held = False
        gc.freeze()
        gc.enable()
