"""Names in notes."""

import pytest

from tfdump.tensors import listed


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["b", "a", "b"], "b, a"),
        ([], ""),
        ([f"a:op.{n}" for n in range(4)], "a:op.0, a:op.1, a:op.2, a:op.3"),
        (["a:op.x", *(f"layer{n}" for n in range(6))], "layer0, layer1, layer2, layer3, layer4, layer5, a:op.x"),
        (["last", *(f"a:op.{n}" for n in range(5))], "last, a:op.0, a:op.1, a:op.2, a:op.3 and 1 more operation"),
        ([f"a:op.{n}" for n in range(9)], "a:op.0, a:op.1, a:op.2, a:op.3 and 5 more operations"),
    ],
)
def test_layers_are_all_listed_and_only_the_first_operations(names: list[str], text: str) -> None:
    assert listed(names) == text
