"""Random examples, made from what a model declares about its inputs, to try it without data (`--random`)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.dtypes import kind_of, numpy_dtype
from tfdump.errors import InputError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.identity import NamedReader
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.preprocessing import is_pixels
from tfdump.tensors import Array, InputSpec

LARGEST_BLOCK = 256
"""Rows that are drawn at once, at most; each block has random numbers of its own, so that any rows can be drawn."""

_BLOCK_ELEMENTS = 1 << 20
"""Elements of a block of long rows; a block has at least one row."""

_SEQUENCE, _IMAGE = 16, 64
"""The sizes of open axes: of inputs of up to three axes, and of those with more."""

_SMALL_INTEGERS = 10
"""Integers whose meaning is not known are below this number."""

_WORDS = (
    *("all", "and", "at", "big", "book", "but", "by", "day", "down", "each", "eye", "find", "for", "from", "good"),
    *("hand", "he", "home", "house", "in", "is", "it", "life", "light", "like", "made", "man", "more", "name", "new"),
    *("not", "of", "old", "on", "one", "out", "place", "see", "she", "small", "so", "sound", "that", "the", "they"),
    *("this", "time", "to", "two", "under", "up", "water", "way", "we", "what", "who", "with", "word", "year", "you"),
)
_LONGEST_TEXT = 12


@dataclass(frozen=True)
class _Distribution:
    """The dtype of random values, what they are in words, and what draws an array of a shape."""

    dtype: np.dtype[Any]
    words: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], Array]


class RandomRows(NamedReader):
    """Random values for one input of a model. Rows depend on their number, the seed and the `place` of the input."""

    def __init__(self, spec: InputSpec, place: int, options: DataOptions) -> None:
        self.label = f"--random {options.random}"
        shape, opened = _sizes(spec, options.open_size)
        self.shape = (options.random or 0, *shape)
        distribution = _distribution(spec, pixels=is_pixels(options.preprocess, spec.name))
        self.dtype, self._draw = distribution.dtype, distribution.draw
        self.settings = {"random": options.random, "seed": options.seed, "values": distribution.words}
        if opened:
            self.settings = {**self.settings, "open_size": opened}
            self.notes = (
                f"the input '{spec.name}' has open axes, and {self.label} makes them {opened} long: {self.shape[1:]} "
                "(choose: --open-size)",
            )
        self._key = [options.seed, place]
        self._block_rows = max(1, min(LARGEST_BLOCK, _BLOCK_ELEMENTS // max(1, math.prod(shape))))
        self._block: tuple[int, Array] | None = None  # its number, and its rows

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`."""
        pieces = [np.empty((0, *self.shape[1:]), self.dtype)]
        while start < stop:
            number, first = divmod(start, self._block_rows)
            end = min(stop, (number + 1) * self._block_rows)
            pieces.append(self._rows_of(number)[first : first + end - start])
            start = end
        return np.concatenate(pieces)

    def _rows_of(self, number: int) -> Array:
        """Return the rows of one block, which stays in memory until another one is drawn."""
        if self._block is None or self._block[0] != number:
            generator = np.random.Generator(np.random.Philox(key=self._key, counter=[0, 0, 0, number]))
            self._block = number, self._draw(generator, (self._block_rows, *self.shape[1:]))
        return self._block[1]


class RandomExamples:
    """Random values for every input that the model needs: data that follows from the inputs of the model."""

    def __init__(self, options: DataOptions) -> None:
        self.label = f"--random {options.random}"
        self._options = options

    def arrays(self, specs: Sequence[InputSpec]) -> list[InputArray]:
        """Return an array for each of these inputs that is not optional.

        Raises InputError for an input that declares no shape, or a dtype of which there are no random values.
        """
        return [
            InputArray(spec.name, RandomRows(spec, place, self._options))
            for place, spec in enumerate(specs)
            if not spec.optional
        ]

    def targets(self) -> list[InputArray]:
        """Return no targets."""
        return []


def _sizes(spec: InputSpec, open_size: int | None) -> tuple[tuple[int, ...], int | None]:
    """Return the sizes of one example, and the size of its open axes, None where there are none."""
    shape = spec.built or spec.shape
    if shape is None:
        raise InputError(
            f"the model does not declare the shape of its input '{spec.name}', so random examples cannot be "
            "made (give an INPUT with one row per example)"
        )
    size = open_size or (_SEQUENCE if len(shape) <= 3 else _IMAGE)
    sizes = tuple(size if axis is None else axis for axis in shape[1:])
    return sizes, size if None in shape[1:] else None


def _distribution(spec: InputSpec, pixels: bool) -> _Distribution:
    """Return how random values for an input are drawn; with `pixels`, numbers are from 0 to 255.

    Raises InputError for a dtype without random values.
    """
    name = spec.dtype or ("float32" if spec.vocabulary is None else "int32")
    kind = kind_of(name)
    if kind == "S":
        return _Distribution(np.dtype(object), f"texts of up to {_LONGEST_TEXT} words", _texts)
    if kind not in "fiubc":
        raise InputError(f"the input '{spec.name}' takes {name}, of which there are no random values (give an INPUT)")
    dtype = numpy_dtype(name)
    if kind in "biu" and "mask" in spec.name.lower():
        return _Distribution(dtype, "ones, as for a mask that hides nothing", lambda _, shape: np.ones(shape, dtype))
    if spec.vocabulary is not None:
        return _whole_numbers(spec.vocabulary, dtype, f"ids from 0 to {spec.vocabulary - 1}")
    if spec.quantization is not None:
        scale, zero_point = spec.quantization
        low, high = ((bound - zero_point) * scale for bound in (np.iinfo(dtype).min, np.iinfo(dtype).max))
        return _uniform(np.dtype(np.float32), low, high)
    if kind in "biu":
        return _numbers_without_meaning(dtype)
    return _uniform(dtype, 0, 255 if pixels else 1)


def _numbers_without_meaning(dtype: np.dtype[Any]) -> _Distribution:
    """Return how booleans and integers are drawn of which nothing is known; `uint8` is supposed to be pixels."""
    if dtype.kind == "b":
        return _whole_numbers(2, dtype, "True and False")
    below = 256 if dtype == np.uint8 else _SMALL_INTEGERS
    return _whole_numbers(below, dtype, f"integers from 0 to {below - 1}")


def _whole_numbers(below: int, dtype: np.dtype[Any], words: str) -> _Distribution:
    """Return how whole numbers below a limit are drawn, and below the largest one that the dtype can hold."""
    if dtype.kind in "iu":
        below = min(below, int(np.iinfo(dtype).max) + 1)
    return _Distribution(
        dtype, words, lambda generator, shape: generator.integers(0, below, shape, np.int64).astype(dtype)
    )


def _uniform(dtype: np.dtype[Any], low: float, high: float) -> _Distribution:
    """Return how numbers between two limits are drawn; both parts of complex ones are."""

    def drawn(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        numbers: Array = low + (high - low) * generator.random(shape)
        return (numbers + 1j * generator.random(shape) if dtype.kind == "c" else numbers).astype(dtype)

    return _Distribution(dtype, f"uniform from {low:g} to {high:g}", drawn)


def _texts(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw texts, each of some common English words."""
    texts = np.empty(shape, object)
    for place in np.ndindex(shape):
        words = generator.integers(0, len(_WORDS), generator.integers(1, _LONGEST_TEXT + 1))
        texts[place] = " ".join(_WORDS[word] for word in words)
    return texts
