"""Runs the parts as they are in the folder, and tells whether they still differ in the same way."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tfdump.comparison.options import DiffOptions
from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import plain_item
from tfdump.comparison.rule import Criteria
from tfdump.comparison.tensors import compare_pair
from tfdump.comparison.verdict import DIFFERS, SAME
from tfdump.dump import layout
from tfdump.errors import UntrustedModelError
from tfdump.inputs.input_array import InputArray
from tfdump.run.activations.options import ActivationOptions
from tfdump.run.activations.run import probe_activations
from tfdump.side_by_side.model_side import ModelSide, silent_note
from tfdump.side_by_side.opening import open_sides
from tfdump.side_by_side.options import ModelToCompare, SideBySideOptions
from tfdump.side_by_side.run import AnySide, SideBySide
from tfdump.side_by_side.shrink.records import PartFile, SideSource
from tfdump.side_by_side.shrink.values import TensorJudge, values_of
from tfdump.tensors import Array

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


@dataclass(frozen=True)
class Tried:
    """What the parts give: the values of both sides, and why they differ.

    `turned` is what was seen, with its axes in the order of the golden side. `names` are the tensors of both sides that
    were compared, by group and address. `options` are those with which they differ, and `trust` tells whether the parts
    contain code.
    """

    expected: Array
    actual: Array
    turned: Array
    reason: str
    names: tuple[str, str]
    options: DiffOptions
    trust: bool


class _Loader:
    """Loads the file of a part as the model of its side was loaded; `trust` tells whether it contains code."""

    def __init__(self, part: PartFile, origin: "LoadedModel", source: SideSource) -> None:
        self.trust = origin.trusted
        self._part = part
        self._origin = origin
        self._source = source

    @property
    def side(self) -> ModelToCompare:
        """The model as one side of a comparison."""
        dequantize = any(option.endswith("-dequantize") for option in self._part.options)
        return ModelToCompare(str(self._part.file), self.load, dequantize)

    def _custom(self) -> Mapping[str, Any] | None:
        """Return the classes of the user: those that were imported, or those of a model in memory."""
        if self._origin.custom or self._origin.sha256:
            return self._origin.custom or None
        from tfdump.model.cutting.custom_classes import custom_classes

        return custom_classes(self._origin.model)

    def load(self) -> "LoadedModel":
        """Load the model."""
        from tfdump.model.loading.load import load_model

        assert self._part.file is not None
        origin, signature = self._origin, self._source.signature if self._part.whole else None
        load = partial(
            load_model,
            self._part.file,
            custom=self._custom(),
            signature=signature,
            max_bytes=origin.max_bytes,
        )
        try:
            return load(trust=self.trust)
        except UntrustedModelError:
            if origin.sha256:
                raise
            self.trust = True  # a model in memory, whose code has run already
            return load(trust=True)


def try_parts(
    sides: SideBySide,
    parts: tuple[PartFile, PartFile],
    sources: tuple[SideSource, SideSource],
    arrays: Sequence[InputArray],
    examples: Sequence[int],
    judge: TensorJudge,
    options: DiffOptions,
) -> Tried | None:
    """Run the parts on the inputs, compare them, and return what they give; None where they agree.

    Raises TfdumpError where the parts do not run.
    """
    loaders = [
        _Loader(part, side.run.loaded, source) if isinstance(side, ModelSide) else None
        for side, part, source in zip((sides.golden, sides.new), parts, sources, strict=True)
    ]
    running = SideBySideOptions(seed=sides.models[0].run.options.seed)
    golden, new = loaders
    if golden is not None and new is not None:
        tried = _try_both((golden.side, new.side), parts, arrays, judge, options, running)
    else:
        tried = _try_one(sides, parts, loaders, arrays, examples, judge, options)
    trust = any(loader.trust for loader in loaders if loader is not None)
    return None if tried is None else replace(tried, trust=trust)


def _try_both(
    models: tuple[ModelToCompare, ModelToCompare],
    parts: tuple[PartFile, PartFile],
    arrays: Sequence[InputArray],
    judge: TensorJudge,
    options: DiffOptions,
    running: SideBySideOptions,
) -> Tried | None:
    with open_sides(*models, arrays, running, silent_note) as sides:
        own = (str(judge.tensor.name), str(judge.tensor.new_name))
        both = zip((sides.golden, sides.new), parts, own, strict=True)
        names = [name if part.whole else _output(side) for side, part, name in both]
        if parts[0].whole != parts[1].whole:
            options = replace(options, renamed={names[0]: names[1]})
        report = sides.compare(options)
        differing = (one for one in report.tensors if [one.name, one.new_name] == names and one.status == DIFFERS)
        verdict = next(differing, None)
        if verdict is None:
            return None
        every = range(sides.examples)
        values = [
            values_of(side, [name], every)[0] for side, name in zip((sides.golden, sides.new), names, strict=True)
        ]
    turned = judge.turned(values[1])
    return Tried(values[0], values[1], turned, verdict.reason, (names[0], names[1]), options, trust=False)


def _output(side: AnySide) -> str:
    """Return the only output of a part, by group and address."""
    assert isinstance(side, ModelSide)
    (output,) = (one for one in side.run.plan.tensors if one.group == layout.OUTPUTS)
    return f"{layout.OUTPUTS}/{output.info.address}"


def _try_one(
    sides: SideBySide,
    parts: tuple[PartFile, PartFile],
    loaders: Sequence[_Loader | None],
    arrays: Sequence[InputArray],
    examples: Sequence[int],
    judge: TensorJudge,
    options: DiffOptions,
) -> Tried | None:
    """Run the part of the only model, and compare it with the dump."""
    values, names = [], []
    own = (str(judge.tensor.name), str(judge.tensor.new_name))
    for side, part, loader, name in zip((sides.golden, sides.new), parts, loaders, own, strict=True):
        if not isinstance(side, ModelSide) or loader is None:
            values += values_of(side, [name], examples)
            names.append(name)
            continue
        with _opened(loader, side, arrays) as model:
            names.append(name if part.whole else _output(model))
            values += values_of(model, names[-1:], range(len(examples)))
    status, reason, *_ = judge.outcome(values[0], values[1])
    if status != DIFFERS:
        return None
    turned = judge.turned(values[1])
    return Tried(values[0], values[1], turned, reason, (names[0], names[1]), options, trust=False)


@contextmanager
def _opened(loader: _Loader, side: ModelSide, arrays: Sequence[InputArray]) -> Iterator[ModelSide]:
    activations = ActivationOptions(outputs=True, dequantize=loader.side.dequantize, seed=side.run.options.seed)
    opened = probe_activations(loader.load(), arrays, activations, silent_note)
    with opened.probe:
        yield ModelSide(side.name, side.role, opened, opened.plan())


def is_alike(values: Array, others: Array) -> bool:
    """Tell whether two arrays are equal but for rounding."""
    golden, new = plain_item("a", values), plain_item("a", others)
    return compare_pair(golden, new, Pair(golden, new, ""), Criteria(), check_attrs=False)[0] == SAME
