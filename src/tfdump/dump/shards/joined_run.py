"""What one run would have written, as its shards together tell: every tensor, its attributes, and those of the root."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE, NONE
from tfdump.dump.kinds.kind_notes import from_padding, tell_changes, tell_kinds
from tfdump.dump.shards.gradient_sums import norm_of_all
from tfdump.dump.shards.joined_gradients import (
    UNCONNECTED,
    LossOfShards,
    SummedGradient,
    stored_float,
)
from tfdump.dump.shards.joined_records import JoinedRun, JoinedTensor
from tfdump.dump.shards.manifest import Manifest
from tfdump.dump.shards.open_shards import OpenShards
from tfdump.dump.shards.shard_file import read_shard_state
from tfdump.dump.shards.stored_forms import StoredTensor, stored_form, stored_tensor
from tfdump.dump.shards.tensor_state import CombinedState
from tfdump.dump.shards.unconnected import unconnected_tensors
from tfdump.errors import DumpError
from tfdump.files.hdf5 import damage
from tfdump.tensors import NotCaptured, PlannedTensor, TensorInfo

CALLED_LATE = "not called in the first batch"
"""Why a tensor of an eager model is not in a dump."""

_LENGTHS = ":lengths"
"""The ending of the names of the lengths of ragged inputs."""


def join_shards(shards: OpenShards) -> JoinedRun:
    """Look at every shard once, and return what one run would have written; raises DumpError for a damaged shard."""
    manifest, plan = shards.manifest, shards.manifest.plan
    batches = -(-manifest.examples // manifest.batch_size)
    looks = _Looks(shards, batches)
    for number in range(len(shards.paths)):
        looks.look(number)
    notes: list[str] = []
    states = [state for state in looks.states if isinstance(state, CombinedState)]
    if manifest.kind == layout.ACTIVATIONS:
        changed = tell_changes([(state.group, state) for state in states], batches, notes.append)
    else:
        changed = tell_kinds([(state.info.address, state) for state in states], batches, notes.append)
    dependent = [*plan.depends_on_batch, *changed]
    partial = _partial(shards, states, batches)
    whole = [state for state in states if state.lost is None and state.batches == batches]
    named = [(state.group, state.info.address) for state in whole]
    copied = set(from_padding(named, dependent)) if plan.padding else set()
    loss = looks.loss
    tensors = []
    for state, items in zip(looks.states, looks.stored, strict=True):
        if isinstance(state, CombinedState):
            if state in whole:
                tensors.append(_joined(manifest, state, items, copied))
        elif state.lost is None:
            tensors.append(_summed(manifest, state, items))
        else:
            partial[state.info.address] = state.lost
    reason = UNCONNECTED if loss is not None else CALLED_LATE
    late = dict.fromkeys(sorted(looks.late), reason)
    partial = late | partial if loss is not None else partial | late
    notes += [f"not captured: {address} ({reason})" for address, reason in partial.items()]
    return JoinedRun(
        shards,
        tuple(tensors),
        tuple(looks.further_tensors()),
        partial,
        _root(manifest, dependent, tensors),
        _not_captured(manifest, partial),
        tuple(notes),
        () if loss is None else tuple(unconnected_tensors(shards)),
        None if loss is None else loss.result(),
    )


def _partial(shards: OpenShards, states: list[CombinedState], batches: int) -> dict[str, str]:
    """Return the addresses of the tensors that cannot be stored, with the reasons."""
    partial = {}
    for state in states:
        address = state.info.address
        if state.unclear is not None:
            raise DumpError(
                f"{shards.folder}: '{address}' cannot be joined: {state.unclear} (leave it out of the run: "
                f"-x '{address}')"
            )
        if state.lost is not None or state.batches != batches:
            partial[address] = state.lost or f"given by {state.batches} of {batches} batches"
    return partial


class _Looks:
    """What looking at one shard after the other tells: the state of every tensor, and what it is in each shard."""

    def __init__(self, shards: OpenShards, batches: int) -> None:
        plan, dtypes = shards.manifest.plan, _about_dtypes(shards.manifest)
        padded = batches if plan.padding else 0
        self.states: list[CombinedState | SummedGradient] = [
            SummedGradient(tensor) if shards.manifest.kind == layout.GRADIENTS and tensor.axis0 == NONE
            else CombinedState(tensor, dtypes, padded) for tensor in plan.tensors
        ]  # fmt: skip
        self.loss = LossOfShards(shards.manifest) if shards.manifest.kind == layout.GRADIENTS else None
        self.stored: list[list[StoredTensor]] = [[] for _ in self.states]
        self.late: set[str] = set()
        self._shards = shards
        self._kinds: dict[str, Any] = {}
        self._further: dict[tuple[str, str], list[StoredTensor]] = {}

    def look(self, number: int) -> None:
        """Add what one shard tells."""
        shards = self._shards
        told = read_shard_state(shards.file(number))
        of_run = shards.manifest.batches_of(*shards.manifest.ranges[number])
        with damage(DumpError, f"{shards.paths[number]}: '/shard'"):
            for place, (state, tensor) in enumerate(zip(self.states, told.tensors, strict=True)):
                if (tensor["group"], tensor["address"]) != (state.group, state.info.address):
                    raise ValueError(f"it has the state of {tensor['address']!r} instead of {state.info.address!r}")
                if isinstance(state, SummedGradient):
                    state.add(shards.file(number), tensor["sum"])
                    if number == 0 and tensor["sum"]["lost"] is None:
                        path = f"{state.group}/{state.info.address}"
                        self.stored[place].append(stored_tensor(shards, number, path, NONE))
                    continue
                state.add(tensor, of_run.start + 1, of_run.stop)
                if tensor["kind"]["batches"] and tensor["kind"]["lost"] is None:
                    self.stored[place].append(self._look_at(number, state, self.stored[place], tensor["kind"]))
            if self.loss is not None:
                self._add_loss(self.loss, number)
            self.late |= set(told.late)
        if number == 0:
            self._further = {path: [] for path in _paths_beside(shards)}
        for (group, name), items in self._further.items():
            if number == 0 or name != layout.EXAMPLE_CLASSES:
                items.append(stored_tensor(shards, number, f"{group}/{name}", EXAMPLE))

    def _add_loss(self, loss: LossOfShards, number: int) -> None:
        """Add the loss of a shard; the last shard is followed by the regularization."""
        sums = {state.info.address: state for state in self.states if isinstance(state, SummedGradient)}
        loss.add(self._shards, number, list(sums))
        if number == len(self._shards.paths) - 1:
            for address, gradient in loss.regularization.items():
                sums[address].regularize(gradient)

    def _look_at(
        self, number: int, state: CombinedState, before: list[StoredTensor], kind: Mapping[str, Any]
    ) -> StoredTensor:
        """Look at a tensor in a shard, unless its state says that it is as in the first one, but for its rows."""
        shards, path = self._shards, f"{state.group}/{state.info.address}"
        known = {name: kind[name] for name in ("axis0", "form", "rows", "dtype")}
        if not before:
            self._kinds[path] = known
        simple = kind["axis0"] == EXAMPLE and kind["form"] == ["dense"] and state.is_numeric
        if not before or not simple or known != self._kinds[path] or "computed_shape" in before[0].attributes:
            return stored_tensor(shards, number, path, kind["axis0"])
        first, (start, stop) = before[0], shards.manifest.ranges[number]
        shapes = {"": (stop - start, *first.shapes[""][1:])}
        sizes = shards.batch_sizes(number)
        return StoredTensor(number, first.path, EXAMPLE, sizes, shapes, first.dtypes, first.attributes)

    def further_tensors(self) -> Iterator[JoinedTensor]:
        """Yield what is stored beside the tensors of the model."""
        orders: dict[str, int] = {}
        for (group, name), items in self._further.items():
            order = orders.setdefault(group, 0)
            orders[group] += group == layout.INPUTS
            dtype = str(self._shards.item(0, f"{group}/{name}").attrs["dtype"])
            info = TensorInfo(name, name.removesuffix(_LENGTHS), name, (), order, dtype, (-1,))
            state = CombinedState(PlannedTensor(group, info, EXAMPLE, (-1,), 0))
            yield JoinedTensor(group, info, stored_form(items, state))


def _paths_beside(shards: OpenShards) -> list[tuple[str, str]]:
    """Return the group and the name of the lengths of ragged inputs, and of what tells who the examples are."""
    paths = []
    if shards.has(0, layout.INPUTS):
        paths += [(layout.INPUTS, name) for name in shards.item(0, layout.INPUTS) if name.endswith(_LENGTHS)]
    if shards.has(0, layout.EXAMPLES):
        paths += [(layout.EXAMPLES, name) for name in shards.item(0, layout.EXAMPLES)]
    return paths


def _joined(
    manifest: Manifest, state: CombinedState, items: list[StoredTensor], copied: set[tuple[str, str]]
) -> JoinedTensor:
    extra: dict[str, Any] = {}
    if state.statistics is not None:
        extra |= state.statistics.attributes()
    if state.reduced:
        extra["reduce"] = next(item.attributes["reduce"] for item in items if "reduce" in item.attributes)
    if state.overflowed + state.unfit:
        extra["overflowed"] = np.int64(state.overflowed + state.unfit)
    if state.norm is not None:
        half = "float16_zeros" in items[0].attributes
        extra |= {"float16_zeros": np.int64(state.norm.zeros)} if half else {}
        extra |= {"norm": np.float64(state.norm.norm), **_aliases(items)}
    if (state.group, state.info.address) in copied:
        extra[layout.PADDING] = np.int64(manifest.plan.padding)
    return JoinedTensor(state.group, state.info, stored_form(items, state), extra, state)


def _summed(manifest: Manifest, state: SummedGradient, items: list[StoredTensor]) -> JoinedTensor:
    summed = state.result(manifest.options)
    form = summed.form(state.info.dtype, stored_float(manifest, state.info.dtype), manifest.options["values"])
    return JoinedTensor(state.group, state.info, form, {**summed.extra, **_aliases(items)}, summed=summed)


def _aliases(items: list[StoredTensor]) -> dict[str, Any]:
    return {"aliases": items[0].attributes["aliases"]} if "aliases" in items[0].attributes else {}


def _about_dtypes(manifest: Manifest) -> str:
    """Return the options of the command line that fix the kind of the stored dtypes."""
    if manifest.kind == layout.GRADIENTS:  # where `reduction` is that of the loss
        return "--dtype" if manifest.options.get("dtype") is not None else ""
    options = {"--dtype": "dtype", "--reduce": "reduction"}
    return " and ".join(option for option, name in options.items() if manifest.options.get(name) is not None)


def _root(manifest: Manifest, dependent: list[str], tensors: list[JoinedTensor]) -> dict[str, Any]:
    root = dict(manifest.root)
    if manifest.plan.padding:
        root[layout.PADDING] = np.int64(manifest.plan.padding)
    if dependent:
        root[layout.DEPENDS_ON_BATCH] = json.dumps(dependent)
    norms = [t.extra["norm"] for t in tensors if t.summed is not None and t.group == layout.WEIGHT_GRADIENTS]
    if norms:
        root["gradient_norm"] = norm_of_all(norms)
    return root


def _not_captured(manifest: Manifest, partial: Mapping[str, str]) -> tuple[NotCaptured, ...]:
    if manifest.kind == layout.GRADIENTS:
        late = (NotCaptured(address, reason) for address, reason in partial.items())
        return (*manifest.not_loaded, *manifest.not_captured, *late)
    missing = {item.address: item.reason for item in manifest.not_captured} | dict(partial)
    return (*manifest.not_loaded, *(NotCaptured(address, reason) for address, reason in missing.items()))
