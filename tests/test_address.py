"""Addresses round-trip, and patterns select what docs/addresses.md says."""

import re
from fnmatch import fnmatchcase
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdump.address import (
    RESERVED_SUFFIXES,
    Candidate,
    Pattern,
    Selection,
    decode,
    depth,
    encode,
    glob_regex,
    member_name,
    output_suffix,
    segment,
    split,
)
from tfdump.errors import SelectionError

SPECIAL = "%.@:~/[]"
names = st.text(st.characters() | st.sampled_from(SPECIAL + "\0\n\x7f\x85"))
keys = st.lists(names | st.integers(0, 99), max_size=4)


def selected(addresses: list[str], *layers: str, **options: object) -> list[str]:
    """The addresses that a selection by `layers` leaves of `addresses`."""
    positions = Selection(layers, **options).choose([Candidate(address) for address in addresses])
    return [addresses[position] for position in positions]


# Spelling


@given(names)
def test_decode_undoes_encode(name: str) -> None:
    assert decode(encode(name)) == name


@given(st.lists(names, min_size=2, max_size=2, unique=True))
def test_different_names_stay_different(pair: list[str]) -> None:
    assert encode(pair[0]) != encode(pair[1])


@given(names)
def test_an_encoded_name_has_none_of_the_separators(name: str) -> None:
    encoded = encode(name)
    assert encoded
    assert not set(encoded) & set(".@:~/[]")
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in encoded)
    encoded.encode("utf-8")  # HDF5 link names are UTF-8


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_encoding_is_ordinary_percent_encoding(name: str) -> None:
    assert unquote(encode(name)) == name


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("dense", "dense"),
        ("Zoë 層", "Zoë 層"),
        ("a.b", "a%2Eb"),
        ("x/y", "x%2Fy"),
        ("50%", "50%25"),
        ("a@1", "a%401"),
        ("a:0", "a%3A0"),
        ("a~1", "a%7E1"),
        ("[0]", "%5B0%5D"),
        ("tab\t", "tab%09"),
        ("\x85", "%C2%85"),
        ("\ud800", "%ED%A0%80"),
        ("", "%"),
    ],
)
def test_encode_writes_special_characters_as_percent_and_hex(name: str, encoded: str) -> None:
    assert encode(name) == encoded


@pytest.mark.parametrize(
    ("path", "suffix"),
    [
        ([], ""),
        ([0], ":0"),
        (["logits"], ":logits"),
        (["a", 1, "b"], ":a.1.b"),
        (["a.b"], ":a%2Eb"),
        ([""], ":%"),
    ],
)
def test_output_suffix_joins_the_keys_of_the_structure(path: list[str | int], suffix: str) -> None:
    assert output_suffix(path) == suffix


@pytest.mark.parametrize("word", ["input", "preactivation", "attention_scores", "states", "gates"])
def test_a_reserved_word_as_output_key_has_its_first_letter_encoded(word: str) -> None:
    assert word in RESERVED_SUFFIXES
    assert output_suffix([word]) == f":%{ord(word[0]):02X}{word[1:]}"
    assert decode(output_suffix([word])[1:]) == word


@pytest.mark.parametrize(
    ("path", "suffix"), [(["x", "input"], ":x.input"), (["inputs"], ":inputs"), (["states", 0], ":%73tates.0")]
)
def test_only_a_first_key_can_be_taken_for_a_reserved_word(path: list[str | int], suffix: str) -> None:
    assert output_suffix(path) == suffix


@given(keys)
def test_no_output_can_be_taken_for_a_reserved_suffix(path: list[str | int]) -> None:
    assert output_suffix(path)[1:].split(".")[0] not in RESERVED_SUFFIXES


@given(keys)
def test_member_name_keeps_every_part_of_the_path(path: list[str | int]) -> None:
    parts = member_name(path).split(".") if path else []
    assert [decode(part) for part in parts] == [str(part) for part in path]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("h",), "h"),
        (("h", 1), "h~1"),
        (("h", 0, 2), "h@2"),
        (("h", 1, 2), "h~1@2"),
        (("h~1",), "h%7E1"),
    ],
)
def test_segment_numbers_namesakes_and_calls(arguments: tuple, expected: str) -> None:
    assert segment(*arguments) == expected


@pytest.mark.parametrize(
    ("address", "layer", "suffix"),
    [
        ("dense", "dense", ""),
        ("a.b@1:0", "a.b@1", "0"),
        ("lstm:states.0", "lstm", "states.0"),
        ("odd:x.y", "odd", "x.y"),
    ],
)
def test_split_separates_the_layer_from_the_suffix(address: str, layer: str, suffix: str) -> None:
    assert split(address) == (layer, suffix)


@pytest.mark.parametrize(
    ("address", "segments"), [("dense", 1), ("a.b.c", 3), ("a.b:x.y.z", 2), ("a%2Eb.c", 2), ("e@1.d", 2)]
)
def test_depth_counts_the_segments_and_not_the_suffix(address: str, segments: int) -> None:
    assert depth(address) == segments


# Globs

NETWORK = [
    "block1",
    "block1.conv",
    "block1.conv@1",
    "block1@1.conv",
    "block2.attention.query",
    "lstm:0",
    "lstm:1",
    "lstm@1:0",
    "lstm:states.0",
    "a%5Bb",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("block1.conv", ["block1.conv", "block1.conv@1", "block1@1.conv"]),
        ("block1/conv", ["block1.conv", "block1.conv@1", "block1@1.conv"]),
        ("block1", ["block1"]),
        ("block1.conv@1", ["block1.conv@1"]),
        ("block1@1.*", ["block1@1.conv"]),
        ("block2.*", ["block2.attention.query"]),
        ("*query", ["block2.attention.query"]),
        ("*.query", ["block2.attention.query"]),
        ("block?.conv", ["block1.conv", "block1.conv@1", "block1@1.conv"]),
        ("lstm", ["lstm:0", "lstm:1", "lstm@1:0", "lstm:states.0"]),
        ("lstm:0", ["lstm:0", "lstm@1:0"]),
        ("lstm@1:0", ["lstm@1:0"]),
        ("lstm@1", ["lstm@1:0"]),
        ("lstm:?", ["lstm:0", "lstm:1", "lstm@1:0"]),
        ("*:states.*", ["lstm:states.0"]),
        ("a%5Bb", ["a%5Bb"]),
        ("*", NETWORK),
        ("re:block1\\.conv", ["block1.conv"]),
        ("re:.*@1.*", ["block1.conv@1", "block1@1.conv", "lstm@1:0"]),
        ("re:lstm:[01]", ["lstm:0", "lstm:1"]),
    ],
)
def test_a_pattern_selects(pattern: str, expected: list[str]) -> None:
    assert selected(NETWORK, pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "address"),
    [
        ("conv", "conv2"),
        ("conv", "block.conv"),
        ("con?", "con"),
        ("a.b", "axb"),
        ("Dense", "dense"),
        ("[ab]", "a"),
        ("lstm:0", "lstm"),
        ("x@1", "x"),
        ("re:conv", "conv2"),
        ("re:onv", "conv"),
        ("re:lstm", "lstm:0"),
        ("conv+", "convv"),
        ("a|b", "a"),
    ],
)
def test_a_pattern_leaves_alone(pattern: str, address: str) -> None:
    assert not Pattern(pattern).matches(address)


def test_an_open_bracket_in_a_glob_means_itself() -> None:
    assert glob_regex("a[0]*").fullmatch("a[0]b")
    assert not glob_regex("a[0]*").fullmatch("a0b")


@given(st.text(st.characters(exclude_characters="*?/")))
def test_a_glob_without_wildcards_matches_only_itself(text: str) -> None:
    assert glob_regex(text).fullmatch(text)
    assert not glob_regex(text).fullmatch(text + "x")


@given(st.lists(names, min_size=1, max_size=3), st.integers(0, 2), st.integers(0, 2))
def test_every_address_selects_itself_and_its_further_calls(path: list[str], namesake: int, call: int) -> None:
    plain = ".".join(segment(name, namesake) for name in path)
    called = ".".join(segment(name, namesake, call) for name in path)
    if not plain.startswith(("re:", "type:")):
        assert Pattern(plain).matches(called)


@pytest.mark.parametrize("pattern", ["type:Conv2D", "type:BaseConv", "type:Layer", "type:*Conv*"])
def test_type_selects_by_class_and_base_class(pattern: str) -> None:
    assert Pattern(pattern).matches("c", ("Conv2D", "BaseConv", "Layer"))


@pytest.mark.parametrize("pattern", ["type:Conv1D", "type:Conv", "type:conv2d", "type:c"])
def test_type_leaves_other_classes_alone(pattern: str) -> None:
    assert not Pattern(pattern).matches("c", ("Conv2D", "BaseConv", "Layer"))


@given(st.text("ab.@:1*?", max_size=8), st.text("ab.@:1", min_size=1, max_size=8))
def test_a_glob_matches_what_fnmatch_does(pattern: str, address: str) -> None:
    """`[`, which has a meaning for fnmatch alone, is left out."""
    assert bool(glob_regex(pattern).fullmatch(address)) == fnmatchcase(address, pattern)


# Selection


addresses = st.lists(st.text("abc.", min_size=1, max_size=4), min_size=1, max_size=6, unique=True)
globs = st.lists(st.text("abc.*?", min_size=1, max_size=3), max_size=3)


@given(addresses, globs, globs, st.none() | st.integers(1, 3))
def test_a_selection_is_a_union_minus_a_union_in_order(
    known: list[str], layers: list[str], exclude: list[str], deepest: int | None
) -> None:
    """Against fnmatch; what matches nothing is an error."""

    def any_of(address: str, patterns: list[str]) -> bool:
        return any(fnmatchcase(address, pattern) for pattern in patterns)

    left = [address for address in known if not layers or any_of(address, layers)]
    left = [address for address in left if not any_of(address, exclude)]
    expected = [address for address in left if deepest is None or depth(address) <= deepest]
    try:
        positions = selected(known, *layers, exclude=exclude, max_depth=deepest)
    except SelectionError:
        unmatched = [one for one in (*layers, *exclude) if not any(fnmatchcase(address, one) for address in known)]
        assert unmatched or not expected
    else:
        assert positions == expected


def test_without_patterns_everything_is_selected() -> None:
    assert selected(NETWORK) == NETWORK
    assert not Selection().selects_layers


def test_several_layers_are_a_union_in_the_order_of_execution() -> None:
    assert selected(["a", "b", "c"], "c", "a") == ["a", "c"]
    assert Selection(["c"]).selects_layers


def test_exclude_takes_away_from_what_layers_selected() -> None:
    assert selected(["e.a", "e.b", "f"], "e.*", exclude=["*.b"]) == ["e.a"]


def test_exclude_by_class_takes_away_from_everything() -> None:
    candidates = [Candidate("a", ("Dense", "Layer")), Candidate("b", ("Dropout", "Layer"))]
    assert Selection(exclude=["type:Dropout"]).choose(candidates) == [0]


@pytest.mark.parametrize(("most", "expected"), [(1, ["a", "d:x.y"]), (2, ["a", "a.b", "d:x.y"])])
def test_depth_keeps_addresses_of_at_most_so_many_segments(most: int, expected: list[str]) -> None:
    assert selected(["a", "a.b", "a.b.c", "d:x.y"], max_depth=most) == expected


def test_depth_also_limits_what_a_pattern_selects() -> None:
    assert selected(["a", "a.b", "a.b.c"], "a*", max_depth=2) == ["a", "a.b"]


@pytest.mark.parametrize("too_small", [0, -1])
def test_a_depth_below_one_is_refused(too_small: int) -> None:
    with pytest.raises(SelectionError, match=f"depth {too_small} "):
        Selection(max_depth=too_small)


@pytest.mark.parametrize("text", ["", "re:", "type:"])
def test_an_empty_pattern_is_refused(text: str) -> None:
    with pytest.raises(SelectionError, match="empty layer pattern"):
        Selection([text])


def test_a_malformed_regular_expression_is_refused_with_its_text() -> None:
    with pytest.raises(SelectionError, match=r"'re:\(' is not a regular expression"):
        Selection(["re:("])


@pytest.mark.parametrize(
    ("pattern", "suggestion"),
    [
        ("conv_9", "'conv_1'"),
        ("dens", "'encoder.dense'"),
        ("encoder/dens", "'encoder.dense'"),
        ("re:conv_9", "'conv_1'"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error_with_near_names(pattern: str, suggestion: str) -> None:
    with pytest.raises(SelectionError, match=f"no layer matches '{pattern}'; near: .*{suggestion}.*tfdump layers"):
        selected(["conv_1", "conv_2", "encoder.dense"], pattern)


def test_an_exclusion_that_matches_nothing_is_an_error_too() -> None:
    with pytest.raises(SelectionError, match="no layer matches 'dense_7'"):
        selected(["dense"], exclude=["dense_7"])


def test_each_pattern_has_to_match_by_itself() -> None:
    with pytest.raises(SelectionError, match="'nothing_like_it'"):
        selected(["dense"], "dense", "nothing_like_it")


def test_an_unknown_class_is_an_error_with_near_classes() -> None:
    with pytest.raises(SelectionError, match="class 'Conv3D'; near: 'Conv2D'"):
        Selection(["type:Conv3D"]).choose([Candidate("c", ("Conv2D", "Layer"))])


def test_the_error_names_the_remedy_that_the_caller_gives() -> None:
    with pytest.raises(SelectionError, match=r"\(list them: tfdump show\)"):
        Selection(["x"]).choose([Candidate("dense")], remedy="list them: tfdump show")


def test_patterns_that_leave_nothing_together_are_an_error() -> None:
    with pytest.raises(SelectionError, match="together select no tensor"):
        selected(["dense"], "dense", exclude=["dense"])


@pytest.mark.parametrize(
    ("layers", "exclude", "words"),
    [
        (["conv1,conv2"], [], "'conv1,conv2': repeat the option for several patterns (-l conv1 -l conv2)"),
        ([], ["conv1, conv2"], "(-x conv1 -x conv2)"),
    ],
)
def test_several_addresses_in_one_pattern_are_an_error_that_shows_how(
    layers: list[str], exclude: list[str], words: str
) -> None:
    with pytest.raises(SelectionError, match=re.escape(words)):
        Selection(layers, exclude).choose([Candidate("conv1"), Candidate("conv2")])


def test_a_name_with_a_comma_is_chosen_by_itself() -> None:
    assert Selection(["a,b"]).choose([Candidate("a"), Candidate("a,b")]) == [1]
