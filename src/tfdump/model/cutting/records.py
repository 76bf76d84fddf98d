"""What is asked of a part of a model."""

from dataclasses import dataclass


class UncutModel(Exception):
    """A part that cannot be cut out of a model; the text is the reason."""


@dataclass(frozen=True)
class PartInput:
    """One input of a part, which takes the place of a tensor of the model.

    Attributes
    ----------
    name : str
        Name of the input.
    source : str
        Address of the activation, or `inputs/NAME` for an input of the model.
    shape : tuple of int or None
        Shape of the arrays that it takes, None for open sizes. The first axis is the example.
    dtype : str
        Dtype of the tensor.
    order : tuple of int or None
        Axes of the arrays in the order in which the model has them, None where that order is the same.
    """

    name: str
    source: str
    shape: tuple[int | None, ...]
    dtype: str
    order: tuple[int, ...] | None = None
