"""The records of one run, and loops in one graph whose steps are recorded one by one and stacked."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tfdump.model.free_names import free_name
from tfdump.model.recording.frames import Frame, RecordedTensor

_UNLIKE = "not the same in every step of the loop"


@dataclass
class Book:
    """The records of a run: tensors, addresses of calls that returned some, numbers of calls, and structures."""

    records: list[RecordedTensor] = field(default_factory=list)
    returned: set[str] = field(default_factory=set)
    calls: dict[int, frozenset[int]] = field(default_factory=dict)
    structures: set[str] = field(default_factory=set)

    def further(self) -> "Book":
        """Return a book without records that continues the numbers and structures of this one."""
        return Book(calls=dict(self.calls), structures=set(self.structures))

    def free_structure(self, structure: str) -> str:
        """Return the structure, with `~1`, `~2`, ... behind it where that one is used already; note it as used."""
        free = free_name(structure, self.structures)
        self.structures.add(free)
        return free


StackSteps = Callable[[list[Any]], Callable[[], Any] | None]
"""Returns a function that stacks the tensors of the steps on axis 1, None where they differ."""


class _Holder(Protocol):
    book: Book

    def miss(self, address: str, reason: str) -> None: ...


class RecordedSteps:
    """The steps of a loop within one call; each is recorded as if it were the only one."""

    def __init__(self, holder: _Holder, frame: Frame, stack: StackSteps) -> None:
        self._holder = holder
        self._stack = stack
        self._frame = frame
        self._before = holder.book
        self._calls = dict(frame.calls)
        self._steps: list[Book] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """Record one step."""
        self._frame.calls.clear()
        self._frame.calls.update(self._calls)
        book = self._holder.book = self._before.further()
        try:
            yield
        finally:
            self._holder.book = self._before
            self._steps.append(book)

    def stack(self) -> None:
        """Record the tensors of all steps, stacked on axis 1; report those that only some steps have."""
        if not self._steps:
            return
        by_step = [{record.address: record for record in book.records} for book in self._steps]
        returned = set.intersection(*(book.returned for book in self._steps))
        for address in dict.fromkeys(itertools.chain(*by_step)):
            records = [step[address] for step in by_step if address in step]
            stacked = self._stack([record.tensor for record in records]) if len(records) == len(by_step) else None
            if stacked is None:
                self._holder.miss(address, _UNLIKE)
                returned.discard(address)
            else:
                self._before.records.append(replace(records[0], tensor=stacked(), stacked=True))
        self._before.returned |= returned
        self._before.calls = self._steps[-1].calls
        self._before.structures = self._steps[-1].structures
