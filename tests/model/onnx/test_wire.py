"""The reader of protocol buffers, against the package that writes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from tfdump.model.onnx.wire import DamagedMessage, field_bytes, merged

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=200)


@given(TEXT, st.lists(TEXT, max_size=4), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_what_protobuf_writes_is_read(name: str, inputs: list[str], integers: list[int]) -> None:
    attribute = AttributeProto(name=name, i=7, ints=integers)
    node = NodeProto(name=name, input=inputs, attribute=[attribute])
    read = merged([memoryview(node.SerializeToString())])
    assert (read.text(3), read.texts(1)) == (name, inputs)
    (inner,) = read.messages(5)
    assert (inner.text(1), inner.number(3), inner.integers(8)) == (name, 7, integers)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_packed_numbers_are_read(dims: list[int]) -> None:
    tensor = TensorProto(dims=dims, int64_data=dims, float_data=[0.5] * len(dims))
    read = merged([memoryview(tensor.SerializeToString())])
    assert read.integers(1) == read.integers(7) == dims
    assert np.frombuffer(b"".join(read.views.get(4, [])), "<f4").tolist() == [0.5] * len(dims)


@given(TEXT, TEXT)
def test_messages_that_occur_twice_are_merged(one: str, other: str) -> None:
    graphs = [GraphProto(node=[NodeProto(name=name)], name=name).SerializeToString() for name in (one, other)]
    data = b"".join(field_bytes(7, graph) for graph in graphs)
    read = merged([memoryview(data)]).message(7)
    assert [node.text(3) for node in read.messages(1)] == [one, other]
    assert read.text(2) == GraphProto.FromString(b"".join(graphs)).name


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        message = merged([memoryview(data)])
    except DamagedMessage:
        return
    assert all(len(view) <= len(data) for views in message.views.values() for view in views)


@given(st.binary(max_size=300), st.integers(1, 2**28))
def test_a_field_with_a_length_is_written_as_it_is_read(content: bytes, field: int) -> None:
    read = merged([memoryview(field_bytes(field, content))])
    assert bytes(read.views[field][0]) == content


@pytest.mark.parametrize("data", [b"\x08", b"\x0a\x05abc", b"\x0b", b"\x0d\x01", b"\x02\x00", b"\x08" + b"\xff" * 11])
def test_damage_is_seen(data: bytes) -> None:
    with pytest.raises(DamagedMessage):
        merged([memoryview(data)])
