"""The records of where NaN and Inf begin."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OriginInput:
    """A tensor that went into an origin, and what it holds there.

    Attributes
    ----------
    tensor : str
        Group and address.
    reason : str or None
        Why nothing is known about it: `not in the dump` or `not checked`; None if it was checked.
    index : tuple of int or None
        Index of the element from which the bad element was computed, if the shapes and the operation tell it.
    value : float or None
        Value of that element; for a complex number its magnitude.
    region : str or None
        What the numbers below are about: `example`, `batch` or `tensor`; None if they are not known.
    count, zeros, infinities, not_numbers : int or None
        How many values there are, and how many of them are zero, infinite, and NaN.
    minimum, maximum : float or None
        Smallest and largest finite value.
    """

    tensor: str
    reason: str | None = None
    index: tuple[int, ...] | None = None
    value: float | None = None
    region: str | None = None
    count: int | None = None
    zeros: int | None = None
    infinities: int | None = None
    not_numbers: int | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Origin:
    """A tensor where NaN or Inf begins: it is bad, and the tensors from which it was computed are not.

    Attributes
    ----------
    check : str
        `nan` or `inf`.
    tensor : str
        Group and address.
    example : int or None
        Number, in the input, of the first example in which it begins here.
    index : tuple of int or None
        Index of the first bad element of that example.
    message : str
        The origin in one line.
    operation : str
        Type of the operation that computed the tensor, or else the class of its layer.
    source : str or None
        Line of the model's own code that made the operation, such as `my_layers.py:42`.
    inputs : tuple of OriginInput
        The tensors from which it was computed, as far as the dump tells; for a gradient, the gradients of the tensors
        that read it.
    certain : bool
        Whether all of them are known and clean in that example. If not, the message says what is missing.
    example_id : str or None
        Name of that example, such as that of its file, if the dump has names.
    """

    check: str
    tensor: str
    example: int | None
    index: tuple[int, ...] | None
    message: str
    operation: str = ""
    source: str | None = None
    inputs: tuple[OriginInput, ...] = ()
    certain: bool = False
    example_id: str | None = None
