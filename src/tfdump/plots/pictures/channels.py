"""`--channels`: which channels, heads or filters of a tensor a picture shows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfdump.errors import TfdumpError
from tfdump.tensors import Array

ALL, TOP = "all", "top"


@dataclass(frozen=True)
class ChannelChoice:
    """The numbers of the channels to draw, in order, and a note where others are left out, else "".

    `is_default` is True where the user chose none, so that the note goes to stderr too.
    """

    numbers: tuple[int, ...]
    note: str
    is_default: bool


def channel_choice(text: str | None, count: int, most: int, what: str, strength: Callable[[], Array]) -> ChannelChoice:
    """Return the channels that `--channels` selects of `count`: the first `most` by default.

    `text` is `all`, `top` (the `most` of the largest mean magnitude, which `strength()` returns per channel),
    START:STOP, or numbers with commas. Raises TfdumpError for anything else, and for channels out of range.
    """
    numbers = _numbers(text, count, most, what, strength)
    if len(numbers) == count and text != TOP:
        return ChannelChoice(numbers, "", False)
    if text is None:
        others = f"--channels {most}:{min(2 * most, count)}, {ALL}, or {TOP} for the strongest"
        return ChannelChoice(
            numbers, f"the picture shows {what}s 0 to {most - 1} of {count:,} (choose others with {others})", True
        )
    if text == TOP:
        note = f"the {len(numbers):,} of {count:,} {what}s with the largest mean magnitude, the strongest first"
        return ChannelChoice(numbers, note, False)
    return ChannelChoice(numbers, f"{what}s {text} of {count:,}", False)


def strength_of(values: Array, axis: int) -> npt.NDArray[np.float64]:
    """Return the mean magnitude along every other axis; a channel with NaN counts as infinitely strong."""
    magnitude = np.abs(np.moveaxis(values, axis, 0)).reshape(values.shape[axis], -1)
    return np.asarray(np.nan_to_num(magnitude.mean(axis=1), nan=np.inf), np.float64)


def _numbers(text: str | None, count: int, most: int, what: str, strength: Callable[[], Array]) -> tuple[int, ...]:
    if text is None:
        return tuple(range(min(count, most)))
    if text == ALL:
        return tuple(range(count))
    if text == TOP:
        order = np.argsort(-strength(), kind="stable")
        return tuple(int(number) for number in order[:most])
    try:
        if ":" in text:
            start, stop = (int(part) if part else None for part in text.split(":"))
            numbers = list(range(*slice(start, stop).indices(count)))
        else:
            numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise TfdumpError(f"--channels '{text}' is not {ALL}, {TOP}, START:STOP or numbers such as 1,5,9") from None
    outside = [number for number in numbers if not -count <= number < count]
    if outside or not numbers:
        which = f"no {what} {outside[0]}" if outside else f"--channels {text} selects nothing"
        raise TfdumpError(f"{which}: there are {count:,}, 0 to {count - 1:,}")
    return tuple(number % count for number in numbers)
