"""The values of the attribute `axis0`, which says what the first axis of a stored tensor is."""

EXAMPLE = "example"
"""One row per example, in the order of the input."""

NONE = "none"
"""No axis of examples: a constant or a table, stored once."""

BATCH = "batch"
"""One item per batch: a tensor that mixes the examples of a batch, or that has another number of rows."""

STEP = "step"
"""One row per step of gradient descent."""
