"""The files of a gradient run: which are inputs, targets and sample weights, read together batch by batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tfdump.dtypes import dtype_name, kind_of
from tfdump.errors import InputError
from tfdump.inputs.arguments import Given
from tfdump.inputs.casting import describe
from tfdump.inputs.matching import match
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.inputs.targets import Argument, split_targets
from tfdump.tensors import InputSpec, Note

if TYPE_CHECKING:
    from tfdump.model.gradients.differentiation import TargetColumns
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.losses.scalar import Scalar
    from tfdump.model.signature import Signature


def supervised_source(
    loaded: "LoadedModel",
    scalar: "Scalar",
    arguments: Sequence[Argument],
    targets: Sequence[Given] | None,
    weights: Sequence[Given],
    reading: ReadingOptions,
    note: Note,
) -> tuple[Source, "TargetColumns", "Signature"]:
    """Match files to inputs, targets and sample weights; one source reads all of them.

    Without `targets`, where the loss needs them, the last of `arguments` is taken for them. Raises InputError where
    they do not fit the model.
    """
    from tfdump.model.gradients.differentiation import TargetColumns
    from tfdump.model.outputs import expected_outputs
    from tfdump.model.signature import float_dtype_of, signature_of

    model = loaded.model
    reading = replace(reading, float_dtype=float_dtype_of(model))
    every = [given for _, some in arguments for given in some]
    needed = scalar.needs_targets
    if not needed and targets:
        raise InputError(f"{scalar.without_targets} (leave --targets out)")
    if not needed and weights:
        raise InputError(f"'{scalar.description}' takes no sample weights (leave --sample-weight out)")
    if needed and targets is not None and not targets:
        raise InputError(f"the targets are missing: '{scalar.description}' needs them (give y, or choose an objective)")
    inputs, expected = every, list(targets or [])
    if needed and targets is None:
        first = [given.name for _, some in arguments[:-1] for given in some]
        declared, all_named = signature_of(model, first), signature_of(model, [given.name for given in every])
        specs_of_inputs = declared.specs if declared.declared else None
        inputs, expected = split_targets(arguments, specs_of_inputs, all_named.arguments_by_name)
    signature = signature_of(model, [given.name for given in inputs])
    too_many = scalar.without_targets if not needed else "--targets is given, so all files are inputs" * bool(targets)
    readers = match(inputs, signature.specs, too_many=too_many)
    specs = list(signature.specs)
    columns: dict[str, dict[str, str]] = {"target": {}, "sample weight": {}}
    labels: dict[str, str] = {}
    if expected or weights:
        alone = Source(signature.specs, readers, reading, lambda text: None)
        shapes = [InputSpec(c.name, (signature.batch_size, *c.shape[1:]), c.dtype) for c in alone.columns]
        outcome = expected_outputs(model, signature, shapes, alone)
        outputs = scalar.outputs_with_targets(outcome)
        named = [InputSpec(name, None, None) for name in outputs]
        only = weights[0] if len(weights) == 1 else None
        if only is not None and only.name not in outputs and (only.name is None or only.optional_name):
            weights = [Given(name, only.reader) for name in outputs]  # one for all outputs
        for what, given in (("target", expected), ("sample weight", weights)):
            optional = [InputSpec(s.name, None, None, optional=what != "target") for s in named]
            known = [item.renamed(outcome.canonical(item.name)) if item.name else item for item in given]
            if len(known) == len(outcome.names) > len(outputs) and all(item.name is None for item in known):
                known = [item for item, name in zip(known, outcome.names, strict=True) if name in outputs]
            for name, reader in match(known, optional, what).items():
                column = f"{what} of {name}"
                dtype = dtype_name(reader.dtype)  # the loss casts, as Keras does
                if kind_of(dtype) not in "fiub":
                    raise InputError(f"{reader.label} holds {describe(dtype)}, and a {what} is a number")
                specs.append(InputSpec(column, None, dtype))
                readers[column] = reader
                columns[what][name] = column
                if what == "target":
                    labels[name] = reader.label
        scalar.prepare(outcome, {name: readers[column].shape for name, column in columns["target"].items()})
    source = Source(specs, readers, reading, note)
    return source, TargetColumns(columns["target"], columns["sample weight"], labels), signature
