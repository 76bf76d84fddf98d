"""Which kind of picture suits a tensor. Needs no matplotlib."""

from dataclasses import dataclass
from enum import StrEnum

from tfdump.address import split
from tfdump.dtypes import kind_of
from tfdump.dump import axis0, layout
from tfdump.dump.kernel_axes import axes_of
from tfdump.dump.reader import Tensor
from tfdump.errors import DumpError, TfdumpError

_WEIGHTS = (layout.WEIGHT_GRADIENTS, layout.WEIGHTS)

RANKS = {
    "maps": (3, None),
    "heatmap": (1, None),
    "attention": (2, None),
    "bars": (1, None),
    "tiles": (3, None),
    "saliency": (2, 3),
    "curve": (0, 1),
    "histogram": (0, None),
}
"""The fewest and the most axes, after those of step and example, that a kind of picture can show."""


class Kind(StrEnum):
    """A kind of picture."""

    MAPS = "maps"
    HEATMAP = "heatmap"
    ATTENTION = "attention"
    BARS = "bars"
    TILES = "tiles"
    SALIENCY = "saliency"
    CURVE = "curve"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Subject:
    """The facts about a tensor that decide its kind of picture.

    `leading` names the axes before those of one value (`step`, `example`, `batch`), and `counts` are their sizes.
    `body` is the shape of one value, with -1 where it differs between examples; ragged axes are one axis, along which
    their rows follow one another. `weight` is True for a weight or the gradient of one, and `axes` are the names of the
    axes of a kernel, empty for those of Keras.
    """

    address: str
    group: str
    class_name: str
    leading: tuple[str, ...]
    counts: tuple[int, ...]
    body: tuple[int, ...]
    weight: bool
    axes: tuple[str, ...] = ()


def subject_of(tensor: Tensor) -> Subject:
    """Return the facts about a tensor without reading its values.

    Raises DumpError for a tensor that no picture can show: text, or a tensor without values.
    """
    tensor.parts()  # raises where there are no values
    if kind_of(tensor.dtype) in "SV":
        raise DumpError(f"'{tensor.address}' is {tensor.dtype}, and pictures show numbers (print it with tfdump show)")
    shape = tensor.shape
    if 0 in shape or (tensor.encoding == "ragged" and tensor.parts()[0].shape[0] == 0):
        raise DumpError(f"'{tensor.address}' of shape {shape} holds no values to draw")
    leading = _leading(tensor)
    ragged = tensor.encoding == "ragged"
    return Subject(
        tensor.address,
        tensor.group,
        str(tensor.attributes.get("class", "")),
        leading,
        shape[: len(leading)],
        (-1, *tensor.parts()[0].shape[1:]) if ragged else shape[len(leading) :],
        tensor.group in _WEIGHTS,
        axes_of(tensor.attributes),
    )


def suitable_kind(subject: Subject, one_example: bool = False) -> Kind:
    """Return the kind of picture that suits a tensor; `one_example` is True where the user asked for one example.

    Raises DumpError for a single number.
    """
    rank = len(subject.body)
    if rank == 0:
        if not subject.leading or subject.counts[-1] == 1:
            raise DumpError(f"'{subject.address}' is a single number, which is no picture (print it with tfdump show)")
        return Kind.CURVE
    if subject.weight:
        return _of_weight(subject)
    if split(subject.address)[1].startswith("attention_scores") and rank >= 2:
        return Kind.ATTENTION
    if rank == 1:
        alone = one_example or not subject.leading or subject.counts[-1] == 1
        return Kind.BARS if alone or subject.body[0] == -1 else Kind.HEATMAP
    if subject.group == layout.INPUT_GRADIENTS and rank == 3:
        return Kind.SALIENCY
    per_head = subject.class_name == "EinsumDense"  # of attention: (position, head, feature)
    return Kind.HEATMAP if rank == 2 or per_head else Kind.MAPS


def check_kind(kind: Kind, subject: Subject) -> None:
    """Raise TfdumpError when a tensor has too few or too many axes for a kind of picture."""
    least, most = RANKS[kind]
    rank = len(subject.body)
    if rank < least or (most is not None and rank > most):
        expected = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        of = f" behind {' and '.join(subject.leading)}" if subject.leading else ""
        raise TfdumpError(
            f"--kind {kind} shows values of {expected} axes, and '{subject.address}' has {rank}{of} "
            "(leave --kind out, or take --histogram)"
        )


def _of_weight(subject: Subject) -> Kind:
    """A convolution has kernels of `(*window, channels in, filters)`; other weights are vectors and matrices."""
    if len(subject.body) >= 3 and ("Conv" in subject.class_name or len(subject.axes) == len(subject.body)):
        return Kind.TILES
    return Kind.BARS if len(subject.body) == 1 else Kind.HEATMAP


def _leading(tensor: Tensor) -> tuple[str, ...]:
    """Return the names of the first axes: step, example, both, batch, or none."""
    first = str(tensor.attributes.get("axis0", axis0.NONE))
    if first == axis0.NONE or not tensor.shape:
        return ()
    declared = tensor.attributes.get("shape")
    has_examples = (
        first == axis0.STEP
        and tensor.group not in _WEIGHTS
        and declared is not None
        and len(declared) + 1 == len(tensor.shape)
        and list(declared[:1]) == [-1]
    )
    return (axis0.STEP, axis0.EXAMPLE) if has_examples else (first,)
