"""Runs in shards: the plan of the whole run, and the dumps of its parts."""
