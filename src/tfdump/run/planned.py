"""A tensor of a plan, before it is computed."""

from dataclasses import dataclass

from tfdump.tensors import TensorInfo


@dataclass(frozen=True)
class Planned:
    """One tensor that will be dumped: its record, group, axis0, shape (-1 for the examples) and bytes in the file."""

    group: str
    info: TensorInfo
    axis0: str
    shape: tuple[int, ...]
    bytes: int
