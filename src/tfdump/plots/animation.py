"""An animation of a tensor over a training: one frame per dump."""

import math
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from tfdump.dump.series import Series
from tfdump.errors import DumpError
from tfdump.plots.colors import INF_COLOR, NAN_COLOR, diverging_map, sequential_map
from tfdump.plots.drawing import picture_of
from tfdump.plots.figure import plain_style
from tfdump.plots.kinds import Kind
from tfdump.plots.pictures.bars import COLOR as BAR_COLOR
from tfdump.plots.pictures.curves import COLORS
from tfdump.plots.pictures.training import series_notes
from tfdump.plots.view_options import ViewOptions
from tfdump.statistics.series import SeriesEntry, follow
from tfdump.tensors import Array

_MILLISECONDS = 400
_MOST_FRAMES = 500


def animation_of(series: Series, address: str, kind: Kind | None, view: ViewOptions) -> tuple[bytes, tuple[str, ...]]:
    """Return a GIF with one frame per dump, all on one scale, and notes for the user.

    Raises TfdumpError as `picture_of` does, and where fewer than two dumps have values of the tensor.
    """
    followed = follow(series, address)
    notes = series_notes(series, followed)
    with_values = [item for item in followed.places if item.connected and item.statistics]
    if len(with_values) < 2:
        raise DumpError(_too_few(len(with_values), series, followed.name))
    if len(with_values) > _MOST_FRAMES:
        raise DumpError(f"{len(with_values):,} dumps are too many for one animation (at most {_MOST_FRAMES})")
    lows = [_statistic(item, "min") for item in with_values]
    highs = [_statistic(item, "max") for item in with_values]
    finite = [value for value in (*lows, *highs) if math.isfinite(value)]
    limits = (min(finite), max(finite)) if finite else None
    frames = []
    for item in with_values:
        with item.dump.open() as dump:
            moment = f"{series.axis} {item.dump.number:,}"
            options = replace(view, limits=limits, moment=moment)
            picture = picture_of(dump, dump[followed.name], kind, options)
        frames.append(_pixels(picture.figure))
        notes += [note for note in picture.notes if note not in notes]
    return _gif(frames), tuple(notes)


def _too_few(count: int, series: Series, name: str) -> str:
    having = "no dump has" if not count else "only one dump has"
    return f"{having} values of '{name}' in {series.folder} (an animation needs two)"


def _statistic(followed: SeriesEntry, name: str) -> float:
    return float((followed.statistics or {}).get(name, math.nan))


def _palette() -> Array:
    """Return 256 colors: both color maps, the colors of NaN, infinities, bars and curves, and grays."""
    shades = np.linspace(0, 1, 100)
    maps = [color_map(shades)[:, :3] for color_map in (sequential_map(), diverging_map())]
    single = [to_rgb(color) for color in (NAN_COLOR, INF_COLOR, BAR_COLOR, *COLORS)]
    grays = np.repeat(np.linspace(0, 1, 256 - 200 - len(single))[:, None], 3, axis=1)
    together = np.concatenate([*maps, np.array(single), grays])
    return np.round(together * 255).astype(np.int64)


def _pixels(figure: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(figure)
    with plain_style():
        canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no types for it
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # nor this
    return Image.fromarray(pixels[..., :3].copy())


def _gif(frames: Sequence[Image.Image]) -> bytes:
    """Return frames as a GIF that repeats; they get one size and one palette.

    The palette holds the colors that pictures are made of, so that no shade of a scale moves far.
    """
    size = max(frame.width for frame in frames), max(frame.height for frame in frames)
    colors = _palette()
    sheets = []
    for frame in frames:
        sheet = Image.new("RGB", size, "white")
        sheet.paste(frame)
        sheets.append(_in_palette(np.asarray(sheet), colors))
    stream = BytesIO()
    sheets[0].save(
        stream, "GIF", save_all=True, append_images=sheets[1:], duration=_MILLISECONDS, loop=0, optimize=False
    )
    return stream.getvalue()


def _in_palette(pixels: Array, colors: Array) -> Image.Image:
    """Return an image in which every pixel has the nearest color of a palette."""
    codes = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    unique_codes, inverse = np.unique(codes, return_inverse=True)
    shades = np.stack([unique_codes >> 16, unique_codes >> 8 & 255, unique_codes & 255], axis=-1)
    nearest = np.argmin(((shades[:, None] - colors[None]) ** 2).sum(axis=-1), axis=1)
    image = Image.fromarray(nearest[inverse].reshape(codes.shape).astype(np.uint8), "P")
    image.putpalette([int(value) for value in colors.reshape(-1)])
    return image
