"""What one run would have written, as its shards together tell: every tensor, its attributes, and those of the root."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfdump.dump import layout
from tfdump.dump.attributes import statistics_attributes
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.kinds.kind_notes import from_padding, tell_changes
from tfdump.dump.shards.manifest import Manifest
from tfdump.dump.shards.open_shards import OpenShards
from tfdump.dump.shards.shard_file import read_shard_state
from tfdump.dump.shards.stored_forms import StoredForm, StoredTensor, stored_form, stored_tensor
from tfdump.dump.shards.tensor_state import CombinedState
from tfdump.errors import DumpError
from tfdump.files.hdf5 import damage
from tfdump.tensors import NotCaptured, PlannedTensor, TensorInfo

CALLED_LATE = "not called in the first batch"
"""Why a tensor of an eager model is not in a dump."""

_LENGTHS = ":lengths"
"""The ending of the names of the lengths of ragged inputs."""


@dataclass(frozen=True)
class JoinedTensor:
    """One tensor of the whole run: where it is, what is known about it, its arrays, and its further attributes.

    `state` is what its batches told, None for what is no tensor of the model.
    """

    group: str
    info: TensorInfo
    form: StoredForm
    extra: Mapping[str, Any] = field(default_factory=dict)
    state: CombinedState | None = None


@dataclass(frozen=True)
class JoinedRun:
    """What one run would have written.

    `tensors` are those of the model in the order of the plan, and `further` the lengths of inputs and who the examples
    are. `partial` are the tensors of which only some batches could be stored, with the reasons; they are among the
    `not_captured` too. `notes` are what one run would have told about its tensors.
    """

    shards: OpenShards
    tensors: tuple[JoinedTensor, ...]
    further: tuple[JoinedTensor, ...]
    partial: Mapping[str, str]
    root: Mapping[str, Any]
    not_captured: tuple[NotCaptured, ...]
    notes: tuple[str, ...]

    @property
    def manifest(self) -> Manifest:
        """The manifest of the shards."""
        return self.shards.manifest


def join(shards: OpenShards) -> JoinedRun:
    """Look at every shard once, and return what one run would have written; raises DumpError for a damaged shard."""
    manifest, plan = shards.manifest, shards.manifest.plan
    batches = -(-manifest.examples // manifest.batch_size)
    looks = _Looks(shards, batches)
    for number in range(len(shards.paths)):
        looks.look(number)
    complete, partial = [], {}
    for state, items in zip(looks.states, looks.stored, strict=True):
        if state.unclear is not None:
            raise DumpError(
                f"{shards.folder}: '{state.info.address}' cannot be joined: {state.unclear} (leave it out of the run: "
                f"-x '{state.info.address}')"
            )
        if state.lost is None and state.batches == batches:
            complete.append((state, items))
        else:
            partial[state.info.address] = state.lost or f"given by {state.batches} of {batches} batches"
    notes: list[str] = []
    kinds = [(state.group, state) for state in looks.states]
    dependent = [*plan.depends_on_batch, *tell_changes(kinds, batches, notes.append)]
    named = [(state.group, state.info.address) for state, _ in complete]
    copied = set(from_padding(named, dependent)) if plan.padding else set()
    tensors = tuple(_joined(manifest, state, items, copied) for state, items in complete)
    partial |= dict.fromkeys(sorted(looks.late), CALLED_LATE)
    notes += [f"not captured: {address} ({reason})" for address, reason in partial.items()]
    further = tuple(looks.further_tensors())
    missing = _not_captured(manifest, partial)
    return JoinedRun(shards, tensors, further, partial, _root(manifest, dependent), missing, tuple(notes))


class _Looks:
    """What looking at one shard after the other tells: the state of every tensor, and what it is in each shard."""

    def __init__(self, shards: OpenShards, batches: int) -> None:
        plan, dtypes = shards.manifest.plan, _about_dtypes(shards.manifest)
        padded = batches if plan.padding else 0
        self.states = [CombinedState(tensor, dtypes, padded) for tensor in plan.tensors]
        self.stored: list[list[StoredTensor]] = [[] for _ in self.states]
        self.late: set[str] = set()
        self._shards = shards
        self._kinds: list[Any] = [None] * len(self.states)
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
                state.add(tensor, of_run.start + 1, of_run.stop)
                if tensor["kind"]["batches"] and tensor["kind"]["lost"] is None:
                    self.stored[place].append(self._look_at(number, place, tensor["kind"]))
            self.late |= set(told.late)
        if number == 0:
            self._further = {path: [] for path in _paths_beside(shards)}
        for (group, name), items in self._further.items():
            if number == 0 or name != layout.EXAMPLE_CLASSES:
                items.append(stored_tensor(shards, number, f"{group}/{name}", EXAMPLE))

    def _look_at(self, number: int, place: int, kind: Mapping[str, Any]) -> StoredTensor:
        """Look at a tensor in a shard, unless its state says that it is as in the first one, but for its rows."""
        state = self.states[place]
        shards, path = self._shards, f"{state.group}/{state.info.address}"
        known = {name: kind[name] for name in ("axis0", "form", "rows", "dtype")}
        if not self.stored[place]:
            self._kinds[place] = known
        first = self.stored[place][0] if self.stored[place] else None
        simple = kind["axis0"] == EXAMPLE and kind["form"] == ["dense"] and state.is_numeric
        if first is None or not simple or known != self._kinds[place] or "computed_shape" in first.attributes:
            return stored_tensor(shards, number, path, kind["axis0"])
        start, stop = shards.manifest.ranges[number]
        shapes = {"": (stop - start, *first.shapes[""][1:])}
        return StoredTensor(
            number, first.path, EXAMPLE, shards.batch_sizes(number), shapes, first.dtypes, first.attributes
        )

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
        extra |= statistics_attributes(state.statistics.result())
    if state.reduced:
        extra["reduce"] = next(item.attributes["reduce"] for item in items if "reduce" in item.attributes)
    if state.overflowed + state.unfit:
        extra["overflowed"] = np.int64(state.overflowed + state.unfit)
    if (state.group, state.info.address) in copied:
        extra[layout.PADDING] = np.int64(manifest.plan.padding)
    return JoinedTensor(state.group, state.info, stored_form(items, state), extra, state)


def _about_dtypes(manifest: Manifest) -> str:
    """Return the options of the command line that fix the kind of the stored dtypes."""
    options = {"--dtype": "dtype", "--reduce": "reduction"}
    return " and ".join(option for option, name in options.items() if manifest.options.get(name) is not None)


def _root(manifest: Manifest, dependent: list[str]) -> dict[str, Any]:
    root = dict(manifest.root)
    if manifest.plan.padding:
        root[layout.PADDING] = np.int64(manifest.plan.padding)
    if dependent:
        root[layout.DEPENDS_ON_BATCH] = json.dumps(dependent)
    return root


def _not_captured(manifest: Manifest, partial: Mapping[str, str]) -> tuple[NotCaptured, ...]:
    missing = {item.address: item.reason for item in manifest.not_captured} | dict(partial)
    return (*manifest.not_loaded, *(NotCaptured(address, reason) for address, reason in missing.items()))
