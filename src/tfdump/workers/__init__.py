"""Runs in shards on workers: processes of this machine, or those of a Dask cluster."""
