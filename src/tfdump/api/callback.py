"""Dumps of a model while it is trained: the callback for `model.fit`."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.api.arguments import (
    Inputs,
    Patterns,
    captures_of,
    check_dtype,
    check_intervals,
    given_arrays,
    loss_names,
    reduction_of,
    refuse_arguments,
    run_options,
    seed_number,
    selection_of,
)
from tfdump.api.training_folder import TrainingFolder
from tfdump.api.training_names import MADE_BY
from tfdump.argument_kinds import flag, one_of, text, texts
from tfdump.dump import layout
from tfdump.dump.compression import COMPRESSIONS
from tfdump.dump.target import check_space
from tfdump.dump.writer import storage_for
from tfdump.errors import DumpError, TfdumpError, TfdumpWarning, near
from tfdump.model.backend import import_aside
from tfdump.plots import need_matplotlib
from tfdump.plots.file_names import FLOW
from tfdump.process.signals import interrupt_waiting
from tfdump.run.activations.run import ActivationOptions, OpenedActivations, probe_activations
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.gradients.options import GradientOptions
from tfdump.run.gradients.run import OpenedGradients, probe_gradients
from tfdump.run.gradients.store import GradientStore
from tfdump.run.options import StoreOptions
from tfdump.run.planned import Planned
from tfdump.tensors import Detail

import_aside()  # before the next line imports Keras, as this module does for its base class; it is imported lazily

from tfdump.model.loading.load import in_memory  # noqa: E402 - see above
from tfdump.model.training.global_state import surroundings_untouched  # noqa: E402 - see above
from tfdump.model.training.intervals import (  # noqa: E402 - see above
    BY_EPOCH,
    IntervalCallback,
    Moment,
    check_part,
    standing_still,
    traced_in,
)

if TYPE_CHECKING:
    from keras import Layer
    from keras.losses import Loss


class DumpCallback(IntervalCallback):
    """Dumps activations or gradients of a model to `folder` while `model.fit` trains it.

        model.fit(x, y, callbacks=[tfdump.DumpCallback("run/", x[:8], y[:8], layers="conv*", wrt="weights", every=2)])

    Without `wrt` it dumps what `tfdump.activations` returns for `x`, with it what `tfdump.gradients` returns for `x`
    and `y`; for both, use two callbacks with one folder. Dumps are made after every `every` epochs, or batches with
    `on="batch"`, and called `epoch-0003.activations.h5` or `batch-000120.gradients.h5` by the number of epochs or
    batches trained. Only the `keep` latest of this training are kept, all where it is None. `picture` is the address of
    a tensor, or `flow` for all layers along depth: it is drawn into a `.png` file beside every dump.

    `model` is what is dumped where it is not what is trained: a part of it (`gan.generator`), or a model beside it.

    The training goes on as if there were no callback, to the last bit. The model is traced once, at the beginning,
    for a `run_eagerly` model at each dump. The mode is that of inference unless `training` is True.

    In a folder with dumps of an earlier training, those up to the `initial_epoch` of `fit` stay; for later ones
    TfdumpError is raised at the beginning or, with `overwrite`, they are removed. Where a dump fails (a full disk),
    TfdumpWarning says so and the training goes on without it, unless `on_error` is `raise`.

    The other arguments are those of `tfdump.activations` and `tfdump.gradients`, and the options of the command line:
    `stats` stores statistics, `stats_only` nothing else. Raises TfdumpError for arguments that make no sense, and at
    the beginning of the training for those that do not fit the model; warns with TfdumpWarning, once, of what was
    cast, not captured or not connected.
    """

    def __init__(
        self,
        folder: str | Path,
        x: Inputs,
        y: Inputs | None = None,
        *,
        model: "Layer | None" = None,
        layers: Patterns = (),
        exclude: Patterns = (),
        depth: int | None = None,
        wrt: Patterns | None = None,
        loss: "str | Loss | Callable[..., Any] | list[str] | None" = None,
        objective: str | None = None,
        from_logits: bool = False,
        sample_weight: Inputs | None = None,
        norms_only: bool = False,
        every: int = 1,
        on: str = BY_EPOCH,
        keep: int | None = None,
        picture: str | None = None,
        overwrite: bool = False,
        on_error: str = "warn",
        attention: bool = False,
        rnn_steps: bool = False,
        rnn_gates: bool = False,
        preactivation: bool = False,
        layer_inputs: bool = False,
        outputs: bool | None = None,
        reduce: str | None = None,
        training: bool = False,
        seed: int = 0,
        eager: bool = False,
        batch_size: int | None = None,
        memory: int | str = DEFAULT_MEMORY,
        dtype: str | None = None,
        compression: str = "none",
        stats: bool = True,
        stats_only: bool = False,
    ) -> None:
        check_intervals(every, on, keep, on_error)
        super().__init__(every, on, check_part(model))
        check_dtype(dtype)
        compression = one_of("compression", compression, COMPRESSIONS) or "none"
        storage_for(compression)
        if picture is not None:
            need_matplotlib()
        self._picture = picture
        kind = layout.ACTIVATIONS if wrt is None else layout.GRADIENTS
        self._folder = TrainingFolder(Path(folder), on, kind, keep, flag("overwrite", overwrite))
        self._overwrite, self._on_error = overwrite, on_error
        self._x, self._y, self._weights = x, y, sample_weight
        self._custom: dict[str, Any] = {}
        self._probed: OpenedActivations | OpenedGradients | None = None
        self._probed_for: tuple[Any, ...] = ()
        self._said: set[str] = set()
        self._made = self._missing = 0
        captures = captures_of(attention, rnn_steps, rnn_gates, preactivation, layer_inputs)
        selection, run = selection_of(None, layers, exclude, depth), run_options(batch_size, memory, training)
        number = seed_number(seed)
        stats_only, eager = flag("stats_only", stats_only), flag("eager", eager)
        store = StoreOptions(None, dtype, flag("stats", stats) or stats_only, not stats_only)
        store.check(compression)
        self._options: ActivationOptions | GradientOptions
        of_activations = vars(captures) | {"outputs": outputs is not None, "reduce": reduce is not None}
        of_gradients = {
            "y": y is not None, "loss": loss is not None, "objective": objective is not None,
            "from_logits": flag("from_logits", from_logits), "sample_weight": sample_weight is not None,
            "norms_only": flag("norms_only", norms_only),
        }  # fmt: skip
        if wrt is None:
            refuse_arguments(
                of_gradients, "gradients, and without wrt activations are dumped (add wrt='weights', or leave it out)"
            )
            store = replace(store, reduction=reduction_of(reduce))
            shown = None if outputs is None else flag("outputs", outputs)
            self._options = ActivationOptions(
                selection, shown, number, eager, compression=compression, run=run, store=store, captures=captures
            )
            return
        refuse_arguments(
            of_activations, "activations, and wrt asks for gradients (leave one out, or use two callbacks)"
        )
        names, self._custom = loss_names(loss)
        self._options = GradientOptions(
            selection,
            tuple(dict.fromkeys(texts("wrt", wrt, "weights"))),
            names,
            text("objective", objective, "sum"),
            of_gradients["from_logits"],
            seed=number,
            eager=eager,
            compression=compression,
            run=run,
            store=GradientStore(store, of_gradients["norms_only"]),
        )
        self._options.check()

    @property
    def folder(self) -> Path:
        """The folder of the dumps."""
        return self._folder.path

    def begin(self, initial_epoch: int) -> None:
        """Make the folder; refuse what an earlier training left in it, or remove it with `overwrite`."""
        self._made, self._missing = 0, 0
        self._folder.begin(initial_epoch)

    def open(self) -> None:
        """Trace the model, so that what does not fit it is an error before the training."""
        self._probed, self._said = None, set()
        with self._standing_still() as opened:
            self._check_picture(opened.plan().planned)

    def _check_picture(self, planned: Sequence[Planned]) -> None:
        """Raise DumpError where the dumps will not have the tensor that is to be drawn."""
        names = [name for tensor in planned for name in (tensor.info.address, f"{tensor.group}/{tensor.info.address}")]
        if self._picture not in (None, FLOW, *names):
            raise DumpError(
                f"picture '{self._picture}' is neither '{FLOW}' nor among the tensors of the dumps"
                f"{near(str(self._picture), names)}"
            )

    def reach(self, moment: Moment) -> None:
        """Make a dump; where that fails, say so and go on, or raise."""
        path = self._folder.dump_path(moment.epoch if self._on == BY_EPOCH else moment.batch)
        try:
            self._dump(path, moment)
        except (TfdumpError, OSError, MemoryError) as error:
            if self._on_error == "raise":
                raise
            self._missing += 1
            self._warn(f"no dump {path.name}: {error or type(error).__name__}; the training goes on")
            return
        self._made += 1
        files = [path]
        if self._picture is not None:
            self._draw(self._picture, files)
        for problem in self._folder.add(files):
            self._warn(problem)

    def close(self) -> None:
        """Let go of the traced model, and count what is missing."""
        self._probed = None
        if self._missing:
            self._warn(f"{self._missing} of {self._missing + self._made} dumps in {self.folder} could not be made")

    def _dump(self, path: Path, moment: Moment) -> None:
        self._folder.check()
        further = {
            layout.INTERVAL: self._on,
            layout.EPOCH: np.int64(moment.epoch),
            layout.BATCH: np.int64(moment.batch),
        }
        with interrupt_waiting(), self._standing_still() as opened:
            run = opened.plan()
            if self._options.compression == "none":
                check_space(path, run.file_bytes)
            with run.open_writer(path, self._overwrite) as writer:
                run.write(writer, MADE_BY, further=further)

    def _draw(self, what: str, files: list[Path]) -> None:
        """Draw a picture of the dump that is the first of `files`, and add it to them."""
        from tfdump.plots.beside_dump import draw_beside

        try:
            drawn, notes = draw_beside(files[0], what)
        except TfdumpError as error:
            if self._on_error == "raise":
                raise
            self._note(f"no picture of '{what}' beside {files[0].name}: {error}")
            return
        files.append(drawn)
        for note in notes:
            self._note(f"picture of '{what}': {note}")

    @contextmanager
    def _standing_still(self) -> Iterator[OpenedActivations | OpenedGradients]:
        """Let the body run the model by a probe that fits it as it is now; the training notices nothing."""
        now = traced_in(self.watched)
        if self._probed is None or self._probed_for != now or self.model.run_eagerly:
            with surroundings_untouched(python=True, eager=self._options.eager):
                self._probed, self._probed_for = None, now
                self._probed = self._open_probe()
                self._probed.probe.close()
        with standing_still(self._probed.probe):
            yield self._probed

    def _open_probe(self) -> OpenedActivations | OpenedGradients:
        loaded = in_memory(self.watched)
        given = given_arrays(self._x)
        if isinstance(self._options, ActivationOptions):
            return probe_activations(loaded, given, self._options, self._note)
        expected = [] if self._y is None else given_arrays(self._y, "target")
        weights = [] if self._weights is None else given_arrays(self._weights, "sample weight")
        loaded = replace(loaded, custom=self._custom)
        return probe_gradients(loaded, [("x", given)], expected, weights, self._options, self._note)

    def _note(self, text: str) -> None:
        """Warn once a training of what each dump would tell again."""
        if text not in self._said and not isinstance(text, Detail):
            self._said.add(text)
            self._warn(text)

    @staticmethod
    def _warn(text: str) -> None:
        warnings.warn(text, TfdumpWarning, stacklevel=3)
