"""A manifest of a small run that was never made, for tests of what reads and writes manifests."""

from dataclasses import replace
from typing import Any

import numpy as np

from tfdump.dump.shards.manifest import Manifest, ShardedPlan
from tfdump.tensors import NotCaptured, PlannedTensor, TensorInfo

INFO = TensorInfo(
    "block.conv:0", "block.conv", "layers[1]", ("Conv2D", "Layer"), 3, "float32", (-1, 4), 12,
    (("scale", np.float32(0.1)), ("axes", np.array([0, 2], np.int64)), ("count", 7)), ("inputs/x",), None,
)  # fmt: skip


def manifest(**changed: Any) -> Manifest:
    """Ten examples from number 100 in batches of 4, in two shards."""
    plan = ShardedPlan(
        tensors=(PlannedTensor("activations", INFO, "example", (-1, 4), 160),),
        fixed=None,
        padding=0,
        depends_on_batch=(),
    )
    made = Manifest(
        kind="activations",
        root=(("format", "tfdump"), ("format_version", np.int64(1)), ("training", False), ("rate", np.float64(0.1))),
        examples=10,
        first_example=100,
        batch_size=4,
        plan=plan,
        ranges=((100, 108), (108, 110)),
        threads=None,
        cpu={"name": "a processor", "flags": "0123"},
        model_sha256="ab" * 32,
        inputs=({"name": "x", "shape": [200, 4], "dtype": "float32", "sha256": "cd" * 32},),
        options={"dtype": None},
        seed=0,
        versions={"numpy_version": "2"},
        config=None,
        not_loaded=(),
        not_captured=(NotCaptured("lost", "it never ran", True),),
        identity=False,
        compression="none",
        checksums=False,
        memory=1 << 28,
        filling=1,
    )
    return replace(made, **changed)
