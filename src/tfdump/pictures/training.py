"""A tensor through a folder of dumps: curves over the training, and pictures of every dump as an animation."""

import math
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from tfdump.analysis.following import Followed, Following, follow
from tfdump.dump import layout
from tfdump.dump.series import Series, locate
from tfdump.errors import DumpError
from tfdump.pictures.bars import COLOUR as BAR_COLOUR
from tfdump.pictures.choice import Kind
from tfdump.pictures.colours import INF_COLOUR, NAN_COLOUR, diverging_map, sequential_map
from tfdump.pictures.curves import COLOURS, Band, Line, curve
from tfdump.pictures.drawing import Picture, View, draw
from tfdump.pictures.figure import Caption, plain_style

_MILLISECONDS = 400
_MOST_FRAMES = 500


def over_training(series: Series, address: str, scale: bool) -> Picture:
    """Return how a tensor changes over a training: its range, mean and standard deviation.

    With `scale`, or where nothing else is known, its L2 norm (of a gradient), or its root mean square and standard
    deviation. Raises DumpError for a tensor that no dump has, or of which none has a size.
    """
    followed = follow(series, address)
    notes = _notes(series, followed)
    known = [found for found in followed.found if found.statistics or found.norm is not None]
    if not known:
        raise DumpError(f"no dump in {series.folder} has values, statistics or norms of '{followed.name}'")
    if len(known) < len(followed.found):
        notes.append(f"{len(followed.found) - len(known)} of {len(followed.found)} dumps have no values of it")
    details = (f"{known[0].dtype}, {len(known):,} dumps", f"{series.folder.name}")
    caption = Caption(followed.name.removeprefix(f"{layout.ACTIVATIONS}/"), details, tuple(notes))
    places = [found.dump.number for found in known]
    distributed = all(found.statistics for found in known)
    with plain_style():
        if distributed and not scale:
            names = ("max", "mean", "min")
            lines = [Line(name, np.array([_of(found, name) for found in known])) for name in names]
            mean, std = lines[1].values, np.array([_of(found, "std") for found in known])
            band = Band("mean and standard deviation", mean - std, mean + std)
            figure = curve(lines, caption, series.axis, "value", places, band=band)
        else:
            sizes = _sizes(followed.name, known)
            figure = curve(sizes, caption, series.axis, sizes[0].name if len(sizes) == 1 else "size", places)
    return Picture(figure, Kind.CURVE, tuple(notes))


def animate(series: Series, address: str, kind: Kind | None, view: View) -> tuple[bytes, tuple[str, ...]]:
    """Return a GIF with a picture of a tensor for each dump, all on one scale, and what should be said of it.

    Raises TfdumpError as `draw` does, and where there is nothing to animate.
    """
    followed = follow(series, address)
    located = locate(series, address)
    notes = _notes(series, followed)
    with_values = [found for found in followed.found if found.connected and found.statistics]
    if len(with_values) < 2:
        raise DumpError(f"{len(with_values)} dump in {series.folder} has values of '{located.name}': no animation")
    if len(with_values) > _MOST_FRAMES:
        raise DumpError(f"{len(with_values):,} dumps are too many for one animation (at most {_MOST_FRAMES})")
    lows = [_of(found, "min") for found in with_values]
    highs = [_of(found, "max") for found in with_values]
    finite = [value for value in (*lows, *highs) if math.isfinite(value)]
    limits = (min(finite), max(finite)) if finite else None
    frames = []
    for found in with_values:
        with found.dump.open() as dump:
            said = f"{series.axis} {found.dump.number:,}"
            picture = draw(dump, dump[located.name], kind, View(**{**vars(view), "limits": limits, "said": said}))
        frames.append(_pixels(picture.figure))
        notes += [note for note in picture.notes if note not in notes]
    return _gif(frames), tuple(notes)


def _sizes(name: str, found: Sequence[Followed]) -> list[Line]:
    if name.startswith(f"{layout.GRADIENTS}/"):
        norms = [item.norm if item.norm is not None else _of(item, "l2") for item in found]
        return [Line("L2 norm of the gradient", np.array(norms))]
    if not all(item.statistics for item in found):
        return [Line("L2 norm", np.array([item.norm or math.nan for item in found]))]
    rms = [_of(item, "l2") / math.sqrt(max(1.0, _finite(item))) for item in found]
    return [
        Line("root mean square", np.array(rms)),
        Line("standard deviation", np.array([_of(item, "std") for item in found])),
    ]


def _of(found: Followed, name: str) -> float:
    return float((found.statistics or {}).get(name, math.nan))


def _finite(found: Followed) -> float:
    return _of(found, "count") - _of(found, "nan") - _of(found, "inf")


def _notes(series: Series, followed: Following) -> list[str]:
    notes = [f"skipped: {skipped.reason}" for skipped in series.skipped]
    if followed.without:
        count = len(followed.without)
        notes.append(f"{followed.name} is not in {count} of {count + len(followed.found)} dumps")
    return notes


def _palette() -> list[int]:
    """Return 256 colours: both colour maps, those of NaN and infinities, of bars and curves, and greys."""
    shades = np.linspace(0, 1, 100)
    maps = [colour_map(shades)[:, :3] for colour_map in (sequential_map(), diverging_map())]
    single = [to_rgb(colour) for colour in (NAN_COLOUR, INF_COLOUR, BAR_COLOUR, *COLOURS)]
    greys = np.repeat(np.linspace(0, 1, 256 - 200 - len(single))[:, None], 3, axis=1)
    together = np.concatenate([*maps, np.array(single), greys])
    return [int(value) for value in np.round(together * 255).reshape(-1)]


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
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette())
    size = max(frame.width for frame in frames), max(frame.height for frame in frames)
    sheets = []
    for frame in frames:
        sheet = Image.new("RGB", size, "white")
        sheet.paste(frame)
        sheets.append(sheet.quantize(palette=palette, dither=Image.Dither.NONE))
    stream = BytesIO()
    sheets[0].save(
        stream, "GIF", save_all=True, append_images=sheets[1:], duration=_MILLISECONDS, loop=0, optimize=False
    )
    return stream.getvalue()
