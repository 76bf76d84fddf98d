"""Names of tensors in a table on a terminal, without the group where all have the same."""

from collections.abc import Iterable, Sequence

from tfdump.cli.aligned_table import Column
from tfdump.dump import layout

PREFIX = f"{layout.ACTIVATIONS}/"
"""The group that every command searches by default, so that a name may leave it out."""

_MOST_NAMED = 3


def tensor_column(name: str = "tensor") -> Column:
    """Return the column of tensors, named by group and address."""
    return Column(name, shorten="middle", prefix=PREFIX)


def common_group(names: Iterable[str | None]) -> str:
    """Return the group, with its slash, that all names with a group share; empty where they have several."""
    groups = {name.rpartition("/")[0] for name in names if name is not None} - {""}
    return f"{groups.pop()}/" if len(groups) == 1 else ""


def without_group(names: Sequence[str]) -> list[str]:
    """Return names `group/address` without the group where all share it; names without a group stay."""
    group = common_group(names)
    return [name.removeprefix(group) for name in names]


def some_names(names: Sequence[str]) -> str:
    """Return names for a note: all, or their number and the first ones."""
    listed = ", ".join(names[:_MOST_NAMED])
    return listed if len(names) <= _MOST_NAMED else f"{len(names)} tensors ({listed}, ...)"
