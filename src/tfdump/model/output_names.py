"""The name of the final output of a model."""

from keras import Layer, Sequential

from tfdump.model.any_backend_internals import Functional


def only_output_name(model: Layer) -> str:
    """Return the name of the layer that returns the only output, or `output` where the model does not know it."""
    if isinstance(model, Sequential) and model.layers:
        return str(model.layers[-1].name)
    if isinstance(model, Functional) and len(model.output_names) == 1:
        return str(model.output_names[0])
    return "output"
