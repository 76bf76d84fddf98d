"""The tensors of a dump of gradients that the loss does not depend on, which no state of a shard tells."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tfdump.dump import layout
from tfdump.dump.shards.joined_records import JoinedTensor
from tfdump.dump.shards.open_shards import OpenShards
from tfdump.dump.shards.stored_forms import StoredForm
from tfdump.errors import DumpError
from tfdump.files.hdf5 import attributes_of
from tfdump.tensors import TensorInfo


def unconnected_tensors(shards: OpenShards) -> Iterator[JoinedTensor]:
    """Yield the tensors that the loss does not depend on, as the first shard has them."""
    planned = {(tensor.group, tensor.info.address) for tensor in shards.manifest.plan.tensors}
    groups = (layout.WEIGHT_GRADIENTS, layout.ACTIVATION_GRADIENTS, layout.INPUT_GRADIENTS)
    for group in (group for group in groups if shards.has(0, group)):
        for name in shards.item(0, group):
            if (group, name) in planned:
                continue
            stored = attributes_of(shards.item(0, f"{group}/{name}"), DumpError)
            extra = {"aliases": stored["aliases"]} if "aliases" in stored else {}
            yield JoinedTensor(group, _info_of(stored), StoredForm({}, {}), extra)


def _info_of(stored: Mapping[str, Any]) -> TensorInfo:
    """Return the record of a tensor from the attributes of its dataset."""
    shape = stored.get("shape")
    lists = {name: stored.get(name) for name in (layout.READ, layout.OPERANDS)}
    inputs, operands = (None if text is None else tuple(json.loads(text)) for text in lists.values())
    known = ("axis0", "address", "layer", "structure", "class", "order", "dtype", "shape", "stored_as", "connected")
    rest = {name: value for name, value in stored.items() if name not in (*known, *lists, "aliases", "crc32")}
    return TensorInfo(
        str(stored["address"]),
        str(stored["layer"]),
        str(stored["structure"]),
        (str(stored["class"]),),
        int(stored["order"]),
        str(stored["dtype"]),
        None if shape is None else tuple(int(size) for size in shape),
        attributes=tuple(rest.items()),
        inputs=inputs,
        operands=operands,
    )
