"""Whether two dumps answer the same question, and what to know about the verdict."""

from typing import Any

from tfdump.comparison.examples.same_examples import check_same_examples, names_decide
from tfdump.comparison.pairing import EXACT, EXECUTION, NEAR_VALUE, ORDER, PLACE, STRUCTURE, Pair
from tfdump.comparison.sides import Side
from tfdump.dump.attributes import full_name
from tfdump.dump.axis0 import BATCH
from tfdump.dump.layout import INPUTS_SHA256, WEIGHTS
from tfdump.errors import DumpError

_SAME_QUESTION = {
    "kind": "hold different things",
    "examples": "have different numbers of examples",
    "first_example": "start at different examples",
    "loss": "are gradients of different losses",
    "reduction": "are gradients of different scalars",
    "per_example": "are gradients of all examples together and of each example",
    "steps": "have different numbers of steps",
    "learning_rate": "have different learning rates",
    "optimizer": "have different optimizers",
}
"""Attributes of the root that must agree, with what is wrong if they do not."""

_VERSIONS = ("tensorflow_version", "keras_version", "numpy_version", "runtime", "runtime_version")
_WORTH_KNOWING = ("training", "loss_scale", *_VERSIONS)
"""Attributes of the root that may explain a difference."""


def check_comparable(golden: Side, new: Side) -> None:
    """Raise DumpError if two dumps have different examples, kinds or losses; plain arrays have no kinds and losses.

    Where both sides name their examples, the names decide which these are, and not their numbers.
    """
    by_names = names_decide(golden, new)
    for name, wrong in ({} if golden.is_plain or new.is_plain else _SAME_QUESTION).items():
        if by_names and name in ("examples", "first_example"):
            continue
        old, other = golden.attributes.get(name), new.attributes.get(name)
        if old != other and (name in ("kind", "steps", "per_example") or None not in (old, other)):
            raise DumpError(
                f"{golden.name} and {new.name} {wrong} ({name}: {_shown(old)} and {_shown(other)}), "
                "so their values cannot be compared (dump both with the same options)"
            )
    check_same_examples(golden, new)


def check_reductions(pairs: list[Pair]) -> None:
    """Raise DumpError if only one of two tensors was reduced; norms of gradients are compared as norms."""
    for pair in pairs:
        if pair.golden is None or pair.new is None or not (pair.golden.group and pair.new.group):
            continue
        old, other = (item.attributes.get("reduce") for item in (pair.golden, pair.new))
        if old != other and "norm" not in (old, other):
            raise DumpError(
                f"'{full_name(pair.golden)}' was dumped with --reduce {old} in one file and --reduce {other} in the "
                "other (dump both with the same options)".replace("--reduce None", "no --reduce")
            )


def comparison_notes(golden: Side, new: Side, pairs: list[Pair]) -> list[str]:
    """Return what to know about the verdict: how the two dumps were made, and how tensors were paired."""
    notes = []
    if not golden.is_plain and not new.is_plain:
        computed = golden.attributes.get("kind") != WEIGHTS
        names = list(_WORTH_KNOWING) if computed else []
        both = (golden.attributes, new.attributes)
        if any(side.get("training") for side in both):
            names.append("seed")
        if any(item.attributes.get("axis0") == BATCH for pair in pairs for item in pair.items):
            names.append("batch_size")
        unlike = [name for name in names if both[0].get(name) != both[1].get(name)]
        if unlike:
            values = "; ".join(f"{name} {_shown(both[0].get(name))}, {_shown(both[1].get(name))}" for name in unlike)
            notes.append(f"made differently: {values}")
    hashes = [side.attributes.get(INPUTS_SHA256) for side in (golden, new)]
    if names_decide(golden, new) and None not in hashes and hashes[0] != hashes[1]:
        notes.append(
            f"the examples of {golden.name} and {new.name} have the same names and other numbers: their files changed, "
            "or became numbers in another way"
        )
    for side in (golden, new):
        if side.left_out:
            notes.append(f"not compared, because {side.name} has no numbers or text there: {few(list(side.left_out))}")
    return notes + notes_on_pairing(pairs)


def notes_on_pairing(pairs: list[Pair]) -> list[str]:
    """Return how tensors of different addresses were paired, and where equal addresses were ignored."""
    notes = []
    names = {full_name(pair.golden) for pair in pairs if pair.golden is not None}
    new_names = {full_name(pair.new) for pair in pairs if pair.new is not None}
    overruled = {
        id(pair): f"{pair.golden.address} = {pair.new.address}"
        for pair in pairs
        if pair.by in (STRUCTURE, ORDER) and pair.golden is not None and pair.new is not None
        if full_name(pair.golden) in new_names or full_name(pair.new) in names
    }
    if overruled:
        notes.append(
            f"addresses ignored for {len(overruled)} of {len(pairs)} tensors, because structure, class and order "
            f"count more than names that Keras generates: {few([*overruled.values()])} (override it with --map FILE)"
        )
    for by in (STRUCTURE, ORDER, PLACE, EXECUTION, EXACT, NEAR_VALUE):
        pairs_by_way = [(pair.golden, pair.new) for pair in pairs if pair.by == by and id(pair) not in overruled]
        named = [(old.address, other.address) for old, other in pairs_by_way if old and other]
        renamed = [f"{old} = {other}" for old, other in named if old != other]
        if renamed:
            notes.append(f"paired by {by}: {few(renamed)}")
    return notes


def few(names: list[str], most: int = 8) -> str:
    """Return names joined for a note, each once: the first ones, and how many more there are."""
    names = list(dict.fromkeys(names))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
