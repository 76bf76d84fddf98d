"""The arrays of a gradient run: which are inputs, targets and sample weights, and one source that reads all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tfdump.dtypes import STRING, dtype_name, kind_of
from tfdump.errors import InputError
from tfdump.inputs.casting import describe
from tfdump.inputs.class_targets import ClassTargets
from tfdump.inputs.input_array import InputArray, array_names_of
from tfdump.inputs.matching import match
from tfdump.inputs.preprocessing import preprocessed
from tfdump.inputs.readers import Reader
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.inputs.targets import Argument, split_targets
from tfdump.tensors import InputSpec, Note

if TYPE_CHECKING:
    from keras import Layer

    from tfdump.model.gradients.differentiation import TargetColumns
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.losses.scalar import Scalar
    from tfdump.model.outputs import Outputs
    from tfdump.model.signature import Signature


@dataclass
class _Columns:
    """The columns of a source: their specs and readers, and which of them belong to which output."""

    specs: list[InputSpec]
    readers: dict[str, Reader]
    targets: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, arrays: Mapping[str, Reader]) -> dict[str, str]:
        """Add one column per output, of targets or of sample weights; return the columns by output.

        Targets that are text become class indices. Raises InputError where another array does not hold numbers.
        """
        columns = {}
        for output, array in arrays.items():
            reader = array
            if what == "target" and dtype_name(array.dtype) == STRING:
                reader = ClassTargets(array)
                self.classes[output] = len(reader.labels.classes)
            dtype = dtype_name(reader.dtype)  # the loss casts, as Keras does
            if kind_of(dtype) not in "fiub":
                raise InputError(f"{reader.label} holds {describe(dtype)}, and a {what} is a number")
            column = f"{what} of {output}"
            self.specs.append(InputSpec(column, None, dtype))
            self.readers[column] = reader
            columns[output] = column
        return columns


def supervised_source(
    loaded: "LoadedModel",
    scalar: "Scalar",
    arguments: Sequence[Argument],
    targets: Sequence[InputArray] | None,
    weights: Sequence[InputArray],
    reading: ReadingOptions,
    note: Note,
) -> tuple[Source, "TargetColumns", "Signature"]:
    """Match arrays to inputs, targets and sample weights; return a source that reads all of them.

    Without `targets`, the last of `arguments` has the targets where the loss needs them. Raises InputError where the
    arrays do not fit the model.
    """
    from tfdump.model.applications.preprocessing import preprocessed_by_keras
    from tfdump.model.gradients.differentiation import TargetColumns
    from tfdump.model.keras_signature import float_dtype_of

    reading = replace(reading, float_dtype=float_dtype_of(loaded.model))
    if scalar.needs_targets:
        arrays = [array for _, some in arguments for array in some]
        weights = weights or [weight for array in arrays for weight in array.sample_weights()]
        if targets is not None and not targets:
            targets = [target for array in arrays for target in array.targets()]
    _check_supervision(scalar, targets, weights)
    inputs, expected, signature = _inputs_and_targets(loaded.model, scalar, arguments, targets)
    too_many = "--targets is given, so all files are inputs" if targets else ""
    if not scalar.needs_targets:
        too_many = scalar.without_targets
    readers = match(inputs, signature.specs, too_many=too_many)
    readers = preprocessed(readers, signature.specs, reading.preprocess, preprocessed_by_keras)
    columns = _Columns(list(signature.specs), readers)
    if expected or weights:
        _add_supervision(loaded.model, scalar, signature, columns, expected, weights, reading)
    source = Source(columns.specs, columns.readers, reading, note)
    return source, TargetColumns(columns.targets, columns.weights, columns.labels, columns.classes), signature


def _check_supervision(scalar: "Scalar", targets: Sequence[InputArray] | None, weights: Sequence[InputArray]) -> None:
    """Raise InputError for targets or sample weights that the loss does not take, and for targets that are missing."""
    if scalar.needs_targets:
        if targets is not None and not targets:
            raise InputError(
                f"the targets are missing: '{scalar.description}' needs them (give y, or choose an objective)"
            )
        return
    if targets:
        raise InputError(f"{scalar.without_targets} (leave --targets out)")
    if weights:
        raise InputError(f"'{scalar.description}' takes no sample weights (leave --sample-weight out)")


def _inputs_and_targets(
    model: "Layer", scalar: "Scalar", arguments: Sequence[Argument], targets: Sequence[InputArray] | None
) -> tuple[list[InputArray], list[InputArray], "Signature"]:
    """Return the arrays that are inputs, those that are targets, and how the model is called with the inputs."""
    from tfdump.model.keras_signature import signature_of

    arrays = [array for _, some in arguments for array in some]
    if not scalar.needs_targets or targets is not None:
        return arrays, list(targets or []), signature_of(model, array_names_of(arrays))
    brings_targets = any(array.targets() for array in arrays)
    inputs = arrays if brings_targets else [array for _, some in arguments[:-1] for array in some]
    signature = signature_of(model, array_names_of(inputs))
    if signature.declared:
        inputs, expected = split_targets(arguments, signature.specs)
    else:
        by_name = signature_of(model, array_names_of(arrays)).arguments_by_name
        inputs, expected = split_targets(arguments, None, by_name)
    return inputs, expected, signature


def _add_supervision(
    model: "Layer",
    scalar: "Scalar",
    signature: "Signature",
    columns: _Columns,
    targets: Sequence[InputArray],
    weights: Sequence[InputArray],
    reading: ReadingOptions,
) -> None:
    """Match targets and sample weights to the outputs, and add them to the columns, which have the inputs."""
    from tfdump.model.outputs import expected_outputs

    alone = Source(signature.specs, columns.readers, reading, lambda text: None)
    shapes = [InputSpec(c.name, (signature.batch_size, *c.shape[1:]), c.dtype) for c in alone.columns]
    outcome = expected_outputs(model, signature, shapes, alone)
    outputs = scalar.outputs_with_targets(outcome)
    only = weights[0] if len(weights) == 1 else None
    if only is not None and only.name not in outputs and (only.name is None or only.optional_name):
        weights = [InputArray(name, only.reader) for name in outputs]  # one for all outputs
    readers = _of_outputs(targets, outputs, outcome, "target")
    columns.targets = columns.add("target", readers)
    columns.labels = {output: reader.label for output, reader in readers.items()}
    columns.weights = columns.add("sample weight", _of_outputs(weights, outputs, outcome, "sample weight"))
    scalar.prepare(outcome, {output: reader.shape for output, reader in readers.items()})


def _of_outputs(
    arrays: Sequence[InputArray], outputs: Sequence[str], outcome: "Outputs", what: str
) -> dict[str, Reader]:
    """Return the targets or sample weights by output; sample weights are optional."""
    specs = [InputSpec(name, None, None, optional=what != "target") for name in outputs]
    if what == "target":
        arrays = [target for array in arrays for target in array.targets() or [array]]
    renamed = [array.renamed(outcome.canonical(array.name)) if array.name else array for array in arrays]
    if len(renamed) == len(outcome.names) > len(outputs) and all(array.name is None for array in renamed):
        renamed = [array for array, name in zip(renamed, outcome.names, strict=True) if name in outputs]
    return match(renamed, specs, what)
