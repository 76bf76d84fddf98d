"""Names that Keras generates for layers: the class in snake case, numbered in the order of creation in one process."""

import re

_NUMBER = re.compile(r"(.+?)_(\d+)")
_NAMESAKE = re.compile(r"~\d+$")
_PREFIXES = ("forward_", "backward_")
"""The prefixes that `Bidirectional` gives to the names of the two layers that it makes."""


def snake_case(class_name: str) -> str:
    """Return the name of the first layer of a class in a process, as `keras.src.utils.naming.to_snake_case` does."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def stem(name: str) -> str:
    """Return a name without the number that Keras may have added: `dense` of `dense_3`, of `dense_3~1` too."""
    plain = _NAMESAKE.sub("", name)
    numbered = _NUMBER.fullmatch(plain)
    return numbered[1] if numbered else plain


def number_of(name: str) -> int:
    """Return the number that Keras may have added to a name, or 0."""
    numbered = _NUMBER.fullmatch(_NAMESAKE.sub("", name))
    return int(numbered[2]) if numbered else 0


def is_automatic(name: str, class_name: str) -> bool:
    """Tell whether Keras would give this name to a layer of this class."""
    known = stem(name)
    own = snake_case(class_name)
    return known == own or any(known == prefix + own for prefix in _PREFIXES)
