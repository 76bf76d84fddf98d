"""The pictures of a report: of as many tensors as fit, those with findings or differences first."""

import importlib.util
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfdump.dump.reader import Dump, Tensor
from tfdump.errors import TfdumpError
from tfdump.process.stages import Progress, silent_progress
from tfdump.report.records import PICTURE_BYTES, Thumbnail

_LARGEST_VALUE = 32 << 20
"""Bytes of one value, above which a picture is not quick."""


@dataclass
class Thumbnails:
    """Pictures by the number of their tensor, why others have none, and notes for the reader."""

    drawn: dict[int, Thumbnail] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def thumbnails_of(
    dump: Dump,
    tensors: Mapping[int, Tensor],
    order: Sequence[int],
    most: int | None,
    progress: Progress = silent_progress,
) -> Thumbnails:
    """Return the pictures of at most `most` tensors (None: of all), taken in this order, and why others have none."""
    found = Thumbnails()
    if most == 0:
        found.reasons = dict.fromkeys(order, "no pictures were asked for")
        return found
    if importlib.util.find_spec("matplotlib") is None:
        found.reasons = dict.fromkeys(order, "pictures need the extra tfdump[plot]")
        found.notes.append("the page has no pictures, which need the extra: pip install 'tfdump[plot]'")
        return found
    undrawable, left, size = 0, [], 0
    for number in order:
        progress(len(found.drawn), len(order) if most is None else min(most, len(order)))
        if most is not None and (len(found.drawn) >= most or size >= PICTURE_BYTES):
            left.append(number)
            continue
        try:
            found.drawn[number] = thumbnail(dump, tensors[number])
            size += len(found.drawn[number].png)
        except TfdumpError as error:
            found.reasons[number] = str(error)
            undrawable += 1
    if undrawable:
        found.notes.append(
            f"{undrawable:,} tensor{'s have' if undrawable > 1 else ' has'} no picture; the details of each tell why"
        )
    if left:
        reason = f"{len(found.drawn):,} of {len(order):,} tensors were drawn (--pictures N|all; tfdump plot draws one)"
        found.reasons |= dict.fromkeys(left, reason)
        found.notes.append(
            f"pictures of {len(found.drawn):,} of {len(order):,} tensors, those with findings or differences first, "
            "then in order (--pictures N|all)"
        )
    return found


def thumbnail(dump: Dump, tensor: Tensor) -> Thumbnail:
    """Draw one tensor as a PNG; raises TfdumpError where no picture can, or where one would take long."""
    from tfdump.plots import need_matplotlib
    from tfdump.plots.drawing import picture_of
    from tfdump.plots.kinds import subject_of
    from tfdump.plots.saving import picture_bytes

    need_matplotlib()
    subject = subject_of(tensor)
    one = int(np.prod([max(1, size) for size in subject.body], dtype=np.int64)) * 8
    if one > _LARGEST_VALUE:
        raise TfdumpError(f"one value of it has {one // 8:,} numbers, too many for a quick picture (tfdump plot)")
    picture = picture_of(dump, tensor)
    png = picture_bytes(picture.figure, "png")
    width, height = struct.unpack(">II", png[16:24])
    return Thumbnail(png, width, height, f"{picture.kind.value} of {tensor.address}", picture.notes)
