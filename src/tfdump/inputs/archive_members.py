"""The arrays of a file that holds several, each under a name: the ones that an argument means."""

from collections.abc import Mapping
from pathlib import Path

from tfdump.errors import InputError
from tfdump.inputs.input_array import InputArray, OpenReader


def members_of(name: str | None, path: Path, member: str | None, arrays: Mapping[str, OpenReader]) -> list[InputArray]:
    """Return the arrays of a file: the one called `member`, or all of them.

    With a `name` for one input, that is the array of this name, or the only one. Raises InputError where there is none.
    """

    def array(name: str | None, key: str, optional_name: bool = False) -> InputArray:
        return InputArray(name, arrays[key], f"{path}::{key}", optional_name)

    if member is not None:
        if member not in arrays:
            keys = ", ".join(f"'{key}'" for key in arrays)
            raise InputError(f"{path} has no array '{member}' (it has {keys})")
        return [array(name, member)]
    if name is None:
        return [array(key, key, optional_name=True) for key in arrays]
    if name in arrays:
        return [array(name, name)]
    if len(arrays) > 1:
        keys = ", ".join(f"{path}::{key}" for key in arrays)
        raise InputError(f"{path} holds {len(arrays)} arrays; name one for '{name}': {keys}")
    return [array(name, next(iter(arrays)))]
