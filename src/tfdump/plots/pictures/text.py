"""A histogram as text, for terminals that show no pictures. Needs no matplotlib."""

from tfdump.statistics.histogram import Histogram

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_NAME = 24
SMALLEST_WIDTH = 40


def text_histogram(histogram: Histogram, width: int = 80, blocks: bool = True) -> str:
    """Return one line per bin, of at most `width` characters: its range, a bar, and its count.

    The longest bar fills the room, and a bin that is not empty has at least a mark. NaN and infinities have separate
    lines. Without `blocks`, bars consist of `#`, for ASCII terminals.
    """
    rows = [(_range(histogram, number), count) for number, count in enumerate(histogram.counts.tolist())]
    odd = (("-Inf", histogram.below), ("+Inf", histogram.above), ("NaN", histogram.nan))
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


def _range(histogram: Histogram, number: int) -> str:
    low, high = float(histogram.edges[number]), float(histogram.edges[number + 1])
    if histogram.whole:
        return f"{round((low + high) / 2):,}"
    return f"{_short(low)} .. {_short(high)}"


def _short(value: float) -> str:
    return f"{value:.4g}"
