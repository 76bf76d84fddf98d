"""One list of inputs for two models, whose inputs may have other names."""

from collections.abc import Sequence
from itertools import permutations

from tfdump.errors import InputError
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.matching import match
from tfdump.inputs.readers import Reader
from tfdump.tensors import InputSpec, Note

_MOST_PERMUTED = 6
"""A model with more inputs than this gets them by name or in order only."""


def arrays_for_other(
    arrays: Sequence[InputArray], specs: Sequence[InputSpec], others: Sequence[InputSpec], note: Note
) -> list[InputArray]:
    """Return the arrays for a model with the inputs `others`, as they go to a model with the inputs `specs`.

    Inputs correspond by name where both models have the same names, else in order where the shapes fit, else by the
    only order in which they fit. Raises InputError, with the inputs of both models, where none of these works.
    """
    readers = match(arrays, specs)
    order = [(spec, readers[spec.name]) for spec in specs if spec.name in readers]
    by_name = {spec.name: spec for spec in others}
    if all(spec.name in by_name and _fits(spec, by_name[spec.name]) for spec, _ in order):
        return [InputArray(spec.name, reader) for spec, reader in order]
    pairs = _corresponding(order, [spec for spec in others if not spec.optional] or list(others))
    if pairs is None:
        raise InputError(f"the inputs differ: {inputs_in_words(specs)}; {inputs_in_words(others)}")
    note(f"inputs correspond by order and shape: {', '.join(f'{old} = {spec.name}' for old, spec, _ in pairs)}")
    return [InputArray(spec.name, reader) for _, spec, reader in pairs]


def _corresponding(
    order: Sequence[tuple[InputSpec, Reader]], targets: Sequence[InputSpec]
) -> list[tuple[str, InputSpec, Reader]] | None:
    """Return for each input the one that corresponds to it, or None."""
    if len(order) != len(targets):
        return None
    ways = [targets, *permutations(targets)] if len(targets) <= _MOST_PERMUTED else [targets]
    fitting = [way for way in ways if all(_fits(spec, other) for (spec, _), other in zip(order, way, strict=True))]
    if not fitting or (list(fitting[0]) != list(targets) and len(fitting) > 1):
        return None
    return [(spec.name, other, reader) for (spec, reader), other in zip(order, fitting[0], strict=True)]


def _fits(spec: InputSpec, other: InputSpec) -> bool:
    """Tell whether two inputs take arrays of one shape, the number of examples apart."""
    if spec.shape is None or other.shape is None:
        return True
    axes = zip(spec.shape[1:], other.shape[1:], strict=False)
    return len(spec.shape) == len(other.shape) and all(None in (a, b) or a == b for a, b in axes)


def inputs_in_words(specs: Sequence[InputSpec]) -> str:
    """Return the inputs of a model with their shapes."""
    shapes = ["?" if s.shape is None else ", ".join("?" if n is None else str(n) for n in s.shape) for s in specs]
    return ", ".join(f"'{spec.name}' ({shape})" for spec, shape in zip(specs, shapes, strict=True))
