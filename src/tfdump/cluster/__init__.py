"""Runs in shards on the workers of a Dask cluster, for those who hold its client.

from dask.distributed import Client
import tfdump.cluster

client = Client("scheduler.json")
made = tfdump.cluster.activations(client, "model.keras", "x.npy", shards="features")
with tfdump.open(made.folder) as dump:
    ...
"""

from tfdump.cluster.activation_shards import activations
from tfdump.cluster.cluster_run import ShardedRunResult
from tfdump.cluster.gradient_shards import gradients

__all__ = ["ShardedRunResult", "activations", "gradients"]
