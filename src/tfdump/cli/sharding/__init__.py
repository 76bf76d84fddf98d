"""Commands that write shards: their options, and the loop over the shards."""
