"""A Keras model on another backend as a Runnable: it runs eagerly in a process of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfdump.address import Candidate
from tfdump.dtypes import STRING
from tfdump.errors import ModelError
from tfdump.model.backends.process import BackendProcess
from tfdump.model.request import ProbedTensor, Request
from tfdump.model.runnable import FixedModel, FixedProbe, Runtime
from tfdump.model.signature import Signature
from tfdump.tensors import Array, Batch, InputSpec, NotCaptured, Note, TensorInfo, Value

_LOOKS = ((2, 64), (3, 96))
"""Examples, and the size of other open axes, with which a listing runs the model on zeros; sizes that pool well."""


class BackendModel(FixedModel):
    """A model that another process has loaded."""

    def __init__(self, process: BackendProcess, runtime: Runtime, description: dict[str, Any]) -> None:
        self.runtime = runtime
        self.process = process
        self.classes = tuple(description["classes"])
        self.class_name = self.classes[0]
        self.float_dtype = description["float_dtype"]
        self.in_words = f"a Keras model on {process.backend.name}"

    def signature(self, array_names: Sequence[str | None]) -> Signature:
        """Return how the model is called; the arguments of the call are put together in the other process."""
        fields = self.process.ask("signature", names=list(array_names)).fields
        return Signature(tuple(_spec(item) for item in fields["specs"]), None, declared=fields["declared"])

    def probe(self, signature: Signature, specs: Sequence[InputSpec], request: Request, note: Note) -> "BackendProbe":
        """Return a probe; raises ModelError for what only TensorFlow in this process gives."""
        options = {"--training": request.training, "--eager": request.eager, "--dequantize": request.dequantize}
        names = [name for name, is_set in options.items() if is_set]
        for option in [*names, *request.captures.options]:
            raise ModelError(
                f"{option} does not go with --backend and --backend-python, which give the outputs of layers in "
                "inference (leave it out)"
            )
        return BackendProbe(self, specs, request, note)


class BackendProbe(FixedProbe):
    """A model that runs eagerly in a process of its own, batch by batch (see RunnableProbe).

    `close` ends that process.
    """

    def __init__(self, model: BackendModel, specs: Sequence[InputSpec], request: Request, note: Note) -> None:
        super().__init__()
        self._model = model
        self._process = model.process
        self._request = request
        self.assigned: list[str] = []
        self.not_captured: tuple[NotCaptured, ...] = ()
        self.probed: tuple[ProbedTensor, ...] = ()
        self.random = False
        self._known: frozenset[str] = frozenset()
        self._last_run = (0, 1)
        self._listed = False
        try:
            if request.listing:
                self._list(specs, note)
        except BaseException:
            self.close()
            raise

    @property
    def eager(self) -> bool:
        """Whether `probed` is known only after the first run, as it always is unless the tensors were listed."""
        return not self._listed

    def takes(self, examples: int) -> bool:
        """Return True: only a run shows what an eager model accepts."""
        return True

    def live_bytes(self, batch: int) -> int:
        """Estimate the bytes of tensors alive at once for a batch of this size, from all that the last run computed."""
        size, examples = self._last_run
        return size * batch // examples

    def start(self) -> None:
        """Reset the random state and stateful layers to the start of a run."""
        self._process.ask("reset")

    def forget(self) -> None:
        """Let the next run determine `probed` again."""
        self.probed, self.late = (), set()

    def run(self, batch: Batch) -> list[Value | None]:
        """Return the values of the probed tensors for one batch, None for one that this batch did not produce."""
        names = list(batch)
        only = [probed.info.address for probed in self.probed if not probed.is_output] if self.probed else None
        arrays = [np.asarray(batch[name]) for name in names]
        answer = self._process.ask("run", arrays, names=names, only=only, outputs=self._request.outputs).fields
        self._last_run = answer["bytes"], len(arrays[0])
        self.random = answer["draws"]
        if only is None:
            self._choose(answer)
        self.late |= set(answer["addresses"]) - self._known
        places = [[probed.is_output, probed.info.address] for probed in self.probed]
        fetched = self._process.ask("fetch", places=places)
        absent, values = set(fetched.fields["absent"]), iter(fetched.arrays)
        return [None if place in absent else next(values) for place in range(len(places))]

    def _choose(self, answer: dict[str, Any]) -> None:
        """Apply the selection to the tensors of the first run, and set `probed`."""
        records, outputs = answer["records"], answer["outputs"]
        self.not_captured = tuple(NotCaptured(address, reason) for address, reason in answer["missing"])
        candidates = [Candidate(record["address"], tuple(record["classes"])) for record in records]
        missing = {item.address: item.reason for item in self.not_captured}
        selected = self._request.selection.choose(candidates, missing, self._request.captures.advice)
        probed = [ProbedTensor(_info(records[order], order), is_output=False) for order in selected]
        for order, output in enumerate(outputs, len(records)):
            probed.append(ProbedTensor(_output_info(output, self._model.classes, order), is_output=True))
        self.probed = tuple(probed)
        self._known = frozenset(answer["addresses"])

    def _list(self, specs: Sequence[InputSpec], note: Note) -> None:
        """Run the model on zeros of two sizes; axes of different sizes are open in the shapes of `probed`.

        Where it rejects them, it stays `eager`, and `note` is called with the reason.
        """
        looks = []
        for examples, size in _LOOKS:
            self.forget()
            self.start()
            try:
                self.run({spec.name: _zeros(spec, examples, size) for spec in specs})
            except ModelError as cause:
                if not self._process.runs:
                    raise
                note(f"the model does not run on zeros: {cause}")
                self.forget()
                return
            looks.append({(p.is_output, p.info.address): p.info.shape for p in self.probed})
        self.probed = tuple(
            replace(p, info=replace(p.info, shape=_open(*(look.get((p.is_output, p.info.address)) for look in looks))))
            for p in self.probed
        )
        self._listed = True

    def close(self) -> None:
        """End the process."""
        self._process.close()


def _spec(item: dict[str, Any]) -> InputSpec:
    shapes = {name: None if item[name] is None else tuple(item[name]) for name in ("shape", "built")}
    return InputSpec(**{**item, **shapes})


def _info(record: dict[str, Any], order: int) -> TensorInfo:
    return TensorInfo(
        record["address"],
        record["layer"],
        record["structure"],
        tuple(record["classes"]),
        order,
        record["dtype"],
        tuple(record["shape"]),
        record["parameters"],
        attributes=tuple((name, value) for name, value in record["attributes"]),
        inputs=_addresses(record["inputs"]),
    )


def _output_info(output: dict[str, Any], classes: tuple[str, ...], order: int) -> TensorInfo:
    name, shape = output["name"], tuple(output["shape"])
    return TensorInfo(name, name, name, classes, order, output["dtype"], shape, inputs=_addresses(output["inputs"]))


def _addresses(inputs: list[str] | None) -> tuple[str, ...] | None:
    return None if inputs is None else tuple(inputs)


def _zeros(spec: InputSpec, examples: int, size: int) -> Array:
    first, *others = spec.shape or (None,)
    shape = (first or examples, *(size if axis is None else axis for axis in others))
    return np.full(shape, "", object) if spec.dtype == STRING else np.zeros(shape, spec.dtype or "float32")


def _open(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return a shape with -1 where two runs differ, None where they have not the same number of axes."""
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(size if size == another else -1 for size, another in zip(one, other, strict=True))
