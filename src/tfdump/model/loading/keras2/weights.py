"""The weights in a `.keras` archive of Keras 2, whose paths consist of attributes and classes of the layers.

This follows `_save_state` and `_save_container_state` in `keras/saving/saving_lib.py` of Keras 2.12 to 2.15. They visit
the attributes of a model in different orders, and save a layer where they first meet it. The layers of a model are
identified only by their classes and their order, so the order must be that of Keras 2.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import Layer

from tfdump.errors import ModelError
from tfdump.model.keras_internals import legacy_h5_format, to_snake_case
from tfdump.model.loading.keras2.order import Orders, layers_in_order, legacy_weights, places_in_order

_LAYERS, _DEPENDENCIES = "layers", "_layer_checkpoint_dependencies"
"""Attributes of a model that hold its layers, from Keras 2.15 on, and before."""

_NOT_OF_LAYERS = ("optimizer", "_optimizer", "metrics", "_metrics", "compiled_loss", "compiled_metrics", "loss")
"""Attributes of a model that hold what it was compiled with."""

_VARIABLES = "vars"


def load_weights(model: Layer, orders: Orders, file: h5py.File, assets: Path | None) -> None:
    """Set the weights of a model from the file of a Keras 2 archive, and load its vocabularies from `assets`.

    Raises ModelError, before anything is set, where a layer does not fit the values that were saved for it.
    """
    plans = [_Plan(file, orders, backwards, counts) for backwards, counts in _MANNERS]
    for plan in plans:
        plan.visit(model, "")
        plan.look_over(model)
    plan = next((plan for plan in plans if not plan.faults), plans[0])
    if plan.faults:
        more = f" and {len(plan.faults) - 1} more" if len(plan.faults) > 1 else ""
        raise ModelError(_misfit(f"{plan.faults[0]}{more}"))
    for layer, path in plan.places:
        stored = plan.stored(path)
        if stored:
            layer.load_own_variables({name: np.asarray(dataset[()]) for name, dataset in stored.items()})
        if assets is not None and hasattr(layer, "load_assets") and (assets / path).is_dir():
            layer.load_assets(str(assets / path))


def load_legacy_weights(model: Layer, orders: Orders, group: h5py.Group) -> None:
    """Set the weights of a model from a legacy HDF5 file of Keras 2, by the names of its layers.

    Raises ModelError, before anything is set, where a layer does not fit the values that were saved for it.
    """
    pairs: list[tuple[Any, Any]] = []
    for layer, stored in _by_layer(model, orders, group):
        weights = legacy_weights(layer, orders) or _weights_of_words(layer)
        there, shapes = [value.shape for value in stored], [tuple(weight.shape) for weight in weights]
        if there != shapes:
            raise ModelError(_misfit(f"'{layer.name}' has {_listed(shapes)}, and {_listed(there)} were saved"))
        pairs += zip(weights, stored, strict=True)
    for weight, value in pairs:
        weight.assign(value)
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state") and (layer.weights or _weights_of_words(layer)):
            layer.finalize_state()


def _weights_of_words(layer: Layer) -> list[Any]:
    """Return the factors by which a layer multiplies counts of words, which Keras 3 does not treat as a weight."""
    lookup = getattr(layer, "_lookup_layer", layer)
    return [lookup.idf_weights] if getattr(lookup, "output_mode", None) == "tf_idf" else []


def _by_layer(model: Layer, orders: Orders, group: h5py.Group) -> list[tuple[Layer, list[Any]]]:
    """Return the layers of a model with their saved values: by name, or by order if a class does not keep names."""
    read = legacy_h5_format.load_attributes_from_hdf5_group
    values_by_name = {
        name: legacy_h5_format.load_subset_weights_from_hdf5_group(legacy_h5_format.safe_get_h5_group(group, name))
        for name in read(group, "layer_names")
    }
    layers = {layer.name: layer for layer in layers_in_order(model, orders)}
    with_weights = [name for name, layer in layers.items() if layer.weights]
    stored = {name: values for name, values in values_by_name.items() if values}
    if set(stored) == set(with_weights) or len(stored) != len(with_weights):
        return [(layer, values_by_name.get(name, [])) for name, layer in layers.items()]
    return [(layers[name], values) for name, values in zip(with_weights, stored.values(), strict=True)]


_MANNERS = ((True, False), (False, False), (False, True))
"""How Keras 2.15, 2.14, and 2.12 and 2.13 visit: whether from Z to A, and whether lists count known layers."""


@dataclass
class _Plan:
    """The paths of the weights of each layer, if they were saved in one manner, and the evidence against it."""

    file: h5py.File
    orders: Orders
    backwards: bool
    counts: bool
    places: list[tuple[Layer, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _met: set[int] = field(default_factory=set)
    _others: list[str] = field(default_factory=list)

    def stored(self, path: str) -> Mapping[str, h5py.Dataset]:
        """Return the saved variables under a path, by number."""
        group = self.file.get(f"{path}/{_VARIABLES}")
        return dict(group) if isinstance(group, h5py.Group) else {}

    def visit(self, layer: Layer, path: str) -> None:
        """Note the path of a layer and of its sublayers, unless the layer is known or has no values there."""
        if id(layer) in self._met or f"{path}/{_VARIABLES}" not in self.file:
            return
        self._met.add(id(layer))
        self.places.append((layer, path))
        for name in sorted(self.file[path or "/"], reverse=self.backwards):
            if isinstance(layer, keras.Model) and name in (_LAYERS, _DEPENDENCIES):
                self._visit_all(self._layers(layer, twice=name == _DEPENDENCIES), f"{path}/{name}".lstrip("/"))
                continue
            child = vars(layer).get(name)
            if isinstance(child, keras.Metric):
                self._others.append(f"{path}/{name}".lstrip("/"))
            elif isinstance(child, Layer):
                self.visit(child, f"{path}/{name}".lstrip("/"))
            elif isinstance(child, (list, tuple, dict)):
                items = child.values() if isinstance(child, dict) else child
                layers = [(item, type(item).__name__) for item in items if isinstance(item, Layer)]
                self._visit_all(layers, f"{path}/{name}".lstrip("/"))

    def _visit_all(self, layers: Iterable[tuple[Layer | None, str]], path: str) -> None:
        counts: Counter[str] = Counter()
        for layer, kind in layers:
            if layer is not None and id(layer) in self._met and not self.counts:
                continue
            name = to_snake_case(kind)
            number, counts[name] = counts[name], counts[name] + 1
            place = f"{path}/{name}_{number}" if number else f"{path}/{name}"
            if layer is None:
                self._others.append(place)
            else:
                self.visit(layer, place)

    def _layers(self, model: keras.Model, twice: bool) -> Iterator[tuple[Layer | None, str]]:
        """Yield the layers of a model in the order of Keras 2; before 2.15, it had those with weights twice."""
        for layer, kind in places_in_order(model, self.orders):
            yield layer, kind
            if twice and layer is not None and layer.weights:
                yield layer, kind

    def look_over(self, model: Layer) -> None:
        """Note as faults the layers without matching values, and the values without a layer."""
        placed = {id(layer) for layer, _ in self.places}
        for layer in model._flatten_layers():
            if id(layer) not in placed and _own(layer):
                same = self._places_of_same(layer)
                self.places += [(layer, path) for path in same] if len(same) == 1 else []
                self.faults += [] if len(same) == 1 else [f"there are none for '{layer.name}'"]
        for layer, path in self.places:
            shapes = [tuple(variable.shape) for variable in _own(layer)]
            stored = self.stored(path)
            there = [stored[str(number)].shape for number in range(len(stored)) if str(number) in stored]
            if shapes != there:
                self.faults.append(f"'{layer.name}' has {_listed(shapes)}, and {_listed(there)} were saved")
        rest = sorted(self._paths() - {path for _, path in self.places})
        self.faults += [f"'{path}' belongs to no layer" for path in rest if not self._is_other(path)]

    def _is_other(self, path: str) -> bool:
        """Tell whether saved variables belong to metrics, or to a layer that led to no output."""
        return any(path == other or path.startswith(f"{other}/") for other in self._others)

    def _places_of_same(self, layer: Layer) -> list[str]:
        """Return the paths of layers of the same name and shapes: a layer of two models was loaded as two layers."""
        shapes = [variable.shape for variable in _own(layer)]
        return sorted(
            {
                path
                for other, path in self.places
                if (other.name, type(other)) == (layer.name, type(layer))
                and [variable.shape for variable in _own(other)] == shapes
            }
        )

    def _paths(self) -> set[str]:
        """Return the paths that hold saved variables of layers."""
        paths: set[str] = set()

        def look(name: str, item: Any) -> None:
            path, _, last = name.rpartition(f"/{_VARIABLES}/")
            if isinstance(item, h5py.Dataset) and last and path.partition("/")[0] not in _NOT_OF_LAYERS:
                paths.add(path)

        self.file.visititems(look)
        return paths


def _own(layer: Layer) -> list[Any]:
    """Return the variables of a layer itself, without those of its sublayers."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _misfit(why: str) -> str:
    return f"the layers do not fit the weights that Keras 2 saved: {why}"


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes)) if shapes else "no weights"
