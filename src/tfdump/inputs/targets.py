"""Telling the inputs of the model from the targets among the files on the command line."""

from collections.abc import Collection, Sequence

from tfdump.errors import InputError
from tfdump.inputs.input_array import InputArray, arrays_for
from tfdump.tensors import InputSpec

Argument = tuple[str, list[InputArray]]
"""The text of one INPUT, and the arrays that it names."""

_REMEDY = "give them after the inputs or with --targets FILE; without targets: --objective"


def split_targets(
    arguments: Sequence[Argument], specs: Sequence[InputSpec] | None, names: Collection[str] = ()
) -> tuple[list[InputArray], list[InputArray]]:
    """Return the inputs and the targets, where targets are needed and not named by an option.

    Data that brings its targets along, such as a folder of images in class folders, needs no further argument. `specs`
    are the inputs of the model, or None where it does not declare them; then `names` are those that only an
    input can have. For a model with k inputs, k arguments are inputs and one more is the targets. An archive that holds
    all inputs counts as k, and an array with the name of an input (`NAME=FILE`) is no target. For any other number,
    raises InputError, which shows both readings.
    """
    *first, (_, last) = arguments
    inputs = [array for _, arrays in first for array in arrays]
    brought = [target for _, arrays in arguments for array in arrays for target in array.targets()]
    if brought and (specs is None or _fills(arguments, specs)):
        return [array for _, arrays in arguments for array in arrays], brought
    known = set(names) if specs is None else {spec.name for spec in specs}
    last_is_input = any(item.name in known and not item.optional_name for item in last)
    if first and not last_is_input and (specs is None or _fills(first, specs)):
        return inputs, last
    all_files, last_file = " ".join(text for text, _ in arguments), arguments[-1][0]
    listed = ", ".join(f"'{spec.name}'" for spec in specs or ())
    if last_is_input or specs is None or _fills(arguments, specs):
        read = f"{all_files} {'is' if not first else 'are'} read as the input{'s' * (len(specs or arguments) > 1)}"
        raise InputError(f"the targets are missing: {read}{f' {listed}' * bool(listed)} ({_REMEDY})")
    first_files = " ".join(text for text, _ in first) or "nothing"
    raise InputError(
        f"the model takes {len(specs)} input{'s' * (len(specs) != 1)} ({listed}), and neither reading fits: all files "
        f"as inputs ({all_files}) without targets, nor {first_files} as inputs with {last_file} as targets "
        "(name the targets: --targets FILE)"
    )


def _fills(arguments: Sequence[Argument], specs: Sequence[InputSpec]) -> bool:
    """Tell whether the arguments are exactly the inputs."""
    arrays = arrays_for([item for _, some in arguments for item in some], specs)
    names = {spec.name for spec in specs}
    required = {spec.name for spec in specs if not spec.optional}
    named = {item.name for item in arrays if item.name in names}
    keys = [item for item in arrays if item.optional_name]
    strange = [item for item in keys if item.name not in names]
    if keys and len(strange) < len(keys):  # an archive with names of inputs: its other arrays are not read
        arrays = [item for item in arrays if item not in strange]
    return len(required) <= len(arrays) <= len(names) and not required - named - _unnamed(required - named, arrays)


def _unnamed(missing: set[str], arrays: Sequence[InputArray]) -> set[str]:
    """Return the inputs that arrays without a name of an input can be."""
    unnamed = sum(item.name is None or item.optional_name for item in arrays)
    return missing if len(missing) <= unnamed else set()
