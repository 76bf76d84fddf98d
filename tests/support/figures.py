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
    """The color in the middle of each cell of an image."""
    image = pixels(figure, number)
    down = ((np.arange(rows) + 0.5) * image.shape[0] / rows).astype(int)
    across = ((np.arange(columns) + 0.5) * image.shape[1] / columns).astype(int)
    return image[down][:, across]


def texts(figure: Figure) -> list[str]:
    """All that is written."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, with the pixels that it takes."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    labels = [*figure.texts]
    for axes in figure.axes:
        legend = axes.get_legend()
        labels += [*axes.texts, *(legend.get_texts() if legend else [])]
        if not axes.axison:
            continue
        labels += [axes.title, axes._left_title, axes._right_title]
        for axis in (axes.xaxis, axes.yaxis):
            labels += [axis.label, axis.get_offset_text()]
            for tick in axis._update_ticks():
                labels += [label for label in (tick.label1, tick.label2) if label.get_visible()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in labels if text.get_text().strip()]


def trouble(figure: Figure) -> list[str]:
    """Texts that leave the figure, and pairs that lie over each other."""
    wide, high = figure.canvas.get_width_height()
    problems, placed = [], boxes(figure)
    for number, (text, box) in enumerate(placed):
        if box.x0 < -1 or box.y0 < -1 or box.x1 > wide + 1 or box.y1 > high + 1:
            problems.append(f"{text!r} leaves the figure: {box} of {wide} x {high}")
        for other, its in placed[number + 1 :]:
            across = min(box.x1, its.x1) - max(box.x0, its.x0)
            if across > 1.5 and min(box.y1, its.y1) - max(box.y0, its.y0) > 1.5:
                problems.append(f"{text!r} lies over {other!r}")
    return problems
