"""What one pass over a tensor, or its stored statistics, reveal. The checks read it."""

from dataclasses import dataclass, field

from tfdump.checks.records import Finding


@dataclass(frozen=True)
class ElementPlace:
    """One element: the number of its example in the input (None if it has none), its index, and its value."""

    example: int | None
    index: tuple[int, ...]
    value: float | None


@dataclass(frozen=True)
class Tally:
    """The number of elements of some kind, None if it is unknown, and the first of them."""

    count: int | None = 0
    first: ElementPlace | None = None

    @property
    def some(self) -> bool:
        """Whether there is at least one."""
        return self.count != 0


NOTHING = Tally()


@dataclass(frozen=True)
class Evidence:
    """What is known about one tensor.

    `tallies` has counts by the name of the check, out of `of` elements or of the number in `totals`. `constant` tells
    whether all of `rows` examples are equal. `dead` lists the units, of `units`, that are always zero; it is None if
    the check does not apply. `overflowed` is the number of infinities that were made when the values were stored.
    """

    name: str
    of: int
    unit: str = "values"
    tallies: dict[str, Tally] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    constant: bool | None = None
    rows: int | None = None
    constant_value: float | None = None
    dead: tuple[int, ...] | None = None
    units: int | None = None
    activation: str | None = None
    overflowed: int = 0
    stored_dtype: str = ""

    def tally(self, check: str) -> Tally:
        """Return the count for a check; an empty one if the check was not made."""
        return self.tallies.get(check, NOTHING)

    def finding(self, check: str, tally: Tally, of: int | None, message: str) -> Finding:
        """Return a finding in this tensor."""
        example, index, value = (
            (tally.first.example, tally.first.index, tally.first.value) if tally.first else [None] * 3
        )
        return Finding(check, self.name, tally.count, of, example, index, value, message)


def share(count: int | None, of: int, noun: str) -> str:
    """Return `3 of 10 values`, or `some of 10 values` if the count is unknown."""
    return f"{'some' if count is None else count} of {of} {noun}"
