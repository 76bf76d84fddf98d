"""Notes on the layers of a model that have no tensor."""

from tfdump.tensors import Detail, NotCaptured, Note, listed


def tell_not_captured(missing: tuple[NotCaptured, ...], note: Note) -> None:
    """Tell which layers were not captured, one note per reason. Where that is expected, the note is a detail."""
    by_reason: dict[tuple[str, bool], list[str]] = {}
    for item in missing:
        by_reason.setdefault((item.reason, item.expected), []).append(item.address)
    for (reason, expected), addresses in by_reason.items():
        text = f"not captured: {listed(addresses)} ({reason})"
        note(Detail(text) if expected else text)
