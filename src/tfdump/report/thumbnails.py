"""The pictures of a report, of tensors with findings or differences first."""

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
"""Bytes of one value above which drawing takes too long."""


@dataclass
class Thumbnails:
    """Pictures by the number of their tensor, the reasons why others have none, and notes for the reader."""

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
    """Return the pictures of at most `most` tensors (None: of all) in this order, and why others have none."""
    thumbnails = Thumbnails()
    if most == 0:
        thumbnails.reasons = dict.fromkeys(order, "--pictures none leaves pictures out")
        return thumbnails
    if importlib.util.find_spec("matplotlib") is None:
        thumbnails.reasons = dict.fromkeys(order, "pictures need the extra tfdump[plot]")
        thumbnails.notes.append("the page has no pictures, which need an extra: pip install 'tfdump[plot]'")
        return thumbnails
    undrawable, undrawn, size = 0, [], 0
    for number in order:
        progress(len(thumbnails.drawn), len(order) if most is None else min(most, len(order)))
        if most is not None and (len(thumbnails.drawn) >= most or size >= PICTURE_BYTES):
            undrawn.append(number)
            continue
        try:
            thumbnails.drawn[number] = thumbnail(dump, tensors[number])
            size += len(thumbnails.drawn[number].png)
        except TfdumpError as error:
            thumbnails.reasons[number] = str(error)
            undrawable += 1
    if undrawable:
        having = "tensors have" if undrawable > 1 else "tensor has"
        thumbnails.notes.append(f"{undrawable:,} {having} no picture; the details of each give the reason")
    if undrawn:
        share = f"{len(thumbnails.drawn):,} of {len(order):,} tensors"
        reason = f"the page has pictures of {share} (--pictures all draws every one, tfdump plot draws one)"
        thumbnails.reasons |= dict.fromkeys(undrawn, reason)
        thumbnails.notes.append(
            f"the page has pictures of {share}, those with findings or differences first (--pictures N|all draws more)"
        )
    return thumbnails


def thumbnail(dump: Dump, tensor: Tensor) -> Thumbnail:
    """Return the picture of one tensor as a PNG; raises TfdumpError where there is none, or drawing takes too long."""
    from tfdump.plots import need_matplotlib
    from tfdump.plots.drawing import picture_of
    from tfdump.plots.kinds import subject_of
    from tfdump.plots.saving import picture_bytes

    need_matplotlib()
    subject = subject_of(tensor)
    one = int(np.prod([max(1, size) for size in subject.body], dtype=np.int64)) * 8
    if one > _LARGEST_VALUE:
        raise TfdumpError(f"one value has {one // 8:,} numbers, too many for a quick picture (tfdump plot draws it)")
    picture = picture_of(dump, tensor)
    png = picture_bytes(picture.figure, "png")
    width, height = struct.unpack(">II", png[16:24])
    return Thumbnail(png, width, height, f"{picture.kind.value} of {tensor.address}", picture.notes)
