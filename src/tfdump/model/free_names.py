"""Making names unique: the second object of a name is called `name~1`, the third `name~2`, and so on."""

import itertools
from collections.abc import Container


def free_name(name: str, *used: Container[str]) -> str:
    """Return the name itself, or the first of `name~1`, `name~2`, ... that none of the collections holds."""
    names = itertools.chain([name], (f"{name}~{number}" for number in itertools.count(1)))
    return next(candidate for candidate in names if not any(candidate in names_in_use for names_in_use in used))
