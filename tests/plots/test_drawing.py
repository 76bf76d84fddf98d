"""Which picture a tensor of a dump gets, what is read for it, and what is refused in one line."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from support.figures import cells, texts
from support.plotted_dumps import Stored, plot_dump, stored
from tfdump.dump.reader import open_dump
from tfdump.errors import TfdumpError
from tfdump.plots.colors import scale_of
from tfdump.plots.drawing import Picture, picture_of, picture_of_loss
from tfdump.plots.kinds import Kind, subject_of, suitable_kind
from tfdump.plots.shapes import squeezed_subject
from tfdump.plots.view_options import ViewOptions

RANDOM = np.random.default_rng(2)
WEIGHTS, GRADIENTS, INPUTS = "weights/", "gradients/weights/", "gradients/inputs/"


def f4(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype("f4")


def weight(*shape: int, of: str = "Conv2D") -> Stored:
    return stored(f4(*shape), of=of, axis0="none")


def nested_ragged(*shape: int, axis0: str = "example") -> Stored:
    """A ragged tensor of two ragged axes, the values of which have this shape and are all in the first item."""
    parts = {"values": f4(*shape), "row_splits": np.array([0, 2, 2]), "row_splits_1": np.array([0, 0, shape[0]])}
    return stored(parts, encoding="ragged", axis0=axis0)


@pytest.fixture
def draw_first(tmp_path: Path) -> Any:
    """Draw the first tensor of a dump that holds these, and return the picture."""

    def draw(tensors: dict[str, Any], kind: Kind | None = None, **view: Any) -> Picture:
        path = plot_dump(tmp_path / "d.h5", tensors)
        with open_dump(path) as dump:
            return picture_of(dump, dump[next(iter(tensors))], kind, ViewOptions(**view))

    return draw


@pytest.mark.parametrize(
    ("name", "tensor", "kind"),
    [
        ("conv", f4(3, 4, 4, 5), Kind.MAPS),
        ("gap", f4(3, 1, 1, 5), Kind.HEATMAP),
        ("one", f4(1, 1, 1, 5), Kind.BARS),
        ("row", f4(3, 1, 6, 5), Kind.HEATMAP),
        ("image", f4(3, 4, 4, 1), Kind.MAPS),
        ("video", f4(3, 2, 4, 4, 5), Kind.MAPS),
        ("sequence", f4(3, 7, 5), Kind.HEATMAP),
        ("feature", f4(3, 7, 1), Kind.HEATMAP),
        ("dense", f4(3, 5), Kind.HEATMAP),
        ("alone", f4(1, 5), Kind.BARS),
        ("score", f4(3), Kind.CURVE),
        ("mha:attention_scores", f4(3, 2, 4, 4), Kind.ATTENTION),
        ("mha:attention_scores", f4(3, 1, 1, 1), Kind.ATTENTION),
        ("query", stored(f4(3, 7, 2, 4), of="EinsumDense"), Kind.HEATMAP),
        ("table", stored(f4(6, 5), axis0="none"), Kind.HEATMAP),
        ("mixed", stored(f4(2, 3, 3), axis0="batch"), Kind.HEATMAP),
        (WEIGHTS + "c.kernel", weight(3, 3, 2, 4), Kind.TILES),
        (GRADIENTS + "c.kernel", weight(3, 2, 4, of="Conv1D"), Kind.TILES),
        (GRADIENTS + "c.kernel", weight(1, 1, 2, 4), Kind.HEATMAP),
        (GRADIENTS + "d.kernel", weight(5, 4, of="Dense"), Kind.HEATMAP),
        (GRADIENTS + "d.bias", weight(4, of="Dense"), Kind.BARS),
        (GRADIENTS + "e.kernel", weight(5, 2, 4, of="EinsumDense"), Kind.HEATMAP),
        (GRADIENTS + "d.kernel", stored(f4(3, 5, 4), of="Dense", axis0="step"), Kind.HEATMAP),
        (GRADIENTS + "s.scale", stored(f4(3), axis0="step"), Kind.CURVE),
        (INPUTS + "image", f4(3, 4, 4, 3), Kind.SALIENCY),
        (INPUTS + "words", f4(3, 4, 3), Kind.HEATMAP),
        ("flags", RANDOM.random((3, 4)) > 0.5, Kind.HEATMAP),
        ("ragged", stored({"values": f4(5, 2), "row_splits": np.array([0, 2, 5])}, encoding="ragged"), Kind.HEATMAP),
        ("ragged", stored({"values": f4(5), "row_splits": np.array([0, 2, 5])}, encoding="ragged"), Kind.BARS),
        ("ragged", nested_ragged(5), Kind.BARS),
        ("ragged", nested_ragged(5, 2), Kind.HEATMAP),
        ("ragged", nested_ragged(5, 2, 3), Kind.MAPS),
        ("ragged", nested_ragged(5, 1, 3, 2), Kind.MAPS),
        ("ragged", nested_ragged(5, 2, axis0="batch"), Kind.HEATMAP),
        ("ragged", nested_ragged(5, 2, axis0="none"), Kind.HEATMAP),
        ("ragged", nested_ragged(1, 3, 2), Kind.MAPS),
        ("stack", stored({"0": f4(1, 1, 3, 2), "1": f4(2, 1, 3, 2)}, encoding="stack", axis0="batch"), Kind.MAPS),
    ],
)
def test_a_tensor_gets_the_picture_that_suits_it(draw_first: Any, name: str, tensor: Any, kind: Kind) -> None:
    assert draw_first({name: tensor}).kind == kind


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (np.array(["a", "b"], object), "'x' is string, and pictures show numbers"),
        (np.zeros((0, 4), "f4"), "holds no values"),
        (np.zeros((3, 0), "f4"), "holds no values"),
        (stored(np.float32(3), axis0="none"), "'x' is a single number"),
        (f4(1), "'x' is a single number"),
        (stored(f4(0, 4), values=False, computed_shape=np.array([3, 4])), "has statistics and no values"),
        (stored(f4(0, 4), connected=False), "is not connected"),
        (np.array([[1e308, -1e308]]), "too large for a picture"),
        (stored({"values": f4(5), "row_splits": np.array([0, 0, 5])}, encoding="ragged"), "no values at example 0"),
    ],
)  # fmt: skip
def test_what_no_picture_can_show_is_refused(draw_first: Any, tensor: Any, words: str) -> None:
    with pytest.raises(TfdumpError, match=words):
        draw_first({"x": tensor})


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ({"example": 3}, "no example 3 in 'x', which has 3: 0 to 2"),
        ({"example": -4}, "no example -4"),
        ({"step": 0}, "has no step axis, which --step 0 needs"),
        ({"channels": "5"}, "no channel 5: there are 5, 0 to 4"),
        ({"channels": "3:3"}, "selects nothing"),
        ({"channels": "many"}, "'many' is not all, top, START:STOP"),
        ({"channels": "1:2:3"}, "is not all, top, START:STOP"),
        ({"kind": Kind.SALIENCY, "overlay": np.zeros((9, 9))}, r"overlay has shape \(9, 9\)"),
        ({"kind": Kind.CURVE}, "--kind curve shows values of 0 to 1 axes, and 'x' has 3 behind example"),
    ],
)
def test_views_that_do_not_fit_are_refused(draw_first: Any, view: dict[str, Any], words: str) -> None:
    with pytest.raises(TfdumpError, match=words):
        draw_first({"x": f4(3, 4, 4, 5)}, **view)


def test_a_picture_shows_one_example_and_a_note_names_the_others(draw_first: Any) -> None:
    values = f4(3, 6, 4)
    picture = draw_first({"x": values})
    assert picture.notes == ("the picture shows example 0 of 3 (choose another with --example N)",)
    np.testing.assert_array_equal(cells(picture.figure, 6, 4), scale_of(values[0]).colors(values[0]))
    last = draw_first({"x": values}, example=-1)
    assert last.notes == ()
    np.testing.assert_array_equal(cells(last.figure, 6, 4), scale_of(values[2]).colors(values[2]))
    assert "activations, Dense, (3, 6, 4) float32" in texts(last.figure)
    assert "example 2 of 3, d.h5" in texts(last.figure)


def test_a_picture_shows_the_first_channels_and_the_figure_names_the_others(draw_first: Any) -> None:
    picture = draw_first({"x": f4(1, 2, 2, 300)})
    others = "choose others with --channels 64:128, all, or top for the strongest"
    note = f"the picture shows channels 0 to 63 of 300 ({others})"
    assert picture.notes == (note,)
    assert note in texts(picture.figure)
    assert len([text for text in picture.figure.axes[0].texts if text.get_text().isdigit()]) == 64


def labels_of(picture: Picture) -> list[str]:
    return [text.get_text() for text in picture.figure.axes[0].texts]


def test_channels_are_chosen_by_number_range_and_strength(draw_first: Any) -> None:
    values = np.zeros((1, 2, 2, 80), "f4")
    values[..., 7], values[..., 70], values[0, 0, 0, 3] = -9, 5, np.nan
    assert labels_of(draw_first({"x": values}, channels="70,7,-1")) == ["70", "7", "79"]
    assert labels_of(draw_first({"x": values}, channels="10:13")) == ["10", "11", "12"]
    assert labels_of(draw_first({"x": values}, channels="top"))[:3] == ["3", "7", "70"]
    assert "channels 10:13 of 80" in texts(draw_first({"x": values}, channels="10:13").figure)


def test_channels_first_is_an_option_or_the_word_of_the_configuration(draw_first: Any, tmp_path: Path) -> None:
    values = f4(1, 2, 5, 6)
    assert labels_of(draw_first({"x": values}, channels_first=True)) == ["0", "1"]
    assert labels_of(draw_first({"x": values})) == [str(n) for n in range(6)]
    import h5py

    for formats, count in ((("channels_first",), 2), (("channels_first", "channels_last"), 6)):
        path = plot_dump(tmp_path / "c.h5", {"x": values})
        layers = ", ".join(f'{{"config": {{"data_format": "{name}"}}}}' for name in formats)
        with h5py.File(path, "a") as file:
            file["config"] = f'{{"layers": [{layers}]}}'
        with open_dump(path) as dump:
            picture = picture_of(dump, dump["x"])
        assert len(labels_of(picture)) == count
        assert any("channels_first" in note for note in picture.notes) == (count == 2)


def test_dense_layers_show_rows_of_examples(draw_first: Any) -> None:
    values = f4(300, 4)
    picture = draw_first({"x": values})
    assert picture.notes == ("the picture shows examples 0 to 255 of 300 (choose others with --examples 256:512)",)
    np.testing.assert_array_equal(cells(picture.figure, 256, 4), scale_of(values[:256]).colors(values[:256]))
    rest = draw_first({"x": values}, examples=(256, None))
    np.testing.assert_array_equal(cells(rest.figure, 44, 4), scale_of(values[256:]).colors(values[256:]))
    assert rest.figure.axes[0].get_yticklabels()[0].get_text() == "256"


def test_of_wide_layers_fewer_examples_are_read_unasked(draw_first: Any) -> None:
    picture = draw_first({"x": np.zeros((200, 60_000), "f4")})
    assert picture.notes == ("the picture shows examples 0 to 138 of 200 (choose others with --examples 139:278)",)


def test_one_example_of_a_dense_layer_is_bars(draw_first: Any) -> None:
    values = f4(3, 5)
    heights = [bar.get_height() for bar in draw_first({"x": values}, example=1).figure.axes[0].patches]
    np.testing.assert_allclose(heights, values[1].astype("f8"))


def test_steps_show_the_last_unless_another_is_asked_for(draw_first: Any) -> None:
    values = f4(4, 3, 2)
    tensors = {GRADIENTS + "d.kernel": stored(values, axis0="step")}
    np.testing.assert_array_equal(cells(draw_first(tensors).figure, 3, 2), scale_of(values[3]).colors(values[3]))
    np.testing.assert_array_equal(
        cells(draw_first(tensors, step=1).figure, 3, 2), scale_of(values[1]).colors(values[1])
    )


def test_steps_of_activations_have_examples_behind_them(draw_first: Any) -> None:
    values = f4(4, 3, 6, 2)
    tensors = {"gradients/activations/x": stored(values, axis0="step", shape=np.array([-1, 6, 2]))}
    picture = draw_first(tensors, step=2, example=1)
    np.testing.assert_array_equal(cells(picture.figure, 6, 2), scale_of(values[2, 1]).colors(values[2, 1]))
    scalars = {"gradients/activations/x": stored(values[:, :, 0, 0], axis0="step", shape=np.array([-1]))}
    assert draw_first(scalars).notes == ("the picture shows example 0 of 3 (choose another with --example N)",)
    line = draw_first(scalars, example=2).figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), values[:, 2, 0, 0].astype("f8"))


def test_complex_numbers_are_drawn_by_magnitude_and_truth_values_as_0_and_1(draw_first: Any) -> None:
    values = (f4(1, 4, 3) + 1j * f4(1, 4, 3)).astype("c8")
    picture = draw_first({"x": values})
    magnitude = np.abs(values[0].astype("c16"))
    np.testing.assert_array_equal(cells(picture.figure, 4, 3), scale_of(magnitude).colors(magnitude))
    assert "activation, magnitude" in texts(picture.figure)
    flags = np.array([[[True, False], [False, False]]])
    shown = cells(draw_first({"x": flags}).figure, 2, 2)
    np.testing.assert_array_equal(shown, matplotlib.colormaps["viridis"](flags[0].astype(float), bytes=True))


def test_ragged_sparse_and_stacked_values_are_those_of_the_example(draw_first: Any) -> None:
    values = f4(7, 2)
    ragged = stored({"values": values, "row_splits": np.array([0, 3, 3, 7])}, encoding="ragged")
    shown = cells(draw_first({"x": ragged}, example=2).figure, 4, 2)
    np.testing.assert_array_equal(shown, scale_of(values[3:]).colors(values[3:]))
    parts = {"values": np.array([1, 2, -3, 4], "f4"), "indices": np.array([[0, 1], [0, 3], [2, 2], [2, 2]])}
    sparse = stored(parts, encoding="sparse", dense_shape=np.array([3, 4]))
    dense = np.zeros((3, 4))
    dense[0, 1], dense[0, 3], dense[2, 2] = 1, 2, 1
    np.testing.assert_array_equal(cells(draw_first({"x": sparse}).figure, 3, 4), scale_of(dense).colors(dense))
    heights = [bar.get_height() for bar in draw_first({"x": sparse}, example=2).figure.axes[0].patches]
    assert heights == [0, 0, 1, 0]
    stack = stored({"0": f4(2, 3), "1": values[:1]}, encoding="stack", axis0="batch")
    np.testing.assert_array_equal(
        cells(draw_first({"x": stack}, example=1).figure, 1, 2), scale_of(values[:1]).colors(values[:1])
    )


def test_the_rows_of_an_embedding_that_are_there_are_summed_and_named(draw_first: Any) -> None:
    values = f4(3, 2)
    parts = {"values": values, "indices": np.array([[7], [1000], [7]])}
    table = stored(parts, encoding="sparse", dense_shape=np.array([20_000, 2]), axis0="none", of="Embedding")
    picture = draw_first({GRADIENTS + "e.embeddings": table})
    expected = np.stack([values[0].astype("f8") + values[2], values[1]])
    np.testing.assert_array_equal(cells(picture.figure, 2, 2), scale_of(expected).colors(expected))
    assert [tick.get_text() for tick in picture.figure.axes[0].get_yticklabels()] == ["7", "1,000"]
    assert "the picture shows the 2 stored rows of 20,000; the others are 0" in picture.notes


def test_kernels_show_as_many_inputs_and_filters_as_have_room(draw_first: Any) -> None:
    picture = draw_first({GRADIENTS + "c.kernel": weight(3, 3, 64, 40)})
    assert [note.split(" (")[0] for note in picture.notes] == [
        "the picture shows filters 0 to 31 of 40",
        "the picture shows input channels 0 to 31 of 64",
    ]
    assert "--inputs 32:64" in picture.notes[1]
    alone = draw_first({GRADIENTS + "c.kernel": weight(3, 3, 1, 40)}, channels="all")
    assert labels_of(alone) == [str(n) for n in range(40)]


def test_kernels_of_other_files_have_their_filters_across(draw_first: Any) -> None:
    """The same kernel as Keras, TFLite and ONNX hold it gives the same picture."""
    kernel = f4(3, 2, 5, 4)
    orders = {"output,height,width,input": (3, 0, 1, 2), "output,input,height,width": (3, 2, 0, 1)}
    tiles = draw_first({WEIGHTS + "c.kernel": stored(kernel, of="Conv2D", axis0="none")}).figure.axes[0]
    for axes, order in orders.items():
        turned = stored(kernel.transpose(order), of="CONV_2D", axis0="none", axes=axes)
        picture = draw_first({WEIGHTS + "c.kernel": turned})
        assert picture.kind == Kind.TILES
        drawn = picture.figure.axes[0]
        assert len(drawn.images) == len(tiles.images) > 0
        for one, other in zip(drawn.images, tiles.images, strict=True):
            np.testing.assert_array_equal(one.get_array(), other.get_array())


def test_a_saliency_map_lies_over_the_input_of_the_dump_or_the_overlay(draw_first: Any) -> None:
    gradient, image = f4(2, 4, 4, 1), f4(2, 4, 4, 1)
    alone = draw_first({INPUTS + "image": gradient}, example=1)
    assert alone.notes == ("the picture shows only the gradient (draw it over its input with --overlay FILE.npy)",)
    within = draw_first({INPUTS + "image": gradient, "inputs/image": image}, example=1)
    overlaid = draw_first({INPUTS + "image": gradient}, example=1, overlay=image[1])
    np.testing.assert_array_equal(cells(within.figure, 4, 4, 0), cells(overlaid.figure, 4, 4, 0))
    assert len(within.figure.axes) == 4


def test_a_histogram_counts_all_values_or_those_of_an_example(draw_first: Any) -> None:
    values = f4(5, 40)
    for view, counted in (({}, values), ({"example": 3}, values[3])):
        bars = draw_first({"x": values}, Kind.HISTOGRAM, **view).figure.axes[0].patches
        np.testing.assert_array_equal([bar.get_height() for bar in bars], np.histogram(counted.astype("f8"), 64)[0])


def test_tokens_name_the_axes_that_have_as_many_places(draw_first: Any) -> None:
    scores = {"m:attention_scores": RANDOM.random((1, 1, 2, 3)).astype("f4")}
    axes = draw_first(scores, tokens=("a", "b", "c")).figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0", "1"]
    with pytest.raises(TfdumpError, match="--tokens has 4 lines, and 'm:attention_scores' has 2 queries and 3 keys"):
        draw_first(scores, tokens=tuple("abcd"))


def test_the_loss_is_a_curve_along_its_own_axis(tmp_path: Path) -> None:
    path = plot_dump(tmp_path / "g.h5", {"x": f4(2, 2)}, loss=[3.0, 1.0, 0.5], loss_axis="example")
    with open_dump(path) as dump:
        axes = picture_of_loss(dump).figure.axes[0]
    assert axes.get_xlabel() == "example"
    assert axes.lines[0].get_ydata().tolist() == [3.0, 1.0, 0.5]
    for loss, words in ((0.5, "a single number, 0.5"), (None, "has no loss"), ([], "is empty")):
        with (
            open_dump(plot_dump(tmp_path / "g.h5", {"x": f4(2, 2)}, loss=loss)) as dump,
            pytest.raises(TfdumpError, match=words),
        ):
            picture_of_loss(dump)


def test_options_that_a_picture_has_no_use_for_are_named(draw_first: Any) -> None:
    assert draw_first({"x": f4(3, 4, 5)}, channels="top", tokens=("a",)).ignored == ("--channels", "--tokens")
    assert draw_first({"x": f4(3, 4, 4, 5)}, channels="top", channels_first=False).ignored == ()


def test_a_choice_reads_no_values(tmp_path: Path) -> None:
    with open_dump(plot_dump(tmp_path / "d.h5", {"x": f4(3, 4, 4, 5)})) as dump:
        assert suitable_kind(squeezed_subject(subject_of(dump["x"]))) == Kind.MAPS
