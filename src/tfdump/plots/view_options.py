"""Which part of a tensor a picture shows, and which kinds of picture use which of these options."""

from dataclasses import dataclass

from tfdump.plots.colors import Limits
from tfdump.plots.kinds import Kind
from tfdump.tensors import Array

_USED = {
    Kind.MAPS: ("--channels", "--channels-first or --channels-last"),
    Kind.HEATMAP: ("--examples",),
    Kind.ATTENTION: ("--channels", "--tokens"),
    Kind.TILES: ("--channels", "--inputs"),
    Kind.SALIENCY: ("--overlay", "--channels-first or --channels-last"),
    Kind.CURVE: ("--examples",),
}
"""The options that each kind of picture reads, besides `--example` and `--step`."""


@dataclass(frozen=True)
class ViewOptions:
    """Which part of a tensor a picture shows; None is the default of each kind of picture.

    `example` and `step` are indices along those axes, and `examples` is a range. `channels` is the text of
    `--channels`, and `inputs` the same for the input channels of kernels. With `channels_first` None, the model's
    configuration decides. `tokens` label the axes of attention scores. `overlay` is the input of the example, for a
    saliency map. `limits` is the range of a scale that several pictures share. `moment` is a moment of the training,
    which the caption names first.
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
    moment: str = ""


DEFAULT_VIEW = ViewOptions()


def unused_options(kind: Kind, view: ViewOptions) -> tuple[str, ...]:
    """Return the options that are set and that a kind of picture does not use."""
    is_set = {
        "--examples": view.examples != (None, None),
        "--channels": view.channels is not None,
        "--inputs": view.inputs is not None,
        "--channels-first or --channels-last": view.channels_first is not None,
        "--tokens": view.tokens is not None,
        "--overlay": view.overlay is not None,
    }
    return tuple(option for option, asked in is_set.items() if asked and option not in _USED.get(kind, ()))
