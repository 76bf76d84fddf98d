"""The picture of a tensor of a dump: which values are read, how they are arranged, and its caption."""

from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from tfdump.dtypes import kind_of
from tfdump.dump import axis0, layout
from tfdump.dump.examples import one_line
from tfdump.dump.reader import Dump, Tensor
from tfdump.errors import TfdumpError
from tfdump.plots import shapes
from tfdump.plots.figure import Caption, plain_style
from tfdump.plots.kinds import Kind, Subject, check_kind, subject_of, suitable_kind
from tfdump.plots.pictures.attention import MOST as MOST_HEADS
from tfdump.plots.pictures.attention import attention_figure
from tfdump.plots.pictures.bars import bars_figure
from tfdump.plots.pictures.channels import ChannelChoice, channel_choice, strength_of
from tfdump.plots.pictures.curves import Line, curves_figure
from tfdump.plots.pictures.feature_maps import MOST as MOST_CHANNELS
from tfdump.plots.pictures.feature_maps import feature_maps_figure
from tfdump.plots.pictures.heatmap import MatrixSide, heatmap_figure
from tfdump.plots.pictures.histogram import histogram_figure
from tfdump.plots.pictures.kernels import MOST as MOST_TILES
from tfdump.plots.pictures.kernels import kernels_figure
from tfdump.plots.pictures.saliency import saliency_figure
from tfdump.plots.tensor_histogram import count_values, description_of
from tfdump.plots.values import (
    MOST_EXAMPLES,
    Excerpt,
    Floats,
    check_range,
    checked_index,
    example_words,
    examples_excerpt,
    real_numbers,
    value_excerpt,
)
from tfdump.plots.view_options import DEFAULT_VIEW, ViewOptions, unused_options
from tfdump.tensors import Array

_UNITS = {
    layout.ACTIVATIONS: "activation",
    layout.OUTPUTS: "output",
    layout.WEIGHTS: "weight",
    layout.INPUTS: "input",
}


@dataclass(frozen=True)
class Picture:
    """A figure, its kind, and notes for the user about what it leaves out.

    `ignored` are the options that were set and that this kind of picture does not use.
    """

    figure: Figure
    kind: Kind
    notes: tuple[str, ...]
    ignored: tuple[str, ...] = ()


def picture_of(dump: Dump, tensor: Tensor, kind: Kind | None = None, view: ViewOptions = DEFAULT_VIEW) -> Picture:
    """Return the picture of a tensor; where `kind` is None, the tensor decides the kind.

    Raises TfdumpError for a tensor that no picture can show.
    """
    stored = subject_of(tensor)
    subject = shapes.squeezed_subject(stored)
    kind = kind or suitable_kind(subject, view.example is not None)
    check_kind(kind, subject)
    drawing = _Drawing(dump, tensor, stored, view)
    with plain_style():
        figure = getattr(drawing, kind.value)()
    return Picture(figure, kind, tuple(drawing.notes), unused_options(kind, view))


def picture_of_loss(dump: Dump) -> Picture:
    """Return the curve of the loss of a dump; raises TfdumpError where it holds no loss, or a single number."""
    loss = dump.loss
    if loss is None:
        raise TfdumpError(f"{dump.name} has no loss (tfdump gradients stores one)")
    if loss.size < 2:
        text = f"a single number, {loss.reshape(-1)[0]:g}" if loss.size else "empty"
        raise TfdumpError(f"the loss of {dump.name} is {text}: there is no curve to draw")
    axis = dump.loss_axis
    name = str(dump.attributes.get("loss", ""))
    details = (f"loss {name}".strip(), f"{loss.size:,} {axis}s, {_file(dump)}")
    with plain_style():
        figure = curves_figure(
            [Line("loss", loss)], Caption("loss", details), axis, "loss", None, axis != axis0.EXAMPLE
        )
    return Picture(figure, Kind.CURVE, ())


class _Drawing:
    """One tensor that is drawn: one method per kind of picture, which returns the figure and adds to `notes`."""

    def __init__(self, dump: Dump, tensor: Tensor, stored: Subject, view: ViewOptions) -> None:
        self._dump, self._tensor, self._stored, self._view = dump, tensor, stored, view
        self._subject = subject = shapes.squeezed_subject(stored)
        self._names = dump.examples
        self._unit = _UNITS.get(subject.group, "gradient")
        if kind_of(tensor.dtype) == "c":
            self._unit += ", magnitude"
        body = tensor.shape[len(subject.leading) :]
        self._is_sequence = not subject.weight and len(body) > 1 and body[-1] == 1  # a sequence of one feature
        self.notes: list[str] = []

    def maps(self) -> Figure:
        excerpt = self._one()
        values, names = shapes.as_maps(excerpt.values, self._channels_first())
        return self._maps(values, names, "channel" if excerpt.values.ndim == 3 else "channel:place", excerpt)

    def heatmap(self) -> Figure:
        subject, view = self._subject, self._view
        if len(subject.body) == 1 and subject.leading and view.example is None and subject.body[0] != -1:
            excerpt = examples_excerpt(self._tensor, subject, view.examples, view.step, self._names)
            self.notes += excerpt.notes
            rows = MatrixSide(subject.leading[-1], self._labels(excerpt))
            values = excerpt.values.reshape(len(excerpt.values), -1)
            return heatmap_figure(
                values, rows, MatrixSide("unit"), self._caption(excerpt), self._unit, self._view.limits
            )
        excerpt = self._one()
        names = shapes.axis_names(subject, excerpt.values.ndim)
        values = shapes.as_matrix(excerpt.values)
        labels = excerpt.rows if isinstance(excerpt.rows, int) else [f"{number:,}" for number in excerpt.rows]
        return heatmap_figure(
            values,
            MatrixSide(names[0], labels),
            MatrixSide(names[1]),
            self._caption(excerpt),
            self._unit,
            self._view.limits,
        )

    def _labels(self, excerpt: Excerpt) -> list[str] | int:
        """Return the names of examples that are rows, or the number of the first row where they have none."""
        first, names = excerpt.rows if isinstance(excerpt.rows, int) else 0, self._names
        of_examples = self._subject.leading[-1] == axis0.EXAMPLE and self._subject.counts[-1] == len(names or ())
        if names is None or not of_examples or len(excerpt.values) > MOST_EXAMPLES:
            return first
        return [one_line(name) for name in names.read(first, first + len(excerpt.values))]

    def attention(self) -> Figure:
        excerpt = self._one()
        values = excerpt.values.reshape(-1, *excerpt.values.shape[-2:])
        choice = self._pick(values, 0, MOST_HEADS, "head")
        heads = [f"head {number}" for number in choice.numbers]
        queries, keys = shapes.tokens_for(self._view.tokens, values.shape[1:], self._subject.address)
        return attention_figure(
            values[list(choice.numbers)], heads, self._caption(excerpt, choice), queries, keys, self._view.limits
        )

    def bars(self) -> Figure:
        excerpt = self._one()
        values = excerpt.values.reshape(-1)
        labels = None if isinstance(excerpt.rows, int) else [f"{number:,}" for number in excerpt.rows]
        axis = "unit" if excerpt.values.ndim == 1 else f"place in {excerpt.values.shape}, flattened"
        if self._is_sequence:
            axis = "position"
        return bars_figure(values, self._caption(excerpt), self._unit, axis, labels, self._view.limits)

    def tiles(self) -> Figure:
        excerpt = self._one()
        values, inputs = shapes.as_kernels(excerpt.values, self._subject)
        if values.shape[3] == 1:
            return self._maps(values[..., 0], inputs, "input channel", excerpt)
        if values.shape[2] == 1:
            names = [str(number) for number in range(values.shape[3])]
            return self._maps(values[:, :, 0], names, "filter", excerpt)
        filters = self._pick(values, 3, MOST_TILES, "filter")
        input_choice = channel_choice(
            self._view.inputs, values.shape[2], MOST_TILES, "input channel", lambda: strength_of(values, 2)
        )
        note = input_choice.note.replace("--channels", "--inputs")
        if input_choice.is_default:
            self.notes.append(note)
        kernels = values[:, :, list(input_choice.numbers)][..., list(filters.numbers)]
        caption = self._caption(excerpt, filters).noting(*([note] if note else []))
        rows = [inputs[number] for number in input_choice.numbers]
        return kernels_figure(
            kernels, rows, [str(number) for number in filters.numbers], caption, self._unit, self._view.limits
        )

    def saliency(self) -> Figure:
        excerpt = self._one()
        gradient = shapes.channels_last(excerpt.values, self._channels_first())
        picture = self._input()
        if picture is not None:
            picture = shapes.channels_last(picture, self._channels_first())
            shapes.check_overlay(picture, gradient, self._subject.address)
        else:
            self.notes.append("the picture shows only the gradient (draw it over its input with --overlay FILE.npy)")
        return saliency_figure(gradient, self._caption(excerpt), picture, self._view.limits)

    def curve(self) -> Figure:
        subject, view = self._subject, self._view
        if subject.body:
            excerpt = self._one()
            values, axis = excerpt.values.reshape(-1), "position" if self._is_sequence else "unit"
        elif subject.leading == (axis0.STEP, axis0.EXAMPLE):
            number = checked_index(view.example or 0, subject.counts[1], axis0.EXAMPLE, subject.address)
            values, axis = real_numbers(self._tensor.parts()[0].read((slice(None), number))), axis0.STEP
            words = example_words(number, subject.counts[1], self._names)
            if view.example is None and subject.counts[1] > 1:
                self.notes.append(f"the picture shows {', '.join(words)} (choose another with --example N)")
            excerpt = Excerpt(values, tuple(words), tuple(self.notes))
        else:
            excerpt = examples_excerpt(self._tensor, subject, _all_of(view.examples), None, self._names)
            self.notes += excerpt.notes
            values, axis = excerpt.values.reshape(-1), subject.leading[0]
        start = excerpt.rows if isinstance(excerpt.rows, int) else 0
        places = range(start, start + len(values))
        return curves_figure(
            [Line(subject.address, values)], self._caption(excerpt), axis, self._unit, places, axis != axis0.EXAMPLE
        )

    def histogram(self) -> Figure:
        counted, words, notes = count_values(self._tensor, self._view.example, self._view.step, names=self._names)
        self.notes += notes
        check_range(counted.edges, self._subject.address)
        return histogram_figure(counted, self._caption(Excerpt(np.zeros(0), words, notes)), self._unit)

    def _one(self) -> Excerpt:
        excerpt = value_excerpt(self._tensor, self._stored, self._view.example, self._view.step, self._names)
        self.notes += excerpt.notes
        return replace(excerpt, values=shapes.without_single_axes(excerpt.values, self._stored))

    def _maps(self, values: Floats, names: list[str], what: str, excerpt: Excerpt) -> Figure:
        choice = self._pick(values, values.ndim - 1, MOST_CHANNELS, what)
        labels = [names[number] for number in choice.numbers]
        return feature_maps_figure(
            values[..., list(choice.numbers)],
            labels,
            self._caption(excerpt, choice),
            self._unit,
            what,
            self._view.limits,
        )

    def _pick(self, values: Floats, axis: int, most: int, what: str) -> ChannelChoice:
        choice = channel_choice(self._view.channels, values.shape[axis], most, what, lambda: strength_of(values, axis))
        if choice.is_default:
            self.notes.append(choice.note)
        return choice

    def _caption(self, excerpt: Excerpt, choice: ChannelChoice | None = None) -> Caption:
        notes = [*excerpt.notes, *([choice.note] if choice and choice.note else [])]
        line = ", ".join([*([self._view.moment] if self._view.moment else []), *excerpt.words, _file(self._dump)])
        return Caption(self._subject.address, (description_of(self._tensor), line), tuple(notes))

    def _channels_first(self) -> bool:
        channels_first = self._view.channels_first
        if channels_first is None:
            channels_first = shapes.is_channels_first(self._dump.config)
            if channels_first:
                self.notes.append("axis 1 holds the channels, because the model's layers are channels_first")
        return channels_first

    def _input(self) -> Array | None:
        """Return the input of the same example as a gradient: the overlay, or from the dump; None without either."""
        if self._view.overlay is not None:
            return self._view.overlay
        name = f"{layout.INPUTS}/{self._subject.address}"
        if name not in self._dump:
            return None
        tensor = self._dump[name]
        example = self._view.example if axis0.EXAMPLE in self._subject.leading else None
        return value_excerpt(tensor, subject_of(tensor), example, None).values


def _all_of(examples: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    """Return a range; the whole range becomes an explicit one, whose length has no limit."""
    return (0, None) if examples == (None, None) else examples


def _file(dump: Dump) -> str:
    return dump.name.rpartition("/")[2]
