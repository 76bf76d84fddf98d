"""Every kind of picture draws the numbers that it is given, and writes where they come from."""

import re

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from support.figures import cells, pixels, texts, trouble
from tfdump.errors import TfdumpError
from tfdump.plots.colors import NAN_COLOR, scale_of
from tfdump.plots.figure import Caption, plain_style, short_name, whole_ticks
from tfdump.plots.pictures.attention import attention_figure
from tfdump.plots.pictures.bars import bars_figure
from tfdump.plots.pictures.curves import Band, Line, curves_figure
from tfdump.plots.pictures.depth import Panel, Points, depth_figure
from tfdump.plots.pictures.feature_maps import feature_maps_figure
from tfdump.plots.pictures.heatmap import MatrixSide, heatmap_figure
from tfdump.plots.pictures.histogram import histogram_figure
from tfdump.plots.pictures.kernels import kernels_figure
from tfdump.plots.pictures.saliency import saliency_figure
from tfdump.statistics.histogram import histogram_of

RANDOM = np.random.default_rng(5)
CAPTION = Caption("block.conv", ("activations, Conv2D, (3, 4, 5, 6) float32", "example 0 of 3, d.h5"), ("a note",))
LONG = ".".join(["encoder", "transformer_block_eleven", "self_attention_with_a_very_long_name", "projection"] * 2)
NUMBERS = [str(n) for n in range(200)]


def viridis(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return matplotlib.colormaps["viridis"]((values - low) / (high - low), bytes=True)


def test_maps_draw_every_channel_as_a_labeled_tile() -> None:
    values = RANDOM.random((4, 5, 6))
    with plain_style():
        figure = feature_maps_figure(values, [str(n) for n in range(6)], CAPTION)
    canvas, expected = pixels(figure), viridis(values)
    labels = [text for text in figure.axes[0].texts if text.get_text().isdigit()]
    assert [label.get_text() for label in labels] == ["0", "1", "2", "3", "4", "5"]
    factor = 320 // 5
    for channel, label in enumerate(labels):
        left, bottom = (round(place) for place in label.get_position())
        tile = canvas[bottom + 3 : bottom + 3 + 4 * factor, left : left + 5 * factor]
        np.testing.assert_array_equal(tile[factor // 2 :: factor, factor // 2 :: factor], expected[:, :, channel])
    assert {"block.conv", "a note", "activation"} <= set(texts(figure))
    assert "each tile: 4 rows (down) x 5 columns (across), labeled with its channel" in texts(figure)


def test_a_grid_of_2048_channels_counts_them_along_the_side() -> None:
    with plain_style():
        figure = feature_maps_figure(RANDOM.random((2, 2, 2048)), [str(n) for n in range(2048)], CAPTION)
        assert trouble(figure) == []
    labels = [int(text.get_text()) for text in figure.axes[0].texts]
    assert labels[:3] == [0, 64, 128]
    assert len(labels) == 32


def test_too_many_tiles_are_refused_with_what_to_do() -> None:
    with plain_style(), pytest.raises(TfdumpError, match=re.escape("(draw fewer with --channels START:STOP)")):
        feature_maps_figure(np.zeros((1, 1, 400_000)), ["0"] * 400_000, CAPTION)


def test_heat_draws_rows_and_columns() -> None:
    values = RANDOM.normal(size=(7, 9))
    with plain_style():
        figure = heatmap_figure(values, MatrixSide("position", 10), MatrixSide("unit"), CAPTION)
    np.testing.assert_array_equal(cells(figure, 7, 9), scale_of(values).colors(values))
    axes = figure.axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("position", "unit")
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["10", "11"]


def test_heat_of_more_cells_than_pixels_keeps_the_spike_and_says_so() -> None:
    values = np.zeros((5000, 40))
    values[3333, 20] = 9
    with plain_style():
        figure = heatmap_figure(values, MatrixSide("position"), MatrixSide("unit"), CAPTION)
    assert len(np.unique(pixels(figure).reshape(-1, 4), axis=0)) == 2
    assert "each pixel shows the value of the largest magnitude among 8 of 5,000 rows" in texts(figure)


def test_attention_has_axes_for_every_head_named_by_tokens() -> None:
    values = RANDOM.random((3, 2, 4))
    with plain_style():
        figure = attention_figure(values, ["head 0", "head 4", "head 7"], CAPTION, ["a", "b"], ["w", "x", "y", "$z$"])
        assert trouble(figure) == []
    expected = matplotlib.colormaps["viridis"](values / values.max(), bytes=True)
    for number, name in enumerate(["head 0", "head 4", "head 7"]):
        axes = figure.axes[number]
        np.testing.assert_array_equal(cells(figure, 2, 4, number), expected[number])
        assert axes.get_title(loc="left") == name
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["w", "x", "y", "$z$"]
        assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]


def test_bars_have_the_heights_of_the_values_and_marks_for_the_others() -> None:
    values = np.array([1.0, -2.0, np.nan, 0.5, -np.inf])
    with plain_style():
        figure = bars_figure(values, CAPTION)
    axes = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1.0, -2.0, 0.0, 0.5, 0.0]
    marks = {line.get_marker(): line for line in axes.lines if line.get_marker() not in ("None", None, "")}
    assert marks["X"].get_xdata().tolist() == [2]
    assert to_hex(marks["X"].get_color()) == NAN_COLOR
    assert marks["v"].get_xdata().tolist() == [4]
    assert "NaN (1 of 5)" in texts(figure)
    assert "Inf (0 positive, 1 negative)" in texts(figure)


def test_many_bars_are_an_outline_of_all_of_them() -> None:
    values = RANDOM.normal(size=4096)
    with plain_style():
        figure = bars_figure(values, CAPTION)
    (steps,) = figure.axes[0].patches
    np.testing.assert_array_equal(steps.get_data().values, values)


def test_tiles_are_rows_of_inputs_and_columns_of_filters() -> None:
    values = RANDOM.normal(size=(3, 2, 4, 5))
    with plain_style():
        figure = kernels_figure(values, list("abcd"), list("vwxyz"), CAPTION)
        assert trouble(figure) == []
    canvas, expected = pixels(figure), scale_of(values).colors(values)
    where = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    for row, below in enumerate("abcd"):
        for column, right in enumerate("vwxyz"):
            middle = int(where[below][1]), int(where[right][0])  # of the tile, which is where the second row is
            np.testing.assert_array_equal(canvas[middle[0], middle[1] - 2], expected[1, 0, row, column])
            np.testing.assert_array_equal(canvas[middle[0], middle[1] + 2], expected[1, 1, row, column])


def test_saliency_shows_the_largest_magnitude_and_blends_it_over_the_input() -> None:
    gradient = RANDOM.normal(size=(4, 6, 3))
    gradient[0, 0] = 0
    picture = RANDOM.random((4, 6, 1))
    with plain_style():
        figure = saliency_figure(gradient, CAPTION, picture)
        assert trouble(figure) == []
    strength = np.abs(gradient).max(axis=-1)
    expected = matplotlib.colormaps["viridis"](strength / strength.max(), bytes=True)
    np.testing.assert_array_equal(cells(figure, 4, 6, 1), expected)
    gray = np.round((picture[..., 0] - picture.min()) / np.ptp(picture) * 255)
    np.testing.assert_allclose(cells(figure, 4, 6, 0)[..., 0], gray, atol=1)
    blended = cells(figure, 4, 6, 2)
    strongest = np.unravel_index(strength.argmax(), strength.shape)
    np.testing.assert_array_equal(blended[strongest], expected[strongest])
    np.testing.assert_allclose(blended[0, 0, :3], gray[0, 0], atol=1)


def test_saliency_alone_is_one_image() -> None:
    with plain_style():
        assert len(saliency_figure(RANDOM.normal(size=(4, 6)), CAPTION).axes) == 2, "the image and its bar"


def test_curves_draw_their_values_and_mark_the_others() -> None:
    values = np.array([5.0, 1.0, np.nan, 0.01])
    with plain_style():
        figure = curves_figure([Line("loss", values)], CAPTION, "epoch", "loss", [2, 4, 6, 8])
    axes = figure.axes[0]
    line, mark = axes.lines
    assert line.get_xdata().tolist() == [2, 4, 6, 8]
    np.testing.assert_array_equal(line.get_ydata(), values)
    assert mark.get_xdata().tolist() == [6]
    assert (axes.get_xlabel(), axes.get_yscale()) == ("epoch", "log")


def test_curves_of_several_have_a_legend_and_a_band() -> None:
    lines = [Line("max", np.array([3.0, 4])), Line("min", np.array([-1.0, 0]))]
    band = Band("std", np.array([0.0, 0]), np.array([1.0, 1]))
    with plain_style():
        figure = curves_figure(lines, CAPTION, "step", "value", band=band)
        assert trouble(figure) == []
    axes = figure.axes[0]
    assert axes.get_yscale() == "linear"
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"max", "min", "std"}
    assert len(axes.collections) == 1


@pytest.mark.parametrize("values", [np.full(3, np.nan), np.zeros(3), np.array([2.0]), np.full(2, -np.inf)])
def test_curves_of_odd_values_are_drawn(values: np.ndarray) -> None:
    with plain_style():
        assert trouble(curves_figure([Line("x", values)], CAPTION, "step", "y")) == []


def test_a_histogram_has_the_counts_of_numpy_and_bars_for_the_others() -> None:
    values = np.concatenate([RANDOM.normal(size=1000), [np.nan] * 3, [np.inf], [-np.inf] * 2])
    with plain_style():
        figure = histogram_figure(histogram_of(lambda: [values]), CAPTION, "activation")
        assert trouble(figure) == []
    main, beside = figure.axes
    counts, edges = np.histogram(values[np.isfinite(values)], 64)
    np.testing.assert_array_equal([bar.get_height() for bar in main.patches], counts)
    np.testing.assert_allclose([bar.get_x() for bar in main.patches], edges[:-1])
    assert [bar.get_height() for bar in beside.patches] == [2, 1, 3]
    assert [tick.get_text() for tick in beside.get_xticklabels()] == ["-Inf", "+Inf", "NaN"]
    assert to_hex(beside.patches[2].get_facecolor()) == NAN_COLOR


@pytest.mark.parametrize("values", [np.full(5, np.nan), np.full(5, 2.5), np.zeros(4), np.array([True, False, True])])
def test_a_histogram_of_one_value_or_none_is_drawn(values: np.ndarray) -> None:
    with plain_style():
        figure = histogram_figure(histogram_of(lambda: [values]), CAPTION)
        assert trouble(figure) == []


def test_depth_draws_every_layer_and_names_as_many_as_have_room() -> None:
    names = [f"stage_{n}.block.layer_with_a_long_name_{n}.kernel" for n in range(300)]
    norms = 10.0 ** -np.arange(300)
    norms[[7, 8]] = 0.0, np.nan
    odd = np.zeros(300, bool)
    odd[8] = True
    panel = Panel("gradients", "norm", names, [Points("L2 norm", norms)], odd, (20, "first divergence: here"))
    with plain_style():
        figure = depth_figure([panel, panel], Caption("d.h5"))
        assert trouble(figure) == []
    axes = figure.axes[0]
    drawn = axes.lines[0]
    np.testing.assert_array_equal(drawn.get_xdata(), np.arange(300))
    np.testing.assert_array_equal(drawn.get_ydata(), np.where(norms == 0, np.nan, norms))  # broken at 7 and at 8
    assert axes.lines[1].get_xdata().tolist() == [7], "zero"
    assert axes.lines[2].get_xdata().tolist() == [8], "NaN"
    assert "300 tensors in the order of execution (every 3rd is named)" in axes.get_xlabel()
    assert "first divergence: here" in texts(figure)


def test_a_line_of_depth_leads_over_layers_of_another_kind_and_breaks_at_nan() -> None:
    """Kernels 1, NaN and 3, with vectors between them."""
    kernels = np.array([1.0, np.nan, np.nan, np.nan, 3.0])
    panel = Panel("gradients", "norm", list("abcde"), [
        Points("kernels", kernels, belongs=np.array([True, False, True, False, True])),
        Points("vectors", np.array([np.nan, 2.0, np.nan, 2.5, np.nan]), joined=False),
    ], np.array([False, False, True, False, False]))  # fmt: skip
    with plain_style():
        figure = depth_figure([panel], Caption("d.h5"))
    line, dots, odd = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), [0, 2, 4])
    np.testing.assert_array_equal(line.get_ydata(), [1, np.nan, 3])
    assert np.nanmax(dots.get_ydata()) == 2.5
    assert odd.get_xdata().tolist() == [2]
    assert "holds NaN or Inf" in texts(figure)


@pytest.mark.parametrize(
    "draw",
    [
        lambda c: feature_maps_figure(RANDOM.random((1, 1, 1)), ["0"], c),
        lambda c: feature_maps_figure(np.full((5, 5, 4), np.nan), list("0123"), c),
        lambda c: feature_maps_figure(RANDOM.random((9, 2, 70)), [f"{n}:{n}" for n in range(70)], c),
        lambda c: heatmap_figure(np.full((3, 5), np.inf), MatrixSide("example"), MatrixSide("unit"), c),
        lambda c: heatmap_figure(RANDOM.normal(size=(1, 1)), MatrixSide("example"), MatrixSide("unit"), c),
        lambda c: heatmap_figure(RANDOM.normal(size=(300, 2)), MatrixSide("example"), MatrixSide("unit"), c),
        lambda c: heatmap_figure(
            RANDOM.normal(size=(5, 9)), MatrixSide("row", ["1,000", "7", "20,000", "1", "2"]), MatrixSide("unit"), c
        ),
        lambda c: heatmap_figure(RANDOM.normal(size=(100_000, 3)), MatrixSide("position"), MatrixSide("unit"), c),
        lambda c: attention_figure(RANDOM.random((16, 300, 300)), [f"head {n}" for n in range(16)], c),
        lambda c: attention_figure(RANDOM.random((1, 1, 1)), ["head 0"], c),
        lambda c: attention_figure(RANDOM.random((2, 40, 40)), ["head 0", "head 1"], c, [LONG] * 40, [LONG] * 40),
        lambda c: bars_figure(np.array([1.0]), c),
        lambda c: bars_figure(RANDOM.normal(size=30), c, labels=[LONG] * 30),
        lambda c: bars_figure(np.zeros(5_000), c),
        lambda c: kernels_figure(RANDOM.normal(size=(3, 3, 32, 32)), NUMBERS[:32], NUMBERS[:32], c),
        lambda c: kernels_figure(RANDOM.normal(size=(1, 7, 2, 200)), ["0", "1"], NUMBERS, c),
        lambda c: saliency_figure(np.full((1, 1, 1), np.nan), c, np.zeros((1, 1, 1))),
        lambda c: saliency_figure(RANDOM.normal(size=(300, 500, 3)), c, RANDOM.random((300, 500, 3))),
    ],
)  # fmt: skip
def test_no_text_lies_over_another_or_leaves_the_figure(draw: object) -> None:
    caption = Caption(LONG + " 層 $x$", ("some detail " * 20, "example 0"), ("a long note " * 30, "another"))
    with plain_style():
        assert trouble(draw(caption)) == []  # type: ignore[operator]


def test_the_look_for_trouble_finds_some() -> None:
    with plain_style():
        figure = bars_figure(np.arange(3.0), CAPTION)
        figure.text(0.02, 0.98, "over the title", va="top")
        figure.text(0.99, 0.5, "out of the figure")
        assert len(trouble(figure)) >= 2


def test_names_are_shortened_in_the_middle() -> None:
    assert short_name("short", 24) == "short"
    assert short_name("encoder.block.dense.kernel", 12) == "enco…kernel"[:4] + "…" + "s.kernel"[-7:]
    assert len(short_name(LONG, 24)) == 24
    assert short_name("層", 24) == "\\u5c64"


@pytest.mark.parametrize(("size", "most", "step"), [(1, 5, 1), (10, 20, 1), (11, 10, 2), (2048, 20, 200)])
def test_ticks_are_whole(size: int, most: int, step: int) -> None:
    assert whole_ticks(size, most) == list(range(0, size, step))
