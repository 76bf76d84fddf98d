"""Matching arrays to the inputs of the model."""

from collections.abc import Sequence

from tfdump.errors import InputError, near, with_article
from tfdump.inputs.input_array import InputArray, arrays_for
from tfdump.inputs.readers import Reader
from tfdump.tensors import InputSpec, listed


def match(
    arrays: Sequence[InputArray], specs: Sequence[InputSpec], what: str = "input", too_many: str = ""
) -> dict[str, Reader]:
    """Return the array of each input by name. `what` is "input", or what else the specs describe, for messages.

    An array with a name goes to the input of that name. The others go to the remaining inputs in order, to optional
    ones only where there is no choice. The keys of an archive count as names where at least one of them is the name of
    an input; otherwise its arrays are matched in order. Raises InputError for a name that no input has, and for too few
    or too many arrays; `too_many` is a possible reason for too many.
    """
    names = [spec.name for spec in specs]
    arrays = _with_known_keys(arrays_for(arrays, specs), names, what)
    matched: dict[str, Reader] = {}
    for item in arrays:
        if item.name is None:
            continue
        if item.name not in names:
            known = ", ".join(f"'{name}'" for name in names)
            raise InputError(f"the model has no {what} '{item.name}'{near(item.name, names)} (its {what}s: {known})")
        if item.name in matched:
            raise InputError(
                f"the {what} '{item.name}' is given twice: {matched[item.name].label}, {item.label} (leave one out)"
            )
        matched[item.name] = item.reader
    in_order = [item.reader for item in arrays if item.name is None]
    open_names = [spec.name for spec in specs if spec.name not in matched]
    required = [spec.name for spec in specs if spec.name not in matched and not spec.optional]
    if not len(required) <= len(in_order) <= len(open_names):
        why = f" ({too_many})" if too_many and len(in_order) > len(open_names) else ""
        raise InputError(_wrong_number(len(matched) + len(in_order), specs, what) + why)
    if len(required) < len(in_order) < len(open_names):
        optional = [name for name in open_names if name not in required]
        choices = ", ".join(f"'{name}'" for name in optional)
        raise InputError(
            f"{in_order[-1].label} can be any of the optional {what}s {choices} (name it: {optional[0]}=FILE)"
        )
    matched |= dict(zip(open_names if len(in_order) > len(required) else required, in_order, strict=False))
    return matched


def _with_known_keys(arrays: Sequence[InputArray], names: list[str], what: str) -> list[InputArray]:
    """Return the arrays; those of an archive without their names where none of these is the name of an input.

    Raises InputError where only some are, because an array with a name is never left out.
    """
    keyed = [item for item in arrays if item.optional_name]
    known = [item for item in keyed if item.name in names]
    wanted = ", ".join(f"'{name}'" for name in names)
    if keyed and not known:
        if len(keyed) > len(names):
            keys = ", ".join(f"'{item.name}'" for item in keyed)
            raise InputError(
                f"none of the arrays {keys} is {with_article(what)} of the model (its {what}s: {wanted}); "
                "name one as FILE::KEY"
            )
        return [item.without_name() if item.optional_name else item for item in arrays]
    strange = [item for item in keyed if item not in known]
    if strange:
        labels = listed(item.label for item in strange)
        verb = f"are no {what}s" if len(strange) > 1 else f"is no {what}"
        raise InputError(
            f"{labels} {verb} of the model (its {what}s: {wanted}); name what to use: {known[0].name}={known[0].label}"
        )
    return list(arrays)


def _wrong_number(count: int, specs: Sequence[InputSpec], what: str) -> str:
    wanted = ", ".join(
        f"'{spec.name}'" + (f" {spec.dtype}" if spec.dtype else "") + (" (optional)" if spec.optional else "")
        for spec in specs
    )
    some = "1 array is" if count == 1 else f"{count} arrays are"
    verb = "takes" if what == "input" else "has"
    return f"the model {verb} {len(specs)} {what}{'s' * (len(specs) != 1)}, {wanted}, and {some} given"
