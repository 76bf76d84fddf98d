"""The model of the process: how it is called, and what its runs give."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from keras import Layer

from tfdump.address import member_name
from tfdump.dump.layout import EXECUTED_AS, OUTPUTS
from tfdump.errors import ModelError, TfdumpError
from tfdump.model.backends.program.recorder import BackendRecorder
from tfdump.model.backends.program.state import BackendState
from tfdump.model.backends.program.values import (
    array_of_tensor,
    dense_tensors_in,
    dtype_of,
    obstacles_to_dense_in,
    tensor_of,
    without_gradients,
)
from tfdump.model.error_text import first_line
from tfdump.model.keras_signature import float_dtype_of, signature_of, training_argument
from tfdump.model.loading.lambda_code import advice_on_names
from tfdump.model.output_names import only_output_name
from tfdump.model.recording.frames import RecordedTensor
from tfdump.model.recording.ownership import class_names
from tfdump.tensors import Array


class RunningModel:
    """A loaded model, which runs eagerly; the tensors of the latest run wait until they are fetched."""

    def __init__(self, model: Layer, seed: int) -> None:
        self._model = model
        self._state = BackendState(model, seed)
        self._signature = signature_of(model, [])
        self._tensors: dict[tuple[bool, str], Any] = {}

    def description(self) -> dict[str, Any]:
        """Return what tfdump needs to know of the model."""
        return {"classes": class_names(self._model), "float_dtype": float_dtype_of(self._model)}

    def signature(self, names: Sequence[str | None]) -> dict[str, Any]:
        """Return how the model is called, for arrays of these names."""
        self._signature = signature_of(self._model, names)
        return {"specs": [asdict(spec) for spec in self._signature.specs], "declared": self._signature.declared}

    def start(self) -> None:
        """Reset the model to the start of a run."""
        self._tensors = {}
        self._state.start()

    def run(self, fields: Mapping[str, Any], arrays: Sequence[Array]) -> dict[str, Any]:
        """Run the model on arrays, whose names are among the fields, and describe what it gives.

        With `only`, the tensors of other addresses are neither held nor described. Raises ModelError where it fails.
        """
        only = fields["only"]
        recorder = BackendRecorder(self._model, None if only is None else frozenset(only))
        self._tensors = {}
        try:
            named = self._call(recorder, dict(zip(fields["names"], arrays, strict=True)))
        except (TfdumpError, MemoryError):
            raise
        except (Exception, SystemExit) as cause:  # the user's own code may raise anything
            raise ModelError(f"the model fails on this input: {advice_on_names(cause) or first_line(cause)}") from cause
        finally:
            self._state.forget_losses()
        tensors = [*named.items()] if fields["outputs"] else []
        self._tensors = {(False, r.address): r.tensor for r in recorder.records if r.tensor is not None}
        self._tensors |= {(True, name): tensor for name, (tensor, _) in tensors}
        answer: dict[str, Any] = {
            "addresses": [record.address for record in recorder.records],
            "bytes": recorder.bytes,
            "draws": self._state.draws,
        }
        if only is None:
            answer["records"] = [_described(record) for record in recorder.records]
            answer["outputs"] = [
                {"name": name, "dtype": dtype_of(tensor), "shape": list(tensor.shape), "inputs": origin}
                for name, (tensor, origin) in tensors
            ]
            answer["missing"] = [[item.address, item.reason] for item in recorder.not_captured()] + self._not_given
        return answer

    def _call(self, recorder: BackendRecorder, arrays: Mapping[str, Array]) -> dict[str, tuple[Any, Any]]:
        """Call the model; return its final outputs by name, each with what it was computed from."""
        inputs = {name: tensor_of(array) for name, array in arrays.items()}
        args, kwargs = self._signature.arguments(inputs)
        with recorder.watching(inputs), without_gradients():
            outputs = self._model(*args, **training_argument(self._model, False), **kwargs)
        name = only_output_name(self._model)
        self._not_given = [
            [f"{OUTPUTS}/{member_name(path or (name,))}", reason] for path, reason in obstacles_to_dense_in(outputs)
        ]
        return {
            member_name(path or (name,)): (tensor, recorder.flow.read_by([tensor]))
            for path, tensor in dense_tensors_in(outputs)
        }

    def fetch(self, places: Sequence[Sequence[Any]]) -> tuple[dict[str, Any], list[Array]]:
        """Return the values of tensors of the latest run, and forget all of them.

        A place is whether the tensor is a final output, and its address or name. The fields tell which places the run
        did not give.
        """
        keys = [(bool(is_output), str(name)) for is_output, name in places]
        tensors, self._tensors = self._tensors, {}
        absent = [place for place, key in enumerate(keys) if key not in tensors]
        return {"absent": absent}, [array_of_tensor(tensors[key]) for key in keys if key in tensors]


def _described(record: RecordedTensor) -> dict[str, Any]:
    executed = [(EXECUTED_AS, record.executed_as)] if record.executed_as else []
    return {
        "address": record.address,
        "layer": record.layer,
        "structure": record.structure,
        "classes": record.classes,
        "dtype": dtype_of(record.tensor),
        "shape": list(record.tensor.shape),
        "parameters": record.parameters,
        "attributes": [*record.attributes, *executed],
        "inputs": record.inputs,
    }
