"""A histogram in characters, for terminals that show no pictures. Needs no matplotlib."""

from tfdump.statistics.histogram import Histogram

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_NAME = 24
SMALLEST_WIDTH = 40


def text_histogram(found: Histogram, width: int = 80, blocks: bool = True) -> str:
    """Return a line a bin: its range, a bar, and its count, in lines of at most `width` characters.

    Bars are as long as the counts, the longest as wide as there is room; a bin that is not empty has at least a mark.
    NaN and infinities have lines of their own. Without `blocks`, bars are of `#`, for terminals of ASCII.
    """
    rows = [(_range(found, number), count) for number, count in enumerate(found.counts.tolist())]
    odd = (("-Inf", found.below), ("+Inf", found.above), ("NaN", found.nan))
    rows += [(name, count) for name, count in odd if count]
    if not rows:
        return "no values\n"
    names = max(len(name) for name, _ in rows)
    numbers = max(len(f"{count:,}") for _, count in rows)
    room = max(4, max(width, SMALLEST_WIDTH) - names - numbers - 4)
    most = max(count for _, count in rows)
    lines = [f"{name:>{names}}  {_bar(count, most, room, blocks)}  {count:>{numbers},}" for name, count in rows]
    return "\n".join(lines) + "\n"


def _bar(count: int, most: int, room: int, blocks: bool) -> str:
    """Return a bar of `room` characters, in eighths of one."""
    if not blocks:
        return ("#" * (max(1, count * room // most) if count else 0)).ljust(room)
    eighths = max(1, count * room * 8 // most) if count else 0
    full, part = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[part] if part else "")).ljust(room)


def _range(found: Histogram, number: int) -> str:
    low, high = float(found.edges[number]), float(found.edges[number + 1])
    if found.whole:
        return f"{round((low + high) / 2):,}"
    return f"{_short(low)} .. {_short(high)}"


def _short(value: float) -> str:
    return f"{value:.4g}"
