"""What `tfdump.activations` returns: arrays by address, and where a search for NaN ended."""

from typing import Any

from tfdump.checks import Origin, origins_in
from tfdump.dump import layout
from tfdump.dump.reader import Dump
from tfdump.run.activations.run import ActivationRun
from tfdump.tensors import Value

StoredValue = Value | list[Any]
"""The value of a tensor of a dump; a list holds batches of different shapes."""


class Activations(dict[str, StoredValue]):
    """Activations by address, in execution order.

    With `until_nan`, they are those of the first example with NaN or infinity, and empty where all is clean.

    Attributes
    ----------
    ids : list of str or None
        The names of the examples in the order of the rows: of files, lines, rows or records. None for arrays, whose
        rows have no names.
    searched : int
        The number of examples that were computed.
    example : int or None
        With `until_nan`, the number of the bad example in the input; None where all is clean.
    inputs, outputs : dict of str to numpy.ndarray
        With `until_nan`, the inputs of the bad example, and the final outputs of the model for it, by name.
    origins : tuple of tfdump.checks.Origin
        With `until_nan`, where NaN and infinity start.

    """

    def __init__(self, values: dict[str, StoredValue], searched: int) -> None:
        super().__init__(values)
        self.searched = searched
        self.ids: list[str] | None = None
        self.example: int | None = None
        self.inputs: dict[str, StoredValue] = {}
        self.outputs: dict[str, StoredValue] = {}
        self.origins: tuple[Origin, ...] = ()


def all_activations(run: ActivationRun, command: str) -> Activations:
    """Run the model over all examples, and return the activations."""
    writer = run.open_writer(None, force=False)
    try:
        run.write(writer, command)
        dump = Dump(writer.file, "the activations")
        result = Activations(_values(dump, layout.ACTIVATIONS), run.source.examples)
        result.ids = _ids(dump)
        return result
    finally:
        writer.abort()


def activations_until_nan(run: ActivationRun, command: str) -> Activations:
    """Run the model until an example holds NaN or infinity, and return the activations of that example."""
    example = run.search()
    if example is None:
        clean = Activations({}, run.source.examples)
        clean.ids = None if run.source.identity is None else []
        return clean
    writer = run.open_writer(None, force=False)
    try:
        run.write_example(writer, command, example)
        dump = Dump(writer.file, "the activations")
        result = Activations(_values(dump, layout.ACTIVATIONS), example.stop)
        result.ids = _ids(dump)
        result.example = run.source.first_example + example.number
        result.inputs, result.outputs = _values(dump, layout.INPUTS), _values(dump, layout.OUTPUTS)
        result.origins = origins_in(dump, run.options.allow_inf)
        return result
    finally:
        writer.abort()


def _ids(dump: Dump) -> list[str] | None:
    return None if dump.examples is None else dump.examples.read(0, len(dump.examples))


def _values(dump: Dump, group: str) -> dict[str, StoredValue]:
    return {address: dump[f"{group}/{address}"].read() for address in dump.groups.get(group, ())}
