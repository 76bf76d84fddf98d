"""The parts of both sides as files, with the values that go in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfdump.dump import layout
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import ArrayReader
from tfdump.side_by_side.dump_side import DumpSide
from tfdump.side_by_side.model_side import ModelSide
from tfdump.side_by_side.run import AnySide, SideBySide
from tfdump.side_by_side.shrink.records import INPUT, SEVERAL_INPUTS, CutPoint, NothingShrunk, PartFile, SideSource
from tfdump.side_by_side.shrink.values import values_of
from tfdump.tensors import Array

LARGEST_COPY = 25 << 20
"""The bytes of a model that is copied whole: the trackers of bugs take no larger files."""

_INPUT = f"{layout.INPUTS}/"


@dataclass(frozen=True)
class Feed:
    """One input of both parts: its name, its values, and the axes that each side needs (None for the same order)."""

    name: str
    values: Array
    golden_order: tuple[int, ...] | None = None
    new_order: tuple[int, ...] | None = None


def feeds_of(sides: SideBySide, points: Sequence[CutPoint], examples: Sequence[int]) -> list[Feed]:
    """Return the inputs of the parts: the values of the golden side, or of a model where they are its inputs."""
    feeds: dict[str, Feed] = {}
    for point in points:
        if point.golden.startswith(_INPUT):
            name = point.golden.removeprefix(_INPUT)
            feeds[name] = Feed(name, _without_objects(_input_values(sides.models[0], name, examples)))
            continue
        (values,) = values_of(sides.golden, [f"{layout.ACTIVATIONS}/{point.golden}"], examples)
        name = re.sub(r"\W", "_", point.golden) + "_value"
        while name in feeds:
            name += "_"
        feeds[name] = _feed(sides, name, values, point)
    return list(feeds.values())


def _feed(sides: SideBySide, name: str, values: Array, point: CutPoint) -> Feed:
    """Return one input, in the axes of the only model, or of the one that cannot be transposed."""
    axes = point.layout
    if axes is None or isinstance(sides.new, DumpSide):
        return Feed(name, values)
    back = tuple(axes.index(axis) for axis in range(len(axes)))
    if isinstance(sides.golden, DumpSide):
        return Feed(name, np.ascontiguousarray(values.transpose(back)))
    if sides.new.run.loaded.class_name == "ONNX":
        return Feed(name, values, new_order=back)
    return Feed(name, np.ascontiguousarray(values.transpose(back)), golden_order=axes)


def _input_values(model: ModelSide, name: str, examples: Sequence[int]) -> Array:
    """Return examples of an input as they are in the file."""
    source = model.run.source
    column = next(column for column in source.columns if column.name == name)
    rows = [column.read_as_stored(source.first_example + one, source.first_example + one + 1) for one in examples]
    return np.concatenate(rows)


def _without_objects(values: Array) -> Array:
    """Return text as an array that `.npy` files take without pickles; raises NothingShrunk for other bytes."""
    if values.dtype.kind != "O":
        return values
    try:
        return values.astype(np.str_)
    except UnicodeDecodeError as cause:
        raise NothingShrunk("an input is text that is not UTF-8") from cause


def write_inputs(feeds: Sequence[Feed], folder: Path) -> list[InputArray]:
    """Write the inputs, several into one archive; return them as they are read from there."""
    if len(feeds) == 1:
        np.save(folder / INPUT, feeds[0].values)
        return [InputArray(None, ArrayReader(feeds[0].values, INPUT))]
    arrays: dict[str, Any] = {feed.name: feed.values for feed in feeds}
    np.savez(folder / SEVERAL_INPUTS, **arrays)
    return [InputArray(name, ArrayReader(values, name), optional_name=True) for name, values in arrays.items()]


def write_side(
    side: AnySide, name: str, source: SideSource, points: Sequence[CutPoint], feeds: Sequence[Feed], stem: Path
) -> PartFile:
    """Write the part of one side that ends with a tensor; nothing for a dump.

    A model that cannot be cut is whole where the part would begin with its inputs. Raises UncutModel elsewhere.
    """
    if isinstance(side, DumpSide):
        return PartFile(None)
    from tfdump.model.cutting.part import ProbedModel, write_part
    from tfdump.model.cutting.records import PartInput, UncutModel

    model = ProbedModel(side.run.loaded, side.run.probe)
    group, _, address = name.partition("/")
    own = stem.name == "golden"
    inputs = []
    for point, feed in zip(points, feeds, strict=True):
        place = point.golden if own else point.new
        shape, dtype = _declared(side, place, feed.values)
        order = feed.golden_order if own else feed.new_order
        shape = shape if order is None else tuple(shape[order.index(axis)] for axis in range(len(order)))
        inputs.append(PartInput(feed.name, place, shape, dtype, order))
    try:
        path = write_part(model, inputs, model.place(group, address), stem)
    except UncutModel as cause:
        if not all(point.golden.startswith(_INPUT) for point in points):
            raise
        return replace(write_whole_side(side, source, stem), reason=str(cause))
    dequantize = source.dequantize and path.suffix != ".keras"
    return PartFile(path, options=(f"--{stem.name}-dequantize",) if dequantize else ())


def _declared(side: ModelSide, place: str, values: Array) -> tuple[tuple[int | None, ...], str]:
    """Return the shape, None for open sizes, and the dtype of a tensor or input of a model."""
    tensors: Mapping[str, tuple[tuple[int, ...] | None, str]] = {
        one.info.address: (one.info.shape, one.info.dtype)
        for one in side.run.plan.tensors
        if one.group == layout.ACTIVATIONS
    }
    if place.startswith(_INPUT):
        from tfdump.model.runnable import runnable

        name = place.removeprefix(_INPUT)
        specs = runnable(side.run.loaded.model).signature([None]).specs
        spec = next(spec for spec in specs if spec.name == name)
        column = next(column for column in side.run.source.columns if column.name == name)
        return spec.shape or (None, *column.shape[1:]), column.dtype
    shape, dtype = tensors[place]
    if shape is None:
        return (None, *values.shape[1:]), dtype
    return tuple(None if size == -1 else size for size in shape), dtype


def write_whole_side(side: AnySide, source: SideSource, stem: Path) -> PartFile:
    """Copy the whole model of one side, or name its file where it is too large; nothing for a dump.

    Raises UncutModel for a model in memory that cannot be saved.
    """
    if isinstance(side, DumpSide):
        return PartFile(None, whole=True)
    from tfdump.model.cutting.part import copy_model

    copy = copy_model(side.run.loaded, source.path, stem, LARGEST_COPY)
    options = [f"--{stem.name}-dequantize"] if source.dequantize else []
    options += [f"--{stem.name}-signature", source.signature] if source.signature is not None else []
    return PartFile(copy or source.path, whole=True, copied=copy is not None, options=tuple(options))
