"""What one pass over a tensor, or its stored statistics, tell; the checks read it."""

from dataclasses import dataclass, field

from tfdump.checks.records import Finding


@dataclass(frozen=True)
class ElementPlace:
    """One element: its example's number in the input (None where it has none), its index, and its value."""

    example: int | None
    index: tuple[int, ...]
    value: float | None


@dataclass(frozen=True)
class Tally:
    """How many elements are of a kind, None where that is unknown, and the first of them."""

    count: int | None = 0
    first: ElementPlace | None = None

    @property
    def some(self) -> bool:
        """Whether there is at least one."""
        return self.count != 0


NOTHING = Tally()


@dataclass(frozen=True)
class Evidence:
    """What is known of one tensor.

    `tallies` has what was counted, by the name of the check: of `of` elements, or of those that `totals` names.
    `constant` tells whether all of `rows` examples agree, `dead` lists the units of `units` that are always zero;
    None where the tensor is not asked. `overflowed` counts the infinities that storing the values made.
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
        """Return what was counted for a check; nothing where it was not made."""
        return self.tallies.get(check, NOTHING)

    def finding(self, check: str, tally: Tally, of: int | None, message: str) -> Finding:
        """Return a finding in this tensor."""
        example, index, value = (
            (tally.first.example, tally.first.index, tally.first.value) if tally.first else [None] * 3
        )
        return Finding(check, self.name, tally.count, of, example, index, value, message)


def share(count: int | None, of: int, noun: str) -> str:
    """Return `3 of 10 values`, or `some of 10 values` where the count is unknown."""
    return f"{'some' if count is None else count} of {of} {noun}"
