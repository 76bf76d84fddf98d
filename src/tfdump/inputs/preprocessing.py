"""What is done with the values of inputs before the model gets them (`--preprocess`).

Steps are parsed without Keras, whose functions are handed in where they are needed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tfdump.dtypes import dtype_name, kind_of
from tfdump.errors import InputError, near
from tfdump.inputs.functions.user_file import errors_of_user, load_function, split_function, without_folder
from tfdump.inputs.identity import NamedReader, remarks_of
from tfdump.inputs.ragged import RaggedReader
from tfdump.inputs.readers import Reader
from tfdump.tensors import Array, InputSpec

KERAS_NAMES = (
    *("convnext", "densenet", "efficientnet", "efficientnet_v2", "inception_resnet_v2", "inception_v3", "mobilenet"),
    *("mobilenet_v2", "mobilenet_v3", "nasnet", "resnet", "resnet50", "resnet_v2", "vgg16", "vgg19", "xception"),
)
"""The modules of `keras.applications` that have a `preprocess_input`."""

_NUMBERS = ("scale", "mean", "std")
_EXAMPLE = "for example resnet50, scale=1/255, 'mean=0.5;std=0.25' or my_data.py:normalize"

Change = Callable[[Array], Array]
"""Makes other values of a batch, with one row per example; it may change its argument."""

KerasFunction = Callable[[str, Array], Array]
"""The `preprocess_input` of the module of `keras.applications` that is named first, for a batch of images."""


@dataclass(frozen=True)
class PreprocessingStep:
    """One step: the input that it is for (None for the only one), its text, and a number or a function of the user.

    `kind` is `keras`, `scale`, `mean`, `std` or `function`.
    """

    input: str | None
    text: str
    kind: str
    numbers: tuple[float, ...] = ()
    function: Change | None = None


Preprocessing = str | Change | PreprocessingStep
"""What to do with values: text as on the command line, a function, or a step."""


def parse_steps(preprocess: Sequence[Preprocessing]) -> list[PreprocessingStep]:
    """Return the steps in order; raises InputError for text that is none, and for a file that is not there."""
    steps = []
    for item in preprocess:
        if isinstance(item, PreprocessingStep):
            steps.append(item)
            continue
        if not isinstance(item, str):
            steps.append(
                PreprocessingStep(None, str(getattr(item, "__name__", type(item).__name__)), "function", function=item)
            )
            continue
        head, equals, rest = item.partition("=")
        name = head if equals and head not in _NUMBERS and ";" not in head else None
        steps += [_step(name, text.strip()) for text in (rest if name else item).split(";")]
    return steps


def _step(name: str | None, text: str) -> PreprocessingStep:
    if text in KERAS_NAMES:
        return PreprocessingStep(name, text, "keras")
    head, equals, rest = text.partition("=")
    if equals and head in _NUMBERS:
        return PreprocessingStep(name, text, head, _numbers(text, rest))
    if ".py:" in text:
        split_function(text, "--preprocess")
        return PreprocessingStep(name, text, "function")
    raise InputError(f"--preprocess '{text}' is nothing that is known{near(text, KERAS_NAMES)} ({_EXAMPLE})")


def _numbers(text: str, numbers: str) -> tuple[float, ...]:
    """Return numbers and fractions, separated by commas; raises InputError for others, and for a division by 0."""
    values = []
    for number in numbers.split(","):
        numerator, _, denominator = number.partition("/")
        try:
            values.append(float(numerator) / float(denominator or 1))
        except (ValueError, ZeroDivisionError):
            values.append(float("nan"))
    if not np.isfinite(values).all() or (text.startswith("std") and 0 in values):
        raise InputError(f"--preprocess {text}: '{numbers}' is no list of numbers such as 1/255 or 103.9,116.8,123.7")
    return tuple(values)


def preprocessed(
    readers: Mapping[str, Reader], specs: Sequence[InputSpec], preprocess: Sequence[Preprocessing], keras: KerasFunction
) -> dict[str, Reader]:
    """Return the readers of the inputs, which do these steps with what they read.

    Raises InputError where a step does not fit its input, and where it does not say which of several inputs it is for.
    """
    by_input: dict[str, list[PreprocessingStep]] = {}
    for step in parse_steps(preprocess):
        by_input.setdefault(_input_of(step, list(readers)), []).append(step)
    shapes = {spec.name: spec.shape for spec in specs}
    return {
        name: PreprocessedReader(reader, by_input[name], shapes.get(name), keras) if name in by_input else reader
        for name, reader in readers.items()
    }


def _input_of(step: PreprocessingStep, names: Sequence[str]) -> str:
    if step.input is not None:
        if step.input not in names:
            known = ", ".join(f"'{name}'" for name in names)
            raise InputError(
                f"--preprocess {step.input}={step.text}: the model gets no input '{step.input}'"
                f"{near(step.input, names)} (its inputs: {known})"
            )
        return step.input
    if len(names) > 1:
        raise InputError(
            f"--preprocess {step.text} is for one of {len(names)} inputs (name it: {names[0]}={step.text})"
        )
    return names[0]


class PreprocessedReader(NamedReader):
    """Rows of another reader with other values. Raises InputError where a step does not fit them."""

    def __init__(
        self,
        stored: Reader,
        steps: Sequence[PreprocessingStep],
        declared: Sequence[int | None] | None,
        keras: KerasFunction,
    ) -> None:
        if isinstance(stored, RaggedReader):
            raise InputError(f"{stored.label} is ragged, and --preprocess needs rows of one shape (pad them first)")
        self.label = stored.label
        self.stored = stored
        self._steps = [(step, _change(step, stored, keras)) for step in steps]
        self._is_one_example = _is_one_example(stored.shape, declared)
        self.settings = {"preprocess": [without_folder(step.text) for step in steps]}
        if isinstance(stored, NamedReader):
            self.names, self.labels = stored.names, stored.labels
            self.skipped, self.notes, self.only_in_order = stored.skipped, stored.notes, stored.only_in_order
            self.settings = {**stored.settings, **self.settings}
        first = self.read(0, stored.shape[0] if self._is_one_example else min(1, stored.shape[0]))
        self.shape = first.shape if self._is_one_example else (stored.shape[0], *first.shape[1:])
        self.dtype = first.dtype

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`."""
        rows = self.stored.read(start, stop)
        if self._is_one_example:
            one: Array = self._changed(rows[np.newaxis])[0]
            return one
        return self._changed(rows)

    def remarks(self, start: int, stop: int) -> Sequence[str]:
        """Return the notes about these rows as they are stored; raises InputError as their reader does."""
        return remarks_of(self.stored, start, stop)

    def _changed(self, rows: Array) -> Array:
        for step, change in self._steps:
            what = f"--preprocess {step.text}"
            with errors_of_user(what):
                changed: Array = np.asarray(change(np.array(rows)))
            if changed.ndim == 0 or len(changed) != len(rows):
                raise InputError(
                    f"{what} makes an array of shape {changed.shape} of {len(rows)} examples of shape {rows.shape[1:]} "
                    "(return one row per example)"
                )
            rows = changed
        return rows


def _is_one_example(shape: Sequence[int], declared: Sequence[int | None] | None) -> bool:
    """Tell whether an array is one example without its axis, which the source adds."""
    if declared is None or len(shape) != len(declared) - 1:
        return False
    return all(want is None or want == have for want, have in zip(declared[1:], shape, strict=True))


def _change(step: PreprocessingStep, stored: Reader, keras: KerasFunction) -> Change:
    """Return what a step does with a batch; raises InputError for text that is to be a number."""
    if step.kind == "function":
        return step.function or load_function(step.text, "--preprocess")
    kind = kind_of(dtype_name(stored.dtype))
    if kind not in "fiub":
        raise InputError(f"--preprocess {step.text}: {stored.label} holds no numbers ({stored.dtype})")
    if step.kind == "keras":
        return partial(keras, step.text)
    return partial(_with_numbers, step)


def _with_numbers(step: PreprocessingStep, rows: Array) -> Array:
    """Return a batch multiplied, diminished or divided by numbers, in its own float dtype or in float32."""
    values = rows if rows.dtype.kind == "f" else rows.astype(np.float32)
    numbers = np.asarray(step.numbers, values.dtype)
    if len(numbers) > 1:
        numbers = numbers.reshape(_shape_of_channels(step, values.shape, len(numbers)))
    if step.kind == "scale":
        return np.asarray(values * numbers)
    return np.asarray(values - numbers if step.kind == "mean" else values / numbers)


def _shape_of_channels(step: PreprocessingStep, shape: tuple[int, ...], channels: int) -> tuple[int, ...]:
    """Return the shape of one number per channel: of the last axis, or of the first one of an example."""
    if shape[-1] == channels and len(shape) > 1:
        return (channels,)
    if len(shape) > 2 and shape[1] == channels:
        return (channels, *(1 for _ in shape[2:]))
    raise InputError(f"--preprocess {step.text} has {channels} numbers, and examples have the shape {shape[1:]}")


def is_pixels(preprocess: Sequence[Preprocessing], name: str) -> bool:
    """Tell whether the first step for an input is one of Keras, which takes pixels from 0 to 255."""
    mine = [step for step in parse_steps(preprocess) if step.input in (None, name)]
    return bool(mine) and mine[0].kind == "keras"
