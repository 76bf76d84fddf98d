"""Where a batch is in the whole tensor, and where an element of a batch is in it."""

from dataclasses import dataclass, field

from tfdump.dump.axis0 import EXAMPLE, NONE
from tfdump.dump.layout import stacked_shape


@dataclass(frozen=True)
class BatchPlace:
    """Where one batch is: its number from 0, its first example, its examples, its first call, and those of one call."""

    number: int
    start: int
    examples: int
    call: int
    call_size: int


@dataclass
class ComparedBatches:
    """The batches of one tensor so far: their places, what their first axis was, and the shapes of their parts."""

    places: list[BatchPlace] = field(default_factory=list)
    axes: list[str] = field(default_factory=list)
    shapes: list[list[tuple[int, ...]]] = field(default_factory=list)

    def add(self, place: BatchPlace, axis0: str, shapes: list[tuple[int, ...]]) -> None:
        """Add one batch."""
        self.places.append(place)
        self.axes.append(axis0)
        self.shapes.append(shapes)

    def call_shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of the values of every call, for a tensor that has no row per example."""
        shapes = []
        for axis0, parts in zip(self.axes, self.shapes, strict=True):
            if len(parts) > 1 or axis0 in (EXAMPLE, NONE):
                shapes += parts
            else:
                shapes += [parts[0][1:]] * parts[0][0]
        return shapes

    def shape(self, axis0: str) -> tuple[int, ...]:
        """Return the shape of all batches together."""
        first = self.shapes[0][0]
        if axis0 == EXAMPLE:
            return (sum(parts[0][0] for parts in self.shapes), *first[1:])
        return first if axis0 == NONE else stacked_shape(self.call_shapes())

    def place_of(self, batch: int, part: str, index: tuple[int, ...], axis0: str) -> tuple[str, tuple[int, ...]]:
        """Return the part and the index in the whole tensor of an element at an index in a part of a batch."""
        place = self.places[batch]
        if axis0 == NONE or not index:
            return "", index
        first, *rest = index
        if axis0 == EXAMPLE:
            return "", (place.start + first, *rest)
        if self.axes[batch] == EXAMPLE:
            call, inside = place.call + first // place.call_size, (first % place.call_size, *rest)
        elif len(self.shapes[batch]) > 1:
            call, inside = place.call + int(part), index
        else:
            call, inside = place.call + first, tuple(rest)
        return ("", (call, *inside)) if len(set(self.call_shapes())) == 1 else (str(call), inside)
