"""Imports without garbage collection.

They make many objects and next to no garbage, and Python would search all of them again and again: a fifth of the time
that TensorFlow takes to import. For processes of the command line only; in a user's process nothing is held or frozen.
"""

import gc


def hold_collection() -> None:
    """Stop looking for garbage, until `settle_collection`."""
    gc.disable()


def settle_collection() -> None:
    """Look for garbage again, where that was stopped, but never among what is there now: modules stay to the end."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
