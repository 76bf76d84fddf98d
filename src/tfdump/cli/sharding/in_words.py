"""How many shards of a run there are, in words."""

from pathlib import Path

from tfdump.dump.shards.folder import missing_shards
from tfdump.dump.shards.manifest import Manifest
from tfdump.files.paths import as_argument


def summary_of_shards(manifest: Manifest, folder: Path, written: int) -> str:
    """Return how many shards there are, how many were written now, and what is next."""
    count, missing = len(manifest.ranges), missing_shards(manifest, folder)
    now = f"{count} {'shard' if count == 1 else 'shards'}, {written} written now"
    if missing:
        return f"{now}, {missing} missing (make them with --shard K/{count}, or all of them without --shard)"
    return f"{now}, none missing (next: tfdump merge {as_argument(folder)} -o FILE)"
