"""Addresses, the one spelling of a tensor's name, and patterns that select among them. Pure Python.

An address is `segment.segment:suffix`. A segment is the name of a layer, followed by `~k` for the k-th further layer of
that name in one parent, and by `@n` for the n-th further call in one call of the parent. See docs/addresses.md.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from tfdump.captures import NOTHING_MORE, option_for
from tfdump.errors import SelectionError, near

OPERATION = "op"
"""The first word of the suffix of an operation inside a layer."""

LORA = "lora"
"""The suffix of what the low-rank factors of a layer add to a weight."""

RESERVED_SUFFIXES = frozenset(
    {"input", "preactivation", "attention_scores", "states", "gates", "lengths", OPERATION, LORA}
)
"""First words of suffixes for tensors that are not outputs of the layer."""

_SPECIAL = frozenset("%.@:~/[]")
_EMPTY = "%"
_CALL = re.compile(r"@\d+")


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def encode(name: str) -> str:
    """Return `name` as a segment, key or variable name of an address.

    `% . @ : ~ / [ ]`, control characters and lone surrogates are percent-encoded as UTF-8. The empty name becomes `%`.
    """
    if not name:
        return _EMPTY
    return "".join(
        _percent(character) if character in _SPECIAL or unicodedata.category(character) in ("Cc", "Cs") else character
        for character in name
    )


def decode(segment: str) -> str:
    """Return the name from which `encode` made `segment`."""
    return "" if segment == _EMPTY else unquote_to_bytes(segment).decode("utf-8", "surrogatepass")


def output_suffix(path: Sequence[str | int]) -> str:
    """Return the suffix of one output: "" for a single output, or `:` and the keys of the structure joined by dots.

    If the first key equals a reserved word, its first letter is encoded, so that it is not taken for that word.
    """
    if not path:
        return ""
    keys = [encode(str(key)) for key in path]
    if isinstance(path[0], str) and path[0] in RESERVED_SUFFIXES:
        keys[0] = _percent(path[0][0]) + keys[0][1:]
    return ":" + ".".join(keys)


def member_name(path: Sequence[str | int]) -> str:
    """Return the name of an input or a final output of a model: its structure path, encoded and joined by dots."""
    return ".".join(encode(str(part)) for part in path)


def segment(name: str, namesake: int = 0, call: int = 0) -> str:
    """Return one segment: the encoded `name`, with `~namesake` and `@call` where these are not 0."""
    return encode(name) + (f"~{namesake}" if namesake else "") + (f"@{call}" if call else "")


def split(address: str) -> tuple[str, str]:
    """Return the address of the layer call, and the suffix without its colon ("" if there is none)."""
    layer, _, suffix = address.partition(":")
    return layer, suffix


def reserved_word(address: str) -> str:
    """Return the first word of the suffix of a tensor that is no output of its layer; "" for an output."""
    word = split(address)[1].partition(".")[0]
    return word if word in RESERVED_SUFFIXES else ""


def depth(address: str) -> int:
    """Return the number of segments of an address."""
    return split(address)[0].count(".") + 1


def glob_regex(pattern: str) -> re.Pattern[str]:
    """Compile a shell glob in which `*` also matches dots, `/` means `.`, and `[` stands for itself."""
    translated = {"*": ".*", "?": ".", "/": re.escape(".")}
    return re.compile("".join(translated.get(c) or re.escape(c) for c in pattern), re.DOTALL)


@dataclass(frozen=True)
class Pattern:
    """One `--layer` or `--exclude` pattern: a glob, `type:CLASS` or `re:REGEX`.

    Raises SelectionError if the text is empty or is not a valid regular expression.
    """

    text: str
    _regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.text or self.text in ("re:", "type:"):
            raise SelectionError(
                f"empty layer pattern '{self.text}' (write an address, a glob such as 'block*', type:CLASS or re:REGEX)"
            )
        if self.text.startswith("re:"):
            try:
                regex = re.compile(self.text[3:])
            except re.error as error:
                raise SelectionError(f"'{self.text}' is not a regular expression: {error}") from None
        else:
            regex = glob_regex(self.text)
        object.__setattr__(self, "_regex", regex)

    def matches(self, address: str, classes: Sequence[str] = ()) -> bool:
        """Tell whether the pattern matches `address`; `classes` are the layer's class and its base classes."""
        if self.text.startswith("re:"):
            return self._regex.fullmatch(address) is not None
        if self.text.startswith("type:"):
            wanted = glob_regex(self.text[5:])
            if any(wanted.fullmatch(name) for name in classes):
                return True
        layer, suffix = split(address)
        if "@" not in self.text:
            layer = _CALL.sub("", layer)
        targets = [f"{layer}:{suffix}" if suffix else layer]
        if ":" not in self.text:
            targets.append(layer)
        return any(self._regex.fullmatch(target) for target in targets)

    def selects(self, candidate: "Candidate") -> bool:
        """Tell whether the pattern matches a candidate by its own address or by one of those in `within`."""
        ways = (candidate, *candidate.within)
        return any(self.matches(way.address, way.classes) for way in ways)


@dataclass(frozen=True)
class Candidate:
    """What a selection chooses from: an address and the class names of its layer, nearest first.

    `within` has further addresses by which the same tensor can be selected: for a weight, the layers that contain it.
    `layer` is the address of the tensor's layer, if the address does not begin with it.
    """

    address: str
    classes: tuple[str, ...] = ()
    within: "tuple[Candidate, ...]" = ()
    layer: str | None = None

    @property
    def depth(self) -> int:
        """The number of segments that `--depth` counts: those of the layer."""
        return depth(self.address if self.layer is None else self.layer)


class Selection:
    """The tensors that `--layer`, `--exclude` and `--depth` select; without any of them, all tensors.

    Raises SelectionError for a malformed pattern or a depth below 1.
    """

    def __init__(self, layers: Iterable[str] = (), exclude: Iterable[str] = (), max_depth: int | None = None) -> None:
        self.layers = tuple(Pattern(text) for text in layers)
        self.exclude = tuple(Pattern(text) for text in exclude)
        self.max_depth = max_depth
        if max_depth is not None and max_depth < 1:
            raise SelectionError(f"depth {max_depth} is below 1 (1 keeps the layers of the model itself)")

    @property
    def selects_layers(self) -> bool:
        """Whether there are `--layer` patterns."""
        return bool(self.layers)

    def choose(
        self,
        candidates: Sequence[Candidate],
        missing: Mapping[str, str] | None = None,
        remedy: str = NOTHING_MORE.advice,
    ) -> list[int]:
        """Return the positions of the selected candidates, in order.

        `missing` has addresses that exist but cannot be captured, with the reasons. Raises SelectionError for a pattern
        that matches nothing, with that reason or with near names and `remedy`, and if all patterns together select
        nothing.
        """
        for pattern in (*self.layers, *self.exclude):
            if not any(pattern.selects(c) for c in candidates):
                for address, reason in (missing or {}).items():
                    if pattern.matches(address):
                        raise SelectionError(f"'{address}' cannot be captured: {reason}")
                raise SelectionError(self._matches_nothing(pattern, candidates) + f" ({remedy})")
        positions = [position for position, candidate in enumerate(candidates) if self.wants(candidate)]
        if candidates and not positions:
            raise SelectionError(f"--layer, --exclude and --depth together select no tensor ({remedy})")
        return positions

    def wants(self, candidate: Candidate) -> bool:
        """Tell whether the selection includes one candidate."""
        return (
            (not self.layers or any(pattern.selects(candidate) for pattern in self.layers))
            and not any(pattern.selects(candidate) for pattern in self.exclude)
            and (self.max_depth is None or candidate.depth <= self.max_depth)
        )

    def _matches_nothing(self, pattern: Pattern, candidates: Sequence[Candidate]) -> str:
        option = "-l" if pattern in self.layers else "-x"
        if pattern.text.startswith("type:"):
            classes = [name for c in candidates for name in c.classes[:1]]
            return f"no layer has the class '{pattern.text[5:]}'{near(pattern.text[5:], classes)}"
        wanted = pattern.text.removeprefix("re:").replace("/", ".")
        capture = option_for(split(wanted)[1])
        if capture and capture not in {option_for(split(c.address)[1]) for c in candidates}:
            return f"no layer matches '{pattern.text}'; tfdump activations {capture} captures such tensors"
        several = pattern.text.split(",")
        if len(several) > 1 and all(part.strip() for part in several) and not pattern.text.startswith("re:"):
            each = " ".join(f"{option} {part.strip()}" for part in several)
            return f"no layer matches '{pattern.text}': repeat the option for several patterns ({each})"
        return f"no layer matches '{pattern.text}'{near(wanted, (c.address for c in candidates))}"
