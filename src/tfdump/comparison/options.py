"""The options of a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfdump.comparison.rule import Criteria
from tfdump.errors import TfdumpError

NAMES_ONLY, BY_VALUE = "names", "values"
PAIRINGS = (NAMES_ONLY, BY_VALUE)
"""What tensors are paired by: their names, or their values too."""


@dataclass(frozen=True)
class DiffOptions:
    """What is compared, and what counts as a difference; the fields are the arguments of `diff`."""

    criteria: Criteria = field(default_factory=Criteria)
    check_attrs: bool = False
    allow_missing: bool = False
    ignore: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    transpose: tuple[tuple[str, tuple[int, ...]], ...] = ()
    pair: str = BY_VALUE
    ignore_ids: bool = False

    def check(self) -> None:
        """Raise TfdumpError for options that cannot be combined or are not known."""
        self.criteria.check()
        if self.pair not in PAIRINGS:
            raise TfdumpError(f"pair '{self.pair}' is not one of {', '.join(PAIRINGS)}")
