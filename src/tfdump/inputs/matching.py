"""Which given array is which input of the model."""

from collections.abc import Sequence

from tfdump.errors import InputError, near, with_article
from tfdump.inputs.arguments import Given
from tfdump.inputs.readers import Reader
from tfdump.tensors import InputSpec, listed


def match(
    given: Sequence[Given], specs: Sequence[InputSpec], what: str = "input", too_many: str = ""
) -> dict[str, Reader]:
    """Return the array of each input (or whatever else `what` says that they are) by its name.

    Arrays with a name go to the input of that name, the others to the remaining inputs in order; to optional ones
    only where that leaves no choice. Keys of an archive are names where one of them equals an input name; an archive
    whose keys are all strange is read in order. Raises InputError for names that no input has, for too few arrays
    and for too many, of which `too_many` says why there are.
    """
    names = [spec.name for spec in specs]
    given = _known_keys(given, names, what)
    matched: dict[str, Reader] = {}
    for item in given:
        if item.name is None:
            continue
        if item.name not in names:
            known = ", ".join(f"'{name}'" for name in names)
            raise InputError(f"the model has no {what} '{item.name}'{near(item.name, names)} (its {what}s: {known})")
        if item.name in matched:
            raise InputError(f"the {what} '{item.name}' is given twice: {matched[item.name].label}, {item.label}")
        matched[item.name] = item.reader
    in_order = [item.reader for item in given if item.name is None]
    open_names = [spec.name for spec in specs if spec.name not in matched]
    required = [spec.name for spec in specs if spec.name not in matched and not spec.optional]
    if not len(required) <= len(in_order) <= len(open_names):
        why = f" ({too_many})" if too_many and len(in_order) > len(open_names) else ""
        raise InputError(_wrong_number(len(matched) + len(in_order), specs, what) + why)
    if len(required) < len(in_order) < len(open_names):
        optional = [name for name in open_names if name not in required]
        choices = ", ".join(f"'{name}'" for name in optional)
        raise InputError(
            f"{in_order[-1].label} may be any of the optional {what}s {choices} (name it: {optional[0]}=FILE)"
        )
    matched |= dict(zip(open_names if len(in_order) > len(required) else required, in_order, strict=False))
    return matched


def _known_keys(given: Sequence[Given], names: list[str], what: str) -> list[Given]:
    """Return the arrays, those of an archive without their names if none of these is an input's.

    Raises InputError where only some are: what has a name is not left out.
    """
    keyed = [item for item in given if item.optional_name]
    known = [item for item in keyed if item.name in names]
    wanted = ", ".join(f"'{name}'" for name in names)
    if keyed and not known:
        if len(keyed) > len(names):
            keys = ", ".join(f"'{item.name}'" for item in keyed)
            raise InputError(
                f"none of the arrays {keys} is {with_article(what)} of the model (its {what}s: {wanted}); "
                "name one as FILE::KEY"
            )
        return [item.without_name() if item.optional_name else item for item in given]
    strange = [item for item in keyed if item not in known]
    if strange:
        labels = listed(item.label for item in strange)
        verb = f"are no {what}s" if len(strange) > 1 else f"is no {what}"
        raise InputError(
            f"{labels} {verb} of the model (its {what}s: {wanted}); name what to use: {known[0].name}={known[0].label}"
        )
    return list(given)


def _wrong_number(count: int, specs: Sequence[InputSpec], what: str) -> str:
    wanted = ", ".join(
        f"'{spec.name}'" + (f" {spec.dtype}" if spec.dtype else "") + (" (optional)" if spec.optional else "")
        for spec in specs
    )
    some = "1 array is" if count == 1 else f"{count} arrays are"
    verb = "takes" if what == "input" else "has"
    return f"the model {verb} {len(specs)} {what}{'s' * (len(specs) != 1)}, {wanted}, and {some} given"
