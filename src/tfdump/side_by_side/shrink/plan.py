"""What can be cut: the tensor that the parts end with, and the tensors in which both sides agree."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from tfdump.address import split
from tfdump.comparison.verdict import DIFFERS, SAME, VALUES, DiffReport, TensorDiff
from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE
from tfdump.side_by_side.dump_side import DumpSide
from tfdump.side_by_side.run import AnySide, SideBySide
from tfdump.side_by_side.shrink.cut_points import LayerReads, cut_levels
from tfdump.side_by_side.shrink.records import CutPoint, NothingShrunk
from tfdump.side_by_side.shrink.values import parsed_layout
from tfdump.tensors import PlannedTensor

_ONNX = "ONNX"
"""The class of models whose tensors can be transposed where a part begins."""


def target_of(report: DiffReport) -> TensorDiff:
    """Return the first pair of tensors that differ; raises NothingShrunk where only one side has what fails."""
    for tensor in report.tensors:
        computed = not any(str(name).startswith(f"{layout.INPUTS}/") for name in (tensor.name, tensor.new_name))
        if tensor.status == DIFFERS and computed and tensor.name is not None and tensor.new_name is not None:
            if tensor.compared_by not in (VALUES, ""):
                raise NothingShrunk(
                    f"'{tensor.shown_name}' was compared by its {tensor.compared_by}, not by its values"
                )
            return tensor
    raise NothingShrunk("no tensor that both sides have differs")


def enclosing(report: DiffReport, target: TensorDiff) -> Iterator[TensorDiff]:
    """Yield the pairs that differ and are outputs of the layers around a tensor on one side, the nearest first."""
    around = [_around(str(name)) for name in (target.name, target.new_name)]
    differing = [one for one in report.tensors if one.status == DIFFERS and one.compared_by == VALUES]
    for golden, new in zip_longest(*around):
        yield from (one for one in differing if _is_output_of(one.name, golden) or _is_output_of(one.new_name, new))


def _around(name: str) -> list[str]:
    """Return the names of the layers around a tensor, the nearest first, with their group."""
    segments = split(name)[0].split(".")
    return [".".join(segments[:count]) for count in range(len(segments) - 1, 0, -1)]


def _is_output_of(name: str | None, layer: str | None) -> bool:
    return name is not None and layer is not None and split(name)[0] == layer


def levels_of(sides: SideBySide, report: DiffReport, target: TensorDiff) -> Iterator[list[CutPoint]]:
    """Yield the tensors where the parts can begin, first the nearest to the target."""
    points = [*_agreeing(sides, report), *input_points(sides)]
    starts = [str(name).removeprefix(f"{layout.ACTIVATIONS}/") for name in (target.name, target.new_name)]
    graphs = [_graph(side) for side in (sides.golden, sides.new)]
    yield from cut_levels((starts[0], starts[1]), points, graphs[0], graphs[1])


def _graph(side: AnySide) -> LayerReads | None:
    """Return what each tensor of a model is computed from, None for a dump; outputs have their group in their names."""
    if isinstance(side, DumpSide):
        return None
    group = f"{layout.OUTPUTS}/"
    return {f"{group if one.is_output else ''}{one.info.address}": one.info.inputs for one in side.run.probe.probed}


def _agreeing(sides: SideBySide, report: DiffReport) -> Iterator[CutPoint]:
    """Yield the pairs of activations that agree, and that can be the input of a model."""
    infos = [_infos(side) for side in (sides.golden, sides.new)]
    classes = [_class(side) for side in (sides.golden, sides.new)]
    group = f"{layout.ACTIVATIONS}/"
    for tensor in report.tensors:
        names = (str(tensor.name), str(tensor.new_name))
        agrees = tensor.status == SAME and tensor.compared_by == VALUES and kind_of(tensor.dtype or "") in "fiu"
        if not agrees or not all(name.startswith(group) for name in names):
            continue
        golden, new = (name.removeprefix(group) for name in names)
        if not (_can_begin(infos[0], golden, classes[0]) and _can_begin(infos[1], new, classes[1])):
            continue
        axes = parsed_layout(tensor.layout)
        if axes is None and tensor.shape == tensor.new_shape:
            yield CutPoint(golden, new)
        elif axes is not None and _can_be_turned(axes, infos, new, classes):
            yield CutPoint(golden, new, tuple(axis for axis in axes if axis is not None))


def _can_be_turned(
    axes: Sequence[int | None],
    infos: Sequence[Mapping[str, PlannedTensor] | None],
    new: str,
    classes: Sequence[str],
) -> bool:
    """Tell whether a tensor of the new side can be made from one of the golden side by an order of axes.

    Beside a dump, its values are turned, and beside an ONNX model its part begins with a transposition.
    """
    if infos[1] is None:
        return None not in axes and sorted(axis for axis in axes if axis is not None) == list(range(len(axes)))
    shape = infos[1][new].info.shape
    return shape is not None and None not in axes and len(axes) == len(shape) and (infos[0] is None or _ONNX in classes)


def _infos(side: AnySide) -> Mapping[str, PlannedTensor] | None:
    """Return the activations of a model by their addresses, None for a dump."""
    if isinstance(side, DumpSide):
        return None
    return {one.info.address: one for one in side.run.plan.tensors if one.group == layout.ACTIVATIONS}


def _can_begin(infos: Mapping[str, PlannedTensor] | None, address: str, class_name: str) -> bool:
    """Tell whether a tensor has one row per example, in numbers that its model takes."""
    if infos is None:
        return True
    tensor = infos[address]
    attributes = dict(tensor.info.attributes)
    represents = "quantized_dtype" in attributes and class_name == _ONNX
    return tensor.axis0 == EXAMPLE and not tensor.mixes and layout.STORED_AXES not in attributes and not represents


def _class(side: AnySide) -> str:
    return "" if isinstance(side, DumpSide) else side.run.loaded.class_name


def input_points(sides: SideBySide) -> list[CutPoint]:
    """Return the inputs of the models: those that read one array belong together."""
    columns = [
        None if isinstance(side, DumpSide) else [(column.name, column.reader) for column in side.run.source.columns]
        for side in (sides.golden, sides.new)
    ]
    golden, new = (column if column is not None else columns[1 - place] for place, column in enumerate(columns))
    assert golden is not None
    assert new is not None
    return [
        CutPoint(f"{layout.INPUTS}/{name}", f"{layout.INPUTS}/{other}")
        for name, reader in golden
        for other, same in new
        if reader is same
    ]
