"""Which of the signatures of a model file is run."""

from collections.abc import Sequence
from pathlib import Path

from tfdump.errors import ModelError, near

_DEFAULT = "serving_default"
"""The signature that TensorFlow Serving calls, and that converters and `model.export` write."""


def choose_signature(names: Sequence[str], wanted: str | None, path: Path) -> str:
    """Return the signature to run: the wanted one, else `serving_default`, else the only one; "" without any.

    Raises ModelError where there is no such signature, or where there are several and none is wanted.
    """
    if wanted is not None and wanted not in names:
        known = f"it has: {', '.join(names)}" if names else "it has none: leave --signature out"
        raise ModelError(f"{path} has no signature '{wanted}'{near(wanted, names)} ({known})")
    if wanted is not None:
        return wanted
    if _DEFAULT in names:
        return _DEFAULT
    if len(names) > 1:
        raise ModelError(f"{path} has several signatures; choose one with --signature: {', '.join(names)}")
    return names[0] if names else ""
