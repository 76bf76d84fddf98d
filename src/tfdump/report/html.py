"""Elements of HTML as text. A dump may be hostile, so every text is escaped unless it is Markup."""

import html
import math
from collections.abc import Iterable, Sequence

AttributeValue = str | int | float | None

MISSING = "\u2013"
MINUS = "\u2212"
TIMES = "\u00d7"


class Markup(str):
    """Text that is HTML; only this module makes it."""

    __slots__ = ()


_VOID = frozenset({"meta", "img", "input", "br"})


def element(name: str, /, *children: "str | Markup | None", **attributes: AttributeValue) -> Markup:
    """Return an element; children and attributes that are None are left out, "" is an attribute without a value.

    A trailing `_` is removed (`class_`, `for_`), and any other `_` in a name becomes `-`.
    """
    opening = [name]
    for key, value in attributes.items():
        if value is None:
            continue
        spelled = key.rstrip("_").replace("_", "-")
        opening.append(spelled if value == "" else f'{spelled}="{html.escape(clean(str(value)))}"')
    if name in _VOID:
        return Markup(f"<{' '.join(opening)}>")
    return Markup(f"<{' '.join(opening)}>{join(children)}</{name}>")


def join(children: "Iterable[str | Markup | None]", between: str = "") -> Markup:
    """Return children joined by `between`, each escaped unless it is Markup."""
    inner = [child if isinstance(child, Markup) else escaped(child) for child in children if child is not None]
    return Markup(between.join(inner))


def escaped(text: str) -> Markup:
    """Return text as HTML."""
    return Markup(html.escape(clean(text), quote=False))


def name_of(address: str) -> Markup:
    """Return an address isolated from the text direction around it, which may break after dots and underscores.

    Its parent needs the address as `aria_label` too, because screen readers read a possible break as a space.
    """
    whole = escaped(address)
    return Markup(f"<bdi>{whole.replace('.', '.<wbr>').replace('_', '_<wbr>')}</bdi>")


def clean(text: str) -> str:
    """Return text with the characters escaped that do not print.

    These are control characters, lone surrogates, and the characters that change the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def number_text(value: float | None, digits: int = 4) -> str:
    """Return a number for a cell: integers in full, others with `digits` significant digits."""
    if value is None:
        return MISSING
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
    return f"{value:.{digits}g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-").replace("-", MINUS)


def row_link(row: int | None, text: str) -> Markup:
    """Return a name that links to the tensor, where the list has it."""
    name = name_of(text)
    if row is None:
        return element("span", name, class_="name")
    return element("a", name, href=f"#t{row}", class_="name", aria_label=text)


def size_text(shape: Sequence[int]) -> str:
    """Return a shape with `?` for open sizes."""
    return f" {TIMES} ".join("?" if size == -1 else f"{size}" for size in shape) or "scalar"


def share_text(part: float, of: float) -> str:
    """Return a share in percent, which is 0% or 100% only where it is exact."""
    if not of:
        return MISSING
    percent = 100 * part / of
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.9 < percent < 100:
        return ">99.9%"
    return f"{percent:.3g}%"
