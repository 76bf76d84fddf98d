"""Which of the files on the command line are inputs of the model, and which are the targets."""

from collections.abc import Collection, Sequence

from tfdump.errors import InputError
from tfdump.inputs.arguments import Given
from tfdump.tensors import InputSpec

Argument = tuple[str, list[Given]]
"""One INPUT as it was written, and the arrays that it names."""

_REMEDY = "give them after the inputs or with --targets FILE; without targets: --objective"


def split_targets(
    arguments: Sequence[Argument], specs: Sequence[InputSpec] | None, names: Collection[str] = ()
) -> tuple[list[Given], list[Given]]:
    """Return the inputs and the targets, where targets are needed and were not named.

    `specs` are the inputs of the model, None where it does not declare them; `names` are then the names that only an
    input can have. For a model of k inputs k arguments are inputs and one more is the targets; an archive that holds
    all inputs counts as k, and what is given by the name of an input (`NAME=FILE`) is no target. Raises InputError,
    with both readings, for any other number.
    """
    *first, (_, last) = arguments
    inputs = [given for _, some in first for given in some]
    known = set(names) if specs is None else {spec.name for spec in specs}
    last_is_input = any(item.name in known and not item.optional_name for item in last)
    if first and not last_is_input and (specs is None or _fills(first, specs)):
        return inputs, last
    all_files, last_file = " ".join(text for text, _ in arguments), arguments[-1][0]
    listed = ", ".join(f"'{spec.name}'" for spec in specs or ())
    if last_is_input or specs is None or _fills(arguments, specs):
        read = f"{all_files} {'is' if not first else 'are'} taken for the input{'s' * (len(specs or arguments) > 1)}"
        raise InputError(f"the targets are missing: {read}{f' {listed}' * bool(listed)} ({_REMEDY})")
    first_files = " ".join(text for text, _ in first) or "nothing"
    raise InputError(
        f"the model takes {len(specs)} input{'s' * (len(specs) != 1)} ({listed}), and neither reading fits: all as "
        f"inputs ({all_files}) without targets, nor {first_files} as inputs with {last_file} as targets "
        "(name the targets: --targets FILE)"
    )


def _fills(arguments: Sequence[Argument], specs: Sequence[InputSpec]) -> bool:
    """Tell whether the arguments are just the inputs."""
    given = [item for _, some in arguments for item in some]
    names = {spec.name for spec in specs}
    required = {spec.name for spec in specs if not spec.optional}
    named = {item.name for item in given if item.name in names}
    keys = [item for item in given if item.optional_name]
    strange = [item for item in keys if item.name not in names]
    if keys and len(strange) < len(keys):  # an archive with names of inputs; its other arrays are left out
        given = [item for item in given if item not in strange]
    return len(required) <= len(given) <= len(names) and not required - named - set(_open(required - named, given))


def _open(missing: set[str], given: Sequence[Given]) -> set[str]:
    """Return the inputs that arrays without a name of an input can be."""
    unnamed = sum(item.name is None or item.optional_name for item in given)
    return missing if len(missing) <= unnamed else set()
