"""The options of a comparison as words of the command line."""

from collections.abc import Sequence
from dataclasses import replace

from tfdump.comparison.options import BY_VALUE, DiffOptions
from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import plain_item
from tfdump.comparison.rule import Criteria
from tfdump.comparison.tolerance import (
    TERMS,
    Override,
    SqnrLimit,
    Tolerance,
    Tolerances,
    default_tolerance,
    last_match,
)
from tfdump.comparison.verdict import TensorDiff
from tfdump.dtypes import kind_of
from tfdump.side_by_side.shrink.values import parsed_layout

MAP = "map.tsv"
"""The name of the file with the names that belong together."""


def options_of_part(tensor: TensorDiff, options: DiffOptions) -> DiffOptions:
    """Return the options that judge the outputs of two parts as the comparison judged a pair of tensors."""
    criteria = options.criteria
    axes = parsed_layout(tensor.layout)
    transpose: tuple[tuple[str, tuple[int, ...]], ...] = ()
    if axes is not None and None not in axes:
        transpose = (("*", tuple(axis for axis in axes if axis is not None)),)
    own = [order for glob, order in options.transpose if len(order) == len(tensor.new_shape or ())]
    if own and axes is None:
        transpose = (("*", own[-1]),)
    tolerances = _tolerances_of(tensor, criteria)
    return DiffOptions(
        replace(criteria, tolerances=tolerances, min_sqnr=_limits_of(tensor, criteria)),
        allow_missing=True,
        transpose=transpose,
        pair=options.pair,
    )


def _tolerances_of(tensor: TensorDiff, criteria: Criteria) -> Tolerances:
    """Return the tolerances that hold for one tensor, as tolerances of all tensors."""
    if not criteria.tolerances.has_overrides:
        return criteria.tolerances
    dtypes = [tensor.dtype or "float32", tensor.new_dtype or "float32"]
    classes = [tensor.class_name] if tensor.class_name else []
    own = criteria.tolerances.of(_names_of(tensor), classes, dtypes)
    is_float = kind_of(dtypes[0]) in "fc"
    default = default_tolerance(dtypes) if is_float else Tolerance()
    glob = None if is_float else "*"
    terms = {
        term: (Override(glob, getattr(own, term)),)
        for term in TERMS
        if criteria.min_cosine is not None or criteria.min_sqnr or getattr(own, term) != getattr(default, term)
    }
    return Tolerances(**terms)


def _limits_of(tensor: TensorDiff, criteria: Criteria) -> tuple[SqnrLimit, ...]:
    """Return the smallest ratio of signal to noise that holds for one tensor, as that of all tensors."""
    classes = [tensor.class_name] if tensor.class_name else []
    limit = last_match(criteria.min_sqnr, _names_of(tensor), classes, without_glob=True)
    return () if limit is None else (SqnrLimit(None, limit),)


def _names_of(tensor: TensorDiff) -> Sequence[str]:
    """Return the names by which patterns know a tensor."""
    items = [plain_item(str(name).split("/", 1)[1], 0.0) for name in (tensor.name, tensor.new_name)]
    for item, name in zip(items, (tensor.name, tensor.new_name), strict=True):
        item.group = str(name).split("/", 1)[0]
    return Pair(items[0], items[1], "").names


def option_words(options: DiffOptions) -> list[str]:
    """Return the options as words of the command line; a map is the file `map.tsv`."""
    criteria = options.criteria
    words: list[str] = []
    for term in TERMS:
        for override in getattr(criteria.tolerances, term):
            glob = "" if override.glob is None else f"{override.glob}="
            words += [f"--{term}", f"{glob}{override.value!r}"]
    words += ["--exact"] if criteria.exact else []
    words += ["--max-ulp", str(criteria.max_ulp)] if criteria.max_ulp is not None else []
    words += ["--min-cosine", repr(criteria.min_cosine)] if criteria.min_cosine is not None else []
    for limit in criteria.min_sqnr:
        words += ["--min-sqnr", f"{'' if limit.glob is None else f'{limit.glob}='}{limit.value!r}"]
    words += [] if criteria.nan_equal else ["--no-nan-equal"]
    words += ["--check-attrs"] if options.check_attrs else []
    words += ["--allow-missing"] if options.allow_missing else []
    for name, patterns in (("-l", options.layers), ("-x", options.exclude), ("--ignore", options.ignore)):
        words += [word for pattern in patterns for word in (name, pattern)]
    words += ["--map", MAP] if options.renamed else []
    for glob, axes in options.transpose:
        words += ["--transpose", f"{glob}={','.join(map(str, axes))}"]
    words += [] if options.pair == BY_VALUE else ["--pair", options.pair]
    return words


def map_text(options: DiffOptions) -> str:
    """Return the text of the file with the names that belong together."""
    return "".join(f"{old}\t{new}\n" for old, new in options.renamed.items())
