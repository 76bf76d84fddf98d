"""Names of tensors in a table on a terminal: without the group where there is but one."""

from collections.abc import Iterable, Sequence

from tfdump.cli.fitting import Column
from tfdump.dump import layout

PREFIX = f"{layout.ACTIVATIONS}/"
"""The group that every command looks into by itself, so that a name does without it."""


def tensor_column(name: str = "tensor") -> Column:
    """Return the column of tensors, named by group and address."""
    return Column(name, shorten="middle", prefix=PREFIX)


def common_group(names: Iterable[str | None]) -> str:
    """Return the group, with its slash, that all names have which have one; empty where there are several."""
    groups = {name.rpartition("/")[0] for name in names if name is not None} - {""}
    return f"{groups.pop()}/" if len(groups) == 1 else ""


def without_group(names: Sequence[str]) -> list[str]:
    """Return `group/address` without the group where all of them have the same; names without a group stay."""
    group = common_group(names)
    return [name.removeprefix(group) for name in names]
