"""The example that an option chooses: by its row, or by its name."""

from tfdump.dump.reader import Dump
from tfdump.errors import DumpError


def number_or_name(text: str) -> int | str:
    """Read the row of an example, or take its name."""
    try:
        return int(text)
    except ValueError:
        return text


def row_of_example(dump: Dump, example: int | str | None) -> int | None:
    """Return the row of an example that is chosen by its row or its name; raises DumpError for an unknown name."""
    if not isinstance(example, str):
        return example
    if dump.examples is None:
        raise DumpError(
            f"{dump.name} does not tell the names of its examples, so none is '{example}' (give --example a number)"
        )
    return dump.examples.row(example)
