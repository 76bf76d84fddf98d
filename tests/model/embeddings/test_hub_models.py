"""Random examples run through published architectures, whose embeddings are inside layers of their own."""

from typing import Any

import keras
import numpy as np
import pytest

from support import hub_models
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.input_array import InputCollection
from tfdump.inputs.matching import match
from tfdump.inputs.random_rows import RandomExamples
from tfdump.model.keras_signature import signature_of

OPTIONS = DataOptions(random=2, open_size=hub_models.TOKENS)
NAMES = ["BertBackbone", "CLIPBackbone", "FNetBackbone", "PARSeqBackbone", "T5Backbone", "ViTBackbone"]


def largest_id(operation: Any) -> int:
    """The rows of the largest table in a layer."""
    tables = [one for one in operation._flatten_layers() if isinstance(one, keras.layers.Embedding)]
    return max(table.input_dim for table in tables)


@pytest.mark.parametrize("name", NAMES)
def test_random_examples_run(name: str) -> None:
    model = hub_models.MODELS[name]()
    specs = signature_of(model, []).specs
    readers = match([InputCollection(None, RandomExamples(OPTIONS))], specs)
    arrays = {key: reader.read(0, 2) for key, reader in readers.items()}
    for spec in specs:
        if "token_ids" in spec.name:
            assert spec.vocabulary == hub_models.VOCABULARY
            assert 0 <= arrays[spec.name].min() < arrays[spec.name].max() < largest_id(model)
        if "mask" in spec.name:
            assert arrays[spec.name].all()
    outputs = model(hub_models.argument(model, arrays))
    assert all(np.isfinite(np.asarray(value)).all() for value in keras.tree.flatten(outputs))
