"""Names that repeat."""

import pytest

from tfdump.model.free_names import free_name


@pytest.mark.parametrize(
    ("used", "name"),
    [
        ([], "a"),
        ([{"b"}], "a"),
        ([{"a"}], "a~1"),
        ([{"a", "a~1"}], "a~2"),
        ([{"a", "a~2"}], "a~1"),
        ([{"a"}, {"a~1": 0}], "a~2"),
    ],
)
def test_the_first_name_that_is_free(used: list[set[str]], name: str) -> None:
    assert free_name("a", *used) == name
