"""The README of a shrunk difference: what differs, where, and how to see it."""

import platform
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfdump.dump import layout
from tfdump.side_by_side.model_side import ModelSide
from tfdump.side_by_side.run import AnySide, SideBySide
from tfdump.side_by_side.shrink.command_line import MAP, option_words, options_of_part
from tfdump.side_by_side.shrink.folder import MARK
from tfdump.side_by_side.shrink.records import (
    ACTUAL,
    EXPECTED,
    INPUT,
    SEVERAL_INPUTS,
    PartFile,
    ShrinkRequest,
    Shrunk,
)
from tfdump.side_by_side.shrink.trial import Tried
from tfdump.tensors import Array
from tfdump.version import __version__

_INPUT = f"{layout.INPUTS}/"

_LIBRARIES = {"tensorflow_version": "TensorFlow", "keras_version": "Keras", "numpy_version": "NumPy"}
"""The names of libraries by the attributes of a dump that have their versions."""

_MOST_EXAMPLES = 8
"""Numbers of examples that are listed."""


def readme_text(sides: SideBySide, shrunk: Shrunk, tried: Tried, request: ShrinkRequest) -> str:
    """Return the text of the README."""
    tensor = shrunk.tensor
    kind = f" ({tensor.class_name})" if tensor.class_name else ""
    names = [_short(side, sides) for side in (sides.golden, sides.new)]
    lines = [
        f"# {names[0]} and {names[1]} differ at {tensor.shown_name}{kind}",
        "",
        f"{_sentence(tried.reason)}",
        "",
        "| file | what it is |",
        "|---|---|",
        *(f"| {cells} |" for cells in _files(sides, shrunk, tried, request)),
        "",
        "In this folder, with exit status 1 (they differ):",
        "",
        "```sh",
        *_commands(sides, shrunk, tried, request),
        "```",
        "",
        *(f"- {line}" for line in _origins(sides)),
        *(f"- {line}" for line in _limits(shrunk)),
        "",
        MARK,
    ]
    return "\n".join(lines) + "\n"


def _short(side: AnySide, sides: SideBySide) -> str:
    """Return the name of the file of a side, with its role where both have one name."""
    names = [Path(one.name).name for one in (sides.golden, sides.new)]
    name = Path(side.name).name
    return name if names[0] != names[1] else f"{name} ({'golden' if side is sides.golden else 'new'})"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _files(sides: SideBySide, shrunk: Shrunk, tried: Tried, request: ShrinkRequest) -> Iterator[str]:
    """Yield the cells of the table of files."""
    numbers = ", ".join(map(str, shrunk.examples[:_MOST_EXAMPLES]))
    numbers += ", ..." if len(shrunk.examples) > _MOST_EXAMPLES else ""
    what = f"example{'' if len(shrunk.examples) == 1 else 's'} {numbers} of {request.inputs}"
    points = [point.golden for point in shrunk.points]
    if not all(point.startswith(_INPUT) for point in points):
        what = f"the values of {_listed(points)} in {_short(sides.golden, sides)}, for {what}"
    yield f"`{INPUT if len(points) == 1 else SEVERAL_INPUTS}` | {what}"
    for side, part in zip((sides.golden, sides.new), shrunk.parts, strict=True):
        if part.file is not None and part.copied:
            yield f"`{part.file.name}` | {_part_in_words(part, shrunk)} of {_short(side, sides)}"
    if tried.options.renamed:
        yield f"`{MAP}` | the tensors that belong together"
    for name, side, values in ((EXPECTED, sides.golden, tried.expected), (ACTUAL, sides.new, tried.turned)):
        yield f"`{name}` | `{shrunk.tensor.shown_name}` of {_short(side, sides)}: {_described(values)}"


def _part_in_words(part: PartFile, shrunk: Shrunk) -> str:
    if part.whole:
        return "the whole model"
    return f"the part from {_listed(point.golden for point in shrunk.points)} to `{shrunk.tensor.shown_name}`"


def _listed(names: Iterable[str]) -> str:
    """Return addresses, and the names of inputs, in words."""
    return " and ".join(
        f"the input `{name.removeprefix(_INPUT)}`" if name.startswith(_INPUT) else f"`{name}`" for name in names
    )


def _described(values: Array) -> str:
    return f"{values.dtype} {values.shape}"


def _commands(sides: SideBySide, shrunk: Shrunk, tried: Tried, request: ShrinkRequest) -> list[str]:
    """Return the commands that show the difference."""
    inputs = INPUT if len(shrunk.points) == 1 else SEVERAL_INPUTS
    words = [*request.options, *_imports(sides, request)]
    if tried.trust and "--trust-model" not in words:
        words.append("--trust-model")
    golden, new = shrunk.parts
    if golden.file is not None and new.file is not None:
        files = [_path(part, request) for part in (golden, new)]
        return [
            _line(
                "tfdump", "compare", *files, inputs, *golden.options, *new.options, *words, *option_words(tried.options)
            )
        ]
    part, place = (new, 1) if golden.file is None else (golden, 0)
    dequantize = ["--dequantize"] if any(word.endswith("-dequantize") for word in part.options) else []
    signature = request.new.signature if place else request.golden.signature
    words += ["--signature", signature] if part.whole and signature is not None else []
    dump, values = f"{('golden', 'new')[place]}.h5", f"{('golden', 'new')[place]}.npy"
    options = option_words(options_of_part(shrunk.tensor, tried.options))
    pair = [EXPECTED, values] if place else [values, ACTUAL]
    return [
        _line("tfdump", "activations", _path(part, request), inputs, *dequantize, *words, "-o", dump, "-f"),
        _line("tfdump", "cat", dump, tried.names[place], "-o", values, "-f"),
        _line("tfdump", "diff", *pair, *options),
    ]


def _imports(sides: SideBySide, request: ShrinkRequest) -> list[str]:
    """Return the options that import the classes of the models in memory."""
    classes: dict[str, type] = {}
    for side in sides.models:
        if not side.run.loaded.sha256:
            from tfdump.model.cutting.custom_classes import custom_classes

            classes |= custom_classes(side.run.loaded.model)
    if not classes:
        return []
    from tfdump.model.cutting.custom_classes import import_options

    return import_options(classes, request.folder)


def _line(*words: str) -> str:
    return " ".join(map(shlex.quote, words))


def _path(part: PartFile, request: ShrinkRequest) -> str:
    from tfdump.model.cutting.part import path_from

    assert part.file is not None
    return part.file.name if part.copied else path_from(part.file, request.folder)


def _origins(sides: SideBySide) -> Iterator[str]:
    """Yield where the models come from, and the versions of what ran them."""
    versions: dict[str, str] = {"tfdump": __version__, "Python": platform.python_version()}
    for side in (sides.golden, sides.new):
        if not isinstance(side, ModelSide):
            yield f"{_short(side, sides)} is a dump"
            continue
        from tfdump.model.loading.load import versions as versions_of

        loaded = side.run.loaded
        own = versions_of(loaded)
        runtime = own.pop("runtime", None)
        if runtime is not None:
            own[runtime] = own.pop("runtime_version")
        versions |= {_LIBRARIES.get(name, name): version for name, version in own.items()}
        origin = f"SHA-256 {loaded.sha256}" if loaded.sha256 else "in memory"
        yield f"{_short(side, sides)}: {loaded.class_name}, {origin}"
    yield ", ".join(f"{name} {version}" for name, version in versions.items())


def _limits(shrunk: Shrunk) -> Iterator[str]:
    """Yield why nothing smaller is here."""
    for part in shrunk.parts:
        if part.file is not None and not part.copied:
            yield f"{part.file.name} is too large to be copied here"
    yield from shrunk.notes
