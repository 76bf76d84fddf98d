"""A picture of a tensor for every dump of a training, as an animation."""

import math
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from tfdump.dump.series import Series
from tfdump.errors import DumpError
from tfdump.plots.colors import INF_COLOUR, NAN_COLOUR, diverging_map, sequential_map
from tfdump.plots.drawing import View, draw
from tfdump.plots.figure import plain_style
from tfdump.plots.kinds import Kind
from tfdump.plots.pictures.bars import COLOUR as BAR_COLOUR
from tfdump.plots.pictures.curves import COLOURS
from tfdump.plots.pictures.training import notes_on
from tfdump.statistics.series import Followed, follow
from tfdump.tensors import Array

_MILLISECONDS = 400
_MOST_FRAMES = 500


def animate(series: Series, address: str, kind: Kind | None, view: View) -> tuple[bytes, tuple[str, ...]]:
    """Return a GIF with a picture of a tensor for each dump, all on one scale, and what should be said of it.

    Raises TfdumpError as `draw` does, and where there is nothing to animate.
    """
    followed = follow(series, address)
    notes = notes_on(series, followed)
    with_values = [found for found in followed.places if found.connected and found.statistics]
    if len(with_values) < 2:
        raise DumpError(f"{len(with_values)} dump in {series.folder} has values of '{followed.name}': no animation")
    if len(with_values) > _MOST_FRAMES:
        raise DumpError(f"{len(with_values):,} dumps are too many for one animation (at most {_MOST_FRAMES})")
    lows = [_statistic(found, "min") for found in with_values]
    highs = [_statistic(found, "max") for found in with_values]
    finite = [value for value in (*lows, *highs) if math.isfinite(value)]
    limits = (min(finite), max(finite)) if finite else None
    frames = []
    for found in with_values:
        with found.dump.open() as dump:
            said = f"{series.axis} {found.dump.number:,}"
            picture = draw(dump, dump[followed.name], kind, View(**{**vars(view), "limits": limits, "said": said}))
        frames.append(_pixels(picture.figure))
        notes += [note for note in picture.notes if note not in notes]
    return _gif(frames), tuple(notes)


def _statistic(found: Followed, name: str) -> float:
    return float((found.statistics or {}).get(name, math.nan))


def _palette() -> Array:
    """Return 256 colours: both colour maps, those of NaN and infinities, of bars and curves, and greys."""
    shades = np.linspace(0, 1, 100)
    maps = [colour_map(shades)[:, :3] for colour_map in (sequential_map(), diverging_map())]
    single = [to_rgb(colour) for colour in (NAN_COLOUR, INF_COLOUR, BAR_COLOUR, *COLOURS)]
    greys = np.repeat(np.linspace(0, 1, 256 - 200 - len(single))[:, None], 3, axis=1)
    together = np.concatenate([*maps, np.array(single), greys])
    return np.round(together * 255).astype(np.int64)


def _pixels(figure: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(figure)
    with plain_style():
        canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib gives it no types
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # nor this
    return Image.fromarray(pixels[..., :3].copy())


def _gif(frames: Sequence[Image.Image]) -> bytes:
    """Return frames of one size, in a palette that they share, as a GIF that begins anew at its end.

    The palette holds what pictures are made of, so that no shade of a scale is replaced by one far from it.
    """
    size = max(frame.width for frame in frames), max(frame.height for frame in frames)
    colours = _palette()
    sheets = []
    for frame in frames:
        sheet = Image.new("RGB", size, "white")
        sheet.paste(frame)
        sheets.append(_in_palette(np.asarray(sheet), colours))
    stream = BytesIO()
    sheets[0].save(
        stream, "GIF", save_all=True, append_images=sheets[1:], duration=_MILLISECONDS, loop=0, optimize=False
    )
    return stream.getvalue()


def _in_palette(pixels: Array, colours: Array) -> Image.Image:
    """Return an image in which every pixel has the nearest colour of a palette."""
    codes = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    found, inverse = np.unique(codes, return_inverse=True)
    shades = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=-1)
    nearest = np.argmin(((shades[:, None] - colours[None]) ** 2).sum(axis=-1), axis=1)
    image = Image.fromarray(nearest[inverse].reshape(codes.shape).astype(np.uint8), "P")
    image.putpalette([int(value) for value in colours.reshape(-1)])
    return image
