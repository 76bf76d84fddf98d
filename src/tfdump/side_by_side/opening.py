"""Opens both sides of a comparison of models, and decides how many examples they run on at once."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tfdump.dump.reader import open_dump
from tfdump.errors import InputError, TfdumpError
from tfdump.files.limits import allowed
from tfdump.inputs.input_array import InputArray, array_names_of
from tfdump.inputs.matching import match
from tfdump.inputs.preprocessing import preprocessed
from tfdump.process.stages import Stage, silent_stage
from tfdump.run.activations.options import ActivationOptions
from tfdump.run.activations.run import probe_activations
from tfdump.run.pixel_ranges import tell_pixel_ranges
from tfdump.side_by_side.dump_inputs import rows_of_dump
from tfdump.side_by_side.dump_side import DumpSide
from tfdump.side_by_side.inputs_of_both import arrays_for_other, inputs_in_words
from tfdump.side_by_side.isolation import NEEDS_KERAS
from tfdump.side_by_side.model_side import ModelSide, is_keras
from tfdump.side_by_side.naming import name_by_keras
from tfdump.side_by_side.options import (
    GOLDEN,
    NEW,
    DumpToCompare,
    ModelToCompare,
    SideBySideOptions,
    SideToCompare,
    errors_name_side,
    with_options_of,
)
from tfdump.side_by_side.run import AnySide, SideBySide
from tfdump.tensors import InputSpec, Note

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


class _NotesOfSides:
    """Gathers the notes on both sides, so that one on both is told once."""

    def __init__(self) -> None:
        self._notes: list[tuple[str, str]] = []

    def of(self, name: str, role: str = "") -> Note:
        """Return the note function of one side."""
        return lambda text: self._notes.append((name, type(text)(with_options_of(role, text) if role else text)))

    def tell(self, note: Note) -> None:
        """Tell all notes, those on one side with its name."""
        texts = [text for _, text in self._notes]
        told: set[str] = set()
        for name, text in self._notes:
            if texts.count(text) == 1 or not name:
                note(type(text)(f"{name}: {text}" if name else text))
            elif text not in told:
                note(text)
            told.add(text)
        self._notes = []


@contextmanager
def open_sides(
    golden: SideToCompare,
    new: SideToCompare,
    arrays: Sequence[InputArray],
    options: SideBySideOptions,
    note: Note,
    stage: Stage = silent_stage,
) -> Iterator[SideBySide]:
    """Open two models, or a model and a dump, on the same inputs. At the end, models in memory are as before.

    Raises InputError where the inputs do not fit both models, DumpError where a dump was made with other inputs, and
    TfdumpError where both sides are dumps, or where errors are to be isolated and no side is a Keras model.
    """
    models = [(role, side) for role, side in ((GOLDEN, golden), (NEW, new)) if isinstance(side, ModelToCompare)]
    if not models:
        raise TfdumpError("both sides are dumps, and need no inputs (compare them with: tfdump diff GOLDEN NEW)")
    notes = _NotesOfSides()
    with ExitStack() as stack:
        try:
            opened = _open_models(models, arrays, options, notes, stage, stack)
            sides = _sides(golden, new, opened, options, stack)
        finally:
            notes.tell(note)
        yield sides


def _open_models(
    models: Sequence[tuple[str, ModelToCompare]],
    arrays: Sequence[InputArray],
    options: SideBySideOptions,
    notes: _NotesOfSides,
    stage: Stage,
    stack: ExitStack,
) -> list[ModelSide]:
    """Load one or two models, and plan each."""
    from tfdump.model.runnable import runnable

    opened: list[ModelSide] = []
    specs: list[Sequence[InputSpec]] = []
    run = options.run_of_one if len(models) > 1 else options.run
    every = [_loaded(role, model, stack) for role, model in models]
    if options.isolates and not any(is_keras(loaded) for loaded in every):
        raise TfdumpError(NEEDS_KERAS)
    name_by_keras(every, notes.of(""))
    for (role, model), loaded in zip(models, every, strict=True):
        with errors_name_side(model.name, role):
            stage(f"Tracing {loaded.name}")
            specs.append(runnable(loaded.model).signature(array_names_of(arrays)).specs)
            if not opened:
                arrays, options = _preprocessed(arrays, specs[0], options)
        fitting = arrays if not opened else _arrays_for_second([one for _, one in models], arrays, specs, notes)
        with errors_name_side(model.name, role):
            activations = ActivationOptions(
                outputs=True, dequantize=model.dequantize, seed=options.seed, reading=options.reading, run=run
            )
            probed = probe_activations(loaded, fitting, activations, notes.of(model.name, role))
            tell_pixel_ranges(loaded, probed.source, notes.of(model.name, role))
            stack.enter_context(probed.probe)
            stage(f"Looking at the first batches of {loaded.name}")
            opened.append(ModelSide(model.name, role, probed, probed.plan()))
    return opened


def _loaded(role: str, model: ModelToCompare, stack: ExitStack) -> "LoadedModel":
    """Load a model; the memory that it may take is limited as long as it is open."""
    with errors_name_side(model.name, role):
        loaded = model.load()
        stack.enter_context(allowed(loaded.max_bytes))
        return loaded


def _preprocessed(
    arrays: Sequence[InputArray], specs: Sequence[InputSpec], options: SideBySideOptions
) -> tuple[Sequence[InputArray], SideBySideOptions]:
    """Return the arrays after preprocessing, by the names of the inputs of the first model, for both models."""
    steps = options.reading.preprocess
    if not steps:
        return arrays, options
    from tfdump.model.applications.preprocessing import preprocessed_by_keras

    readers = preprocessed(match(arrays, specs), specs, steps, preprocessed_by_keras)
    changed = [InputArray(name, reader) for name, reader in readers.items()]
    return changed, replace(options, reading=replace(options.reading, preprocess=()))


def _arrays_for_second(
    models: Sequence[ModelToCompare],
    arrays: Sequence[InputArray],
    specs: Sequence[Sequence[InputSpec]],
    notes: _NotesOfSides,
) -> list[InputArray]:
    """Return the arrays for the second model; raises InputError, with the inputs of both, where they do not fit."""
    try:
        return arrays_for_other(arrays, specs[0], specs[1], notes.of(""))
    except InputError:
        both = (f"{model.name} takes {inputs_in_words(own)}" for model, own in zip(models, specs, strict=True))
        raise InputError(
            f"the models have different inputs: {', and '.join(both)} (compare models that take the same arrays)"
        ) from None


def _sides(
    golden: SideToCompare,
    new: SideToCompare,
    models: Sequence[ModelSide],
    options: SideBySideOptions,
    stack: ExitStack,
) -> SideBySide:
    """Return both sides with the number of examples that are compared at once."""
    dumps: list[DumpSide] = []
    for side in (golden, new):
        if isinstance(side, DumpToCompare):
            dump = stack.enter_context(open_dump(side.path))
            dumps.append(DumpSide(dump, rows_of_dump(dump, models[0].run.source, options.ignore_ids)))
    sized, step = _sized(models, dumps)
    models_left, dumps_left = iter(sized), iter(dumps)
    sides: list[AnySide] = [
        next(models_left) if isinstance(side, ModelToCompare) else next(dumps_left) for side in (golden, new)
    ]
    return SideBySide(sides[0], sides[1], step, options)


def _sized(models: Sequence[ModelSide], dumps: Sequence[DumpSide]) -> tuple[list[ModelSide], int]:
    """Return the models, planned for batches that go together, and the number of examples compared at once."""
    wanted = dumps[0].batch_size if dumps and models[0].mixes else None
    fixed = {model.fixed_size for model in models} - {None}
    if len(models) == 1:
        (model,) = models
        if wanted is not None and model.fixed_size is None and wanted != model.call_size:
            model = model.resized(wanted)
        return [model], model.call_size
    if not fixed:
        size = min(model.call_size for model in models)
        return [model if model.call_size == size else model.resized(size) for model in models], size
    if len(fixed) == 1 and None not in {model.fixed_size for model in models}:
        return list(models), models[0].call_size
    return _beside_fixed(models, math.lcm(*(size for size in fixed if size is not None)))


def _beside_fixed(models: Sequence[ModelSide], unit: int) -> tuple[list[ModelSide], int]:
    """Return models of which some have a fixed batch size, and a number of examples that all sizes divide."""
    free = [model for model in models if model.fixed_size is None]
    if not free:
        return list(models), unit
    (model,) = free
    size = unit if model.mixes else max(unit, model.call_size // unit * unit)
    sized = model if model.call_size == size else model.resized(size)
    return [sized if one is model else one for one in models], size
