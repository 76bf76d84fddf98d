"""Imports without garbage collection.

They make many objects and next to no garbage, and Python would search all of them again and again: a fifth of the time
that TensorFlow takes to import. For processes of the command line.
"""

import gc


class _Collection:
    """Whether it is held here; somebody else may have stopped it for good."""

    held = False


def hold_collection() -> None:
    """Stop looking for garbage, until `settle_collection`."""
    _Collection.held = _Collection.held or gc.isenabled()
    gc.disable()


def settle_collection() -> None:
    """Look for garbage again, where that is held, but never among what is there now: modules stay to the end."""
    if _Collection.held:
        _Collection.held = False
        gc.freeze()
        gc.enable()
