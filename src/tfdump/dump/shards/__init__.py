"""A folder of shards: its manifest, and what a shard has that an ordinary dump has not."""
