"""What tests of pictures share: the pixels of axes, and texts that lie over each other."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def pixels(figure: Figure, number: int = 0) -> np.ndarray:
    """The RGBA bytes of the only image of some axes."""
    (image,) = figure.axes[number].images
    return np.asarray(image.get_array())


def cells(figure: Figure, rows: int, columns: int, number: int = 0) -> np.ndarray:
    """The colour in the middle of each cell of an image."""
    shown = pixels(figure, number)
    down = ((np.arange(rows) + 0.5) * shown.shape[0] / rows).astype(int)
    across = ((np.arange(columns) + 0.5) * shown.shape[1] / columns).astype(int)
    return shown[down][:, across]


def texts(figure: Figure) -> list[str]:
    """All that is written."""
    return [found.get_text() for found in figure.findobj(Text) if found.get_visible() and found.get_text().strip()]


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, with the pixels that it takes."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    drawn = [*figure.texts]
    for axes in figure.axes:
        legend = axes.get_legend()
        drawn += [*axes.texts, *(legend.get_texts() if legend else [])]
        if not axes.axison:
            continue
        drawn += [axes.title, axes._left_title, axes._right_title]
        for axis in (axes.xaxis, axes.yaxis):
            drawn += [axis.label, axis.get_offset_text()]
            for tick in axis._update_ticks():
                drawn += [label for label in (tick.label1, tick.label2) if label.get_visible()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in drawn if text.get_text().strip()]


def trouble(figure: Figure) -> list[str]:
    """Texts that leave the figure, and pairs that lie over each other."""
    wide, high = figure.canvas.get_width_height()
    found, placed = [], boxes(figure)
    for number, (text, box) in enumerate(placed):
        if box.x0 < -1 or box.y0 < -1 or box.x1 > wide + 1 or box.y1 > high + 1:
            found.append(f"{text!r} leaves the figure: {box} of {wide} x {high}")
        for other, its in placed[number + 1 :]:
            across = min(box.x1, its.x1) - max(box.x0, its.x0)
            if across > 1.5 and min(box.y1, its.y1) - max(box.y0, its.y0) > 1.5:
                found.append(f"{text!r} lies over {other!r}")
    return found
