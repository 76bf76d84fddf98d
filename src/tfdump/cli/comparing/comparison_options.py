"""The options of commands that compare two sides, and what they ask for."""

from typing import Any

import click

from tfdump.address import Pattern
from tfdump.cli.help_page import CommandFunction, option_under
from tfdump.cli.options import OUTPUT, SELECTION, FileName, decorated, parsed, verdict_options
from tfdump.comparison.options import BY_VALUE, PAIRINGS, DiffOptions
from tfdump.comparison.plain_arrays import parse_transpose
from tfdump.comparison.renaming import read_map
from tfdump.comparison.rule import Criteria
from tfdump.comparison.tolerance import Tolerances, parse_override, parse_sqnr_limit


def _glob(text: str) -> str:
    return Pattern(text).text


_TOLERANCE = parsed("[GLOB=]VALUE", parse_override)
_GLOB = parsed("GLOB", _glob)
_TOLERANCES = option_under("Tolerances")
_PAIRING = option_under("Pairing")


def comparison_options(command: CommandFunction) -> CommandFunction:
    """Add the options of a comparison, which `diff_options_from` reads, and those of its verdict."""
    decorators = [
        _TOLERANCES(
            "--rtol",
            multiple=True,
            metavar="[GLOB=]VALUE",
            type=_TOLERANCE,
            help="Allow this difference relative to the golden value. Repeatable.",
        ),
        _TOLERANCES(
            "--atol",
            multiple=True,
            metavar="[GLOB=]VALUE",
            type=_TOLERANCE,
            help="Allow this absolute difference. Repeatable. [default: 0]",
        ),
        _TOLERANCES(
            "--scale",
            multiple=True,
            metavar="[GLOB=]VALUE",
            type=_TOLERANCE,
            help="Allow this difference relative to the tensor's largest value. Repeatable.",
        ),
        _TOLERANCES("--exact", is_flag=True, help="Require equal bits and equal dtypes."),
        _TOLERANCES(
            "--max-ulp",
            type=click.IntRange(min=0),
            metavar="N",
            help="Allow values to be N representable numbers apart.",
        ),
        _TOLERANCES(
            "--min-cosine",
            type=click.FloatRange(-1, 1),
            metavar="F",
            help="Require this cosine of the two tensors as vectors.",
        ),
        _TOLERANCES(
            "--min-sqnr",
            multiple=True,
            metavar="[GLOB=]DB",
            type=parsed("[GLOB=]DB", parse_sqnr_limit),
            help="Require this ratio of signal to quantization noise, in dB. Repeatable.",
        ),
        _TOLERANCES("--nan-equal/--no-nan-equal", default=True, show_default=True, help="Let NaN equal NaN."),
        SELECTION(
            "-l",
            "--layer",
            multiple=True,
            metavar="PATTERN",
            type=_GLOB,
            help="Compare only these tensors. Repeatable.",
        ),
        SELECTION("-x", "--exclude", multiple=True, metavar="PATTERN", type=_GLOB, help="Leave these out. Repeatable."),
        SELECTION(
            "--ignore",
            multiple=True,
            metavar="GLOB",
            type=_GLOB,
            help="List these tensors, but do not compare them. Repeatable.",
        ),
        _PAIRING("--allow-missing", is_flag=True, help="Allow tensors that only one side has."),
        _TOLERANCES(
            "--check-attrs", is_flag=True, help="Require equal attributes (class, structure, shape, scale, ...)."
        ),
        _PAIRING(
            "--map",
            "map_file",
            type=FileName(),
            metavar="FILE",
            help="Pair renamed tensors by this TSV or JSON file: golden name, new name.",
        ),
        _PAIRING(
            "--transpose",
            multiple=True,
            metavar="[GLOB=]AXES",
            type=parsed("[GLOB=]AXES", parse_transpose),
            help="Transpose the plain arrays, or else NEW: 0,2,3,1 for channels first. Repeatable.",
        ),
        _PAIRING(
            "--pair",
            type=click.Choice(PAIRINGS),
            default=BY_VALUE,
            show_default=True,
            help="Pair tensors by names alone, or by their values too.",
        ),
        _PAIRING("--ignore-ids", is_flag=True, help="Compare examples of different names, row by row."),
        OUTPUT("-a", "--all", "every", is_flag=True, help="Also list the tensors that agree."),
        verdict_options,
    ]
    return decorated(command, decorators)


def diff_options_from(parameters: dict[str, Any]) -> DiffOptions:
    """Return the parameters that `comparison_options` added, except those of the output, and remove them."""
    take = parameters.pop
    tolerances = Tolerances(take("rtol"), take("atol"), take("scale"))
    map_file = take("map_file")
    return DiffOptions(
        Criteria(tolerances, take("exact"), take("max_ulp"), take("min_cosine"), take("nan_equal"), take("min_sqnr")),
        check_attrs=take("check_attrs"),
        allow_missing=take("allow_missing"),
        ignore=take("ignore"),
        layers=take("layer"),
        exclude=take("exclude"),
        renamed=read_map(map_file) if map_file is not None else {},
        transpose=take("transpose"),
        pair=take("pair"),
        ignore_ids=take("ignore_ids"),
    )
