"""Names of files and of archive members: safe, unique, and reversible."""

from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdump.dump.view import MemoryPart, View
from tfdump.exports.arrays import Exported, member_names
from tfdump.exports.header import c_identifiers
from tfdump.exports.names import FileNames, file_name


@given(st.text(min_size=1, max_size=40))
def test_a_file_name_is_safe_and_gives_the_address_back(address: str) -> None:
    name = file_name(address)
    assert name.isascii()
    assert not set('<>:"/\\|?* \0') & set(name)
    assert name[0] not in ".-"
    if len(name) <= 180:
        assert unquote(name, errors="surrogatepass") == address


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("encoder@1.dense", "encoder@1.dense"),
        ("lstm:states.0", "lstm%3Astates.0"),
        ("a%2Eb", "a%252Eb"),
        ("../../etc", "%2E.%2F..%2Fetc"),
        ("nul", "%6Eul"),
        ("Con.x", "%43on.x"),
        ("console", "console"),
        ("é", "%C3%A9"),
    ],
)
def test_names_of_files(address: str, name: str) -> None:
    assert file_name(address) == name


def test_long_addresses_stay_apart() -> None:
    one, two = (file_name("block." * 100 + end) for end in "ab")
    assert one != two
    assert max(len(one), len(two)) < 200


@given(st.lists(st.sampled_from(["Dense", "dense", "dEnse", "DENSE", "d%45nse", "a.values", "a"]), unique=True))
def test_no_two_files_differ_in_capitals_only(addresses: list[str]) -> None:
    names = FileNames()
    file_names = [names.take(address, part) for address in addresses for part in ("", "values", "Values")]
    assert len({name.casefold() for name in file_names}) == len(file_names)


def test_a_part_gives_way_to_a_tensor_of_that_name() -> None:
    view = View(MemoryPart(np.zeros(1)))
    plain = Exported("activations/r.values", "r.values", {"": view})
    ragged = Exported("activations/r", "r", {"values": view, "row_splits": view})
    assert list(member_names([ragged, plain]).values()) == [
        "activations/r%2Evalues",
        "activations/r.row_splits",
        "activations/r.values",
    ]


@given(st.lists(st.text(max_size=6), unique=True, max_size=12))
def test_identifiers_are_valid_and_unique(addresses: list[str]) -> None:
    identifiers = c_identifiers(f"activations/{address}" for address in addresses)
    assert len({identifier.casefold() for identifier in identifiers.values()}) == len(addresses)
    for identifier in identifiers.values():
        assert identifier.isidentifier()
        assert identifier.isascii()
        assert "__" not in identifier


def test_identifiers_do_not_depend_on_repetition() -> None:
    assert c_identifiers(["outputs/a.b", "outputs/a_b", "outputs/a.b"]) == {
        "outputs/a.b": "outputs_a_b",
        "outputs/a_b": "outputs_a_b_2",
    }
