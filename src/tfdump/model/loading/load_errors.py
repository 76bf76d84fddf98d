"""What a failed load of a Keras file means, and how to mend it."""

import re
import zipfile
from pathlib import Path

from tfdump.errors import ModelError, UntrustedModelError
from tfdump.model.error_text import first_line

MOST_LAYERS_IN_A_ROW = 20_000
"""The recursion limit for Keras, which calls itself once for each layer of a chain; Python allows 1,000 calls."""

_DAMAGE = (OSError, zipfile.BadZipFile, EOFError, KeyError)


class ErrorElsewhere(Exception):
    """An error of another process: its message, and the names of its class and of the bases of that."""

    def __init__(self, text: str, classes: list[str]) -> None:
        super().__init__(text)
        self.classes = classes


def explained(path: Path, cause: BaseException) -> ModelError:
    """Return an error that says how to fix a failed load."""
    text = str(cause)
    unknown = re.search(r"Could not locate class '([^']*)'|Unknown layer: '([^']*)'", text)
    if unknown:
        return ModelError(
            f"{path} needs the class '{unknown[1] or unknown[2]}', which is not part of Keras "
            "(import the code that defines it: --import MODULE or --import FILE.py)"
        )
    if "safe_mode" in text or "unsafe_deserialization" in text:
        return UntrustedModelError(
            f"{path} contains its own code: {first_line(cause)} (add --trust-model if you trust its author)"
        )
    lost = re.search(r"A total of (\d+) objects could not be loaded.*?\n\n([^\n]+)", text, re.DOTALL)
    if lost:
        return ModelError(
            f"{path}: {lost[1]} layers do not fit the weights that were saved for them: {lost[2]} "
            "(Keras itself cannot load the file; pass the model in memory to tfdump.activations)"
        )
    if reasons := re.findall(r"^Exception encountered: (.+)", text, re.MULTILINE):
        return ModelError(f"cannot load {path}: {reasons[-1]}")
    if _is_one_of(cause, *_DAMAGE):
        return ModelError(f"{path} is damaged or incomplete: {first_line(cause)}")
    nested = f"it has more than about {MOST_LAYERS_IN_A_ROW:,} layers in a row"
    return ModelError(f"cannot load {path}: {nested if _is_one_of(cause, RecursionError) else first_line(cause)}")


def _is_one_of(cause: BaseException, *classes: type[BaseException]) -> bool:
    if isinstance(cause, ErrorElsewhere):
        return any(one.__name__ in cause.classes for one in classes)
    return isinstance(cause, classes)
