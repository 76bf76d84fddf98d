"""A tensor of a dump to a picture: what is read, how it is turned, and what is said about it."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.dump.reader import Dump, Tensor
from tfdump.errors import TfdumpError
from tfdump.plots import shapes
from tfdump.plots.colors import Limits
from tfdump.plots.counts import count_values, described
from tfdump.plots.figure import Caption, plain_style
from tfdump.plots.kinds import Kind, Subject, check_kind, choose, subject_of
from tfdump.plots.pictures.attention import MOST as MOST_HEADS
from tfdump.plots.pictures.attention import attention
from tfdump.plots.pictures.bars import bars
from tfdump.plots.pictures.channels import Picked, pick, strength_of
from tfdump.plots.pictures.curves import Line, curve
from tfdump.plots.pictures.feature_maps import MOST as MOST_CHANNELS
from tfdump.plots.pictures.feature_maps import maps
from tfdump.plots.pictures.heatmap import Side, heat
from tfdump.plots.pictures.histogram import histogram
from tfdump.plots.pictures.kernels import MOST as MOST_TILES
from tfdump.plots.pictures.kernels import tiles
from tfdump.plots.pictures.saliency import saliency
from tfdump.plots.values import Numbers, Taken, check_range, inside, real, take_many, take_one
from tfdump.tensors import Array

_UNITS = {
    layout.ACTIVATIONS: "activation",
    layout.OUTPUTS: "output",
    layout.WEIGHTS: "weight",
    layout.INPUTS: "input",
}


_USED = {
    Kind.MAPS: ("--channels", "--channels-first or --channels-last"),
    Kind.HEATMAP: ("--examples",),
    Kind.ATTENTION: ("--channels", "--tokens"),
    Kind.TILES: ("--channels", "--inputs"),
    Kind.SALIENCY: ("--overlay", "--channels-first or --channels-last"),
    Kind.CURVE: ("--examples",),
}
"""The options that each kind of picture reads, beside `--example` and `--step`."""


@dataclass(frozen=True)
class View:
    """What of a tensor to show; None is the default of each kind of picture.

    `example` and `step` are numbers along those axes, `examples` a range; `channels` is the text of `--channels`, and
    `inputs` the same for the input channels of kernels. `channels_first` None asks the model's configuration. `tokens`
    name the axes of attention scores; `overlay` is the input itself, for a saliency map: of the example that is shown.
    `limits` are the range of a scale that several pictures share, and `said` is put before the words on the example.
    """

    example: int | None = None
    step: int | None = None
    examples: tuple[int | None, int | None] = (None, None)
    channels: str | None = None
    inputs: str | None = None
    channels_first: bool | None = None
    tokens: tuple[str, ...] | None = None
    overlay: Array | None = None
    limits: Limits | None = None
    said: str = ""


WHOLE = View()


@dataclass(frozen=True)
class Picture:
    """A figure, the kind that it is, and what the user should read about it: what it leaves out.

    `ignored` are the options of the view that this kind of picture has no use for.
    """

    figure: Figure
    kind: Kind
    notes: tuple[str, ...]
    ignored: tuple[str, ...] = ()


def draw(dump: Dump, tensor: Tensor, kind: Kind | None = None, view: View = WHOLE) -> Picture:
    """Return the picture of a tensor, of the kind that suits it where none is asked for.

    Raises TfdumpError for what no picture can show, in one line that says why.
    """
    subject = shapes.squeezed(subject_of(tensor))
    kind = kind or choose(subject, view.example is not None)
    check_kind(kind, subject)
    drawing = _Drawing(dump, tensor, subject, view)
    with plain_style():
        figure = getattr(drawing, kind.value)()
    return Picture(figure, kind, tuple(drawing.notes), _ignored(kind, view))


def draw_loss(dump: Dump) -> Picture:
    """Return the curve of the loss of a dump of gradients; raises TfdumpError where it has none, or one number."""
    loss = dump.loss
    if loss is None:
        raise TfdumpError(f"{dump.name} has no loss (tfdump gradients writes one)")
    if loss.size < 2:
        text = f"a single number, {loss.reshape(-1)[0]:g}" if loss.size else "empty"
        raise TfdumpError(f"the loss of {dump.name} is {text}: there is no curve to draw")
    axis = dump.loss_axis
    name = str(dump.attributes.get("loss", ""))
    details = (f"loss {name}".strip(), f"{loss.size:,} {axis}s, {_file(dump)}")
    with plain_style():
        figure = curve([Line("loss", loss)], Caption("loss", details), axis, "loss", None, axis != "example")
    return Picture(figure, Kind.CURVE, ())


def _ignored(kind: Kind, view: View) -> tuple[str, ...]:
    """Return the options that were given and that a kind of picture has no use for."""
    given = {
        "--examples": view.examples != (None, None),
        "--channels": view.channels is not None,
        "--inputs": view.inputs is not None,
        "--channels-first or --channels-last": view.channels_first is not None,
        "--tokens": view.tokens is not None,
        "--overlay": view.overlay is not None,
    }
    return tuple(option for option, there in given.items() if there and option not in _USED.get(kind, ()))


class _Drawing:
    """One tensor being drawn: a method a kind of picture."""

    def __init__(self, dump: Dump, tensor: Tensor, subject: Subject, view: View) -> None:
        self._dump, self._tensor, self._subject, self._view = dump, tensor, subject, view
        self._unit = _UNITS.get(subject.group, "gradient")
        if kind_of(tensor.dtype) == "c":
            self._unit += ", magnitude"
        body = tensor.shape[len(subject.leading) :]
        self._is_sequence = not subject.weight and len(body) > 1 and body[-1] == 1  # of one feature
        self.notes: list[str] = []

    def maps(self) -> Figure:
        taken = self._one()
        values, names = shapes.as_maps(taken.values, self._channels_first())
        return self._maps(values, names, "channel" if taken.values.ndim == 3 else "channel:place", taken)

    def heatmap(self) -> Figure:
        subject, view = self._subject, self._view
        if len(subject.body) == 1 and subject.leading and view.example is None and subject.body[0] != -1:
            taken = take_many(self._tensor, subject, view.examples, view.step)
            self.notes += taken.notes
            rows = Side(subject.leading[-1], taken.rows if isinstance(taken.rows, int) else 0)
            values = taken.values.reshape(len(taken.values), -1)
            return heat(values, rows, Side("unit"), self._caption(taken), self._unit, self._view.limits)
        taken = self._one()
        names = shapes.axis_names(subject, taken.values.ndim)
        values = shapes.as_matrix(taken.values)
        labels = taken.rows if isinstance(taken.rows, int) else [f"{number:,}" for number in taken.rows]
        return heat(values, Side(names[0], labels), Side(names[1]), self._caption(taken), self._unit, self._view.limits)

    def attention(self) -> Figure:
        taken = self._one()
        values = taken.values.reshape(-1, *taken.values.shape[-2:])
        picked = self._pick(values, 0, MOST_HEADS, "head")
        heads = [f"head {number}" for number in picked.numbers]
        queries, keys = shapes.tokens_for(self._view.tokens, values.shape[1:], self._subject.address)
        return attention(
            values[list(picked.numbers)], heads, self._caption(taken, picked), queries, keys, self._view.limits
        )

    def bars(self) -> Figure:
        taken = self._one()
        values = taken.values.reshape(-1)
        labels = None if isinstance(taken.rows, int) else [f"{number:,}" for number in taken.rows]
        axis = "unit" if taken.values.ndim == 1 else f"place in {taken.values.shape}, flattened"
        if self._is_sequence:
            axis = "position"
        return bars(values, self._caption(taken), self._unit, axis, labels, self._view.limits)

    def tiles(self) -> Figure:
        taken = self._one()
        values, inputs = shapes.as_kernels(taken.values, self._subject)
        if values.shape[3] == 1:
            return self._maps(values[..., 0], inputs, "input channel", taken)
        if values.shape[2] == 1:
            names = [str(number) for number in range(values.shape[3])]
            return self._maps(values[:, :, 0], names, "filter", taken)
        filters = self._pick(values, 3, MOST_TILES, "filter")
        chosen = pick(self._view.inputs, values.shape[2], MOST_TILES, "input channel", lambda: strength_of(values, 2))
        note = chosen.note.replace("--channels", "--inputs")
        if chosen.is_default:
            self.notes.append(note)
        shown = values[:, :, list(chosen.numbers)][..., list(filters.numbers)]
        caption = self._caption(taken, filters).noting(*([note] if note else []))
        rows = [inputs[number] for number in chosen.numbers]
        return tiles(shown, rows, [str(number) for number in filters.numbers], caption, self._unit, self._view.limits)

    def saliency(self) -> Figure:
        taken = self._one()
        gradient = shapes.channels_last(taken.values, self._channels_first())
        picture = self._input(taken)
        if picture is not None:
            picture = shapes.channels_last(picture, self._channels_first())
            shapes.check_overlay(picture, gradient, self._subject.address)
        else:
            self.notes.append("only the gradient is drawn (over its input: --overlay FILE.npy)")
        return saliency(gradient, self._caption(taken), picture, self._view.limits)

    def curve(self) -> Figure:
        subject, view = self._subject, self._view
        if subject.body:
            taken = self._one()
            values, axis = taken.values.reshape(-1), "position" if self._is_sequence else "unit"
        elif subject.leading == ("step", "example"):
            number = inside(view.example or 0, subject.counts[1], "example", subject.address)
            values, axis = real(self._tensor.parts()[0].read((slice(None), number))), "step"
            said = f"example {number:,} of {subject.counts[1]:,}"
            if view.example is None and subject.counts[1] > 1:
                self.notes.append(f"{said} is shown (another: --example N)")
            taken = Taken(values, (said,), tuple(self.notes))
        else:
            taken = take_many(self._tensor, subject, _all_of(view.examples), None)
            self.notes += taken.notes
            values, axis = taken.values.reshape(-1), subject.leading[0]
        start = taken.rows if isinstance(taken.rows, int) else 0
        places = range(start, start + len(values))
        return curve([Line(subject.address, values)], self._caption(taken), axis, self._unit, places, axis != "example")

    def histogram(self) -> Figure:
        found, said, notes = count_values(self._tensor, self._view.example, self._view.step)
        self.notes += notes
        check_range(found.edges, self._subject.address)
        return histogram(found, self._caption(Taken(np.zeros(0), said, notes)), self._unit)

    def _one(self) -> Taken:
        taken = take_one(self._tensor, self._subject, self._view.example, self._view.step)
        self.notes += taken.notes
        return Taken(shapes.without_single_axes(taken.values, self._subject), taken.said, taken.notes, taken.rows)

    def _maps(self, values: Numbers, names: list[str], what: str, taken: Taken) -> Figure:
        picked = self._pick(values, values.ndim - 1, MOST_CHANNELS, what)
        labels = [names[number] for number in picked.numbers]
        return maps(
            values[..., list(picked.numbers)], labels, self._caption(taken, picked), self._unit, what, self._view.limits
        )

    def _pick(self, values: Numbers, axis: int, most: int, what: str) -> Picked:
        picked = pick(self._view.channels, values.shape[axis], most, what, lambda: strength_of(values, axis))
        if picked.is_default:
            self.notes.append(picked.note)
        return picked

    def _caption(self, taken: Taken, picked: Picked | None = None) -> Caption:
        notes = [*taken.notes, *([picked.note] if picked and picked.note else [])]
        said = ", ".join([*([self._view.said] if self._view.said else []), *taken.said, _file(self._dump)])
        return Caption(self._subject.address, (described(self._tensor), said), tuple(notes))

    def _channels_first(self) -> bool:
        given = self._view.channels_first
        if given is None:
            given = shapes.is_channels_first(self._dump.config)
            if given:
                self.notes.append("the model's layers are channels_first, so axis 1 is that of the channels")
        return given

    def _input(self, taken: Taken) -> Array | None:
        """Return the input that a gradient belongs to, of the same example: given, or in the dump."""
        if self._view.overlay is not None:
            return self._view.overlay
        name = f"{layout.INPUTS}/{self._subject.address}"
        if name not in self._dump:
            return None
        tensor = self._dump[name]
        example = self._view.example if "example" in self._subject.leading else None
        return take_one(tensor, subject_of(tensor), example, None).values


def _all_of(examples: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    """Return a range that is asked for even where it is the whole."""
    return (0, None) if examples == (None, None) else examples


def _file(dump: Dump) -> str:
    return dump.name.rpartition("/")[2]
