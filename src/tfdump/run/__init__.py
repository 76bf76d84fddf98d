"""A model over a source into a dump: plan, batches, sinks."""
