"""Dumps of a model while it is trained: the callback for `model.fit`."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.api.argument_names import errors_name_arguments, in_words_of_python
from tfdump.api.arguments import Inputs, Patterns, captures_of, check_intervals, selection_of
from tfdump.api.callback_options import ActivationArguments, GradientArguments, callback_options
from tfdump.api.traced_model import CallbackArrays, OpenedModel, TracedModel
from tfdump.api.training_folder import TrainingFolder
from tfdump.api.training_names import MADE_BY
from tfdump.api.training_picture import TrainingPicture
from tfdump.argument_kinds import flag
from tfdump.dump import layout
from tfdump.dump.target import check_space
from tfdump.errors import TfdumpError, TfdumpWarning
from tfdump.model.backend import import_aside
from tfdump.process.signals import interrupt_waiting
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.options import run_options
from tfdump.tensors import Detail

import_aside()  # before the next line imports Keras, as this module does for its base class; it is imported lazily

from tfdump.model.training.intervals import BY_EPOCH, IntervalCallback, Moment, check_part  # noqa: E402 - see above

if TYPE_CHECKING:
    from keras import Layer
    from keras.losses import Loss


class DumpCallback(IntervalCallback):
    """Writes dumps of a model at intervals while `model.fit` trains it.

    The dumps hold what `tfdump.activations` returns for `x`, or with `wrt` what `tfdump.gradients` returns for `x` and
    `y`. For both, use two callbacks with the same folder. The files are named after the epochs or batches trained:
    `epoch-0003.activations.h5`, `batch-000120.gradients.h5`. The training is not affected, to the last bit. The model
    is traced once, at the beginning; with `run_eagerly`, at each dump.

    Parameters
    ----------
    folder : str or pathlib.Path
        The folder of the dumps, which is created at the beginning of the training. Dumps that an earlier training left
        in it stay up to the `initial_epoch` of `fit`. Later ones are an error unless `overwrite` is True.
    x : array_like, str, pathlib.Path, dict, tuple or list
        The inputs on which the model is run, with one row per example, as for `tfdump.activations`.
    y : array_like, str, pathlib.Path, dict, tuple or list, optional
        The targets, with one row per example, as for `tfdump.gradients`. Only with `wrt`.
    model : keras.Layer, optional
        The model or layer to dump where it is not the one that is trained, such as a part of it (`gan.generator`).
    layers : str or iterable of str, optional
        Only the tensors whose addresses match one of these patterns: an address (`block1.conv`), a glob (`block*`),
        `type:CLASS` or `re:REGEX`. The default is all.
    exclude : str or iterable of str, optional
        Patterns of tensors that are left out.
    depth : int, optional
        Only addresses of at most this many segments; `block1.conv` has two.
    wrt : str or iterable of str, optional
        Dump gradients with respect to these: `"weights"`, `"activations"` or `"inputs"`. The default is to dump
        activations.
    loss : str, keras.losses.Loss, callable, dict or list of str, optional
        The loss, as for `tfdump.gradients`. The default is the one that the model is compiled with. Only with `wrt`.
    objective : str, optional
        What is differentiated instead of a loss: `"sum"`, `"mean"`, `"max"` or `"OUTPUT[INDEX]"`. Only with `wrt`.
    from_logits : bool, default False
        The output is logits and not probabilities; for a `loss` by name. Only with `wrt`.
    sample_weight : array_like, str, pathlib.Path or dict, optional
        The weight of each example, of shape `(examples,)`, or a dict of these by output. Only with `wrt`.
    norms_only : bool, default False
        Store L2 norms instead of gradients. Only with `wrt`.
    every : int, default 1
        The number of epochs or batches between two dumps.
    on : {'epoch', 'batch'}, default 'epoch'
        What `every` counts.
    keep : int, optional
        The number of the latest dumps of this training that stay in the folder. The default is all.
    picture : str, optional
        Draw a picture into a `.png` file beside every dump: of the tensor with this address, or of all layers along the
        depth of the model for `"flow"`. It needs matplotlib.
    overwrite : bool, default False
        Remove the dumps of an earlier training that are later than the `initial_epoch` of `fit`.
    on_error : {'warn', 'raise'}, default 'warn'
        What happens where a dump fails, for instance on a full disk: the training continues without it, or stops.
    attention, rnn_steps, rnn_gates, preactivation, layer_inputs, ops : bool, default False
        Also dump these tensors, as for `tfdump.activations`. Only without `wrt`.
    outputs : bool, optional
        Also dump the final outputs. The default is to dump them where no `layers` are selected. Only without `wrt`.
    reduce : str, optional
        Reduce each tensor, as for `tfdump.activations`. Only without `wrt`.
    training : bool, default False
        Run the model in training mode, with dropout and batch statistics.
    seed : int, default 0
        The seed of random layers, from 0 to 2**32 - 1.
    eager : bool, default False
        Run without a graph.
    batch_size : int, optional
        The number of examples that run at once. The default is the largest one that stays within `memory`.
    memory : int or str, default 256 MiB
        The bytes that one batch may take, for the automatic batch size: a number, or a text such as `"2G"`.
    dtype : {'float16', 'float32', 'float64'}, optional
        The dtype in which floats are stored. The default is the dtype in which the model computes them.
    compression : {'none', 'gzip', 'zstd'}, default 'none'
        The compression of the dumps. `zstd` needs the extra `tfdump[zstd]`.
    stats : bool or 'quantiles', default True
        Store statistics of each tensor too; with `'quantiles'`, also a histogram, from which `tfdump.ranges` tells
        percentiles.
    stats_only : bool, default False
        Store statistics and no values.

    Raises
    ------
    TfdumpError
        Where an argument is not valid; at the beginning of the training, where the arguments do not fit the model or
        the folder has dumps of an earlier training; and with `on_error="raise"`, where a dump fails.

    Warns
    -----
    TfdumpWarning
        Once per training where inputs were cast, layers were not captured or gradients are not connected with the loss;
        and where a dump fails.

    Examples
    --------
    >>> callback = tfdump.DumpCallback("run/", x[:8], y[:8], layers="conv*", wrt="weights", every=2)
    >>> model.fit(x, y, epochs=10, callbacks=[callback])

    """

    @errors_name_arguments()
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
        ops: bool = False,
        outputs: bool | None = None,
        reduce: str | None = None,
        training: bool = False,
        seed: int = 0,
        eager: bool = False,
        batch_size: int | None = None,
        memory: int | str = DEFAULT_MEMORY,
        dtype: str | None = None,
        compression: str = "none",
        stats: bool | str = True,
        stats_only: bool = False,
    ) -> None:
        check_intervals(every, on, keep, on_error)
        super().__init__(every, on, check_part(model))
        self._picture = None if picture is None else TrainingPicture(picture)
        kind = layout.ACTIVATIONS if wrt is None else layout.GRADIENTS
        self._overwrite, self._on_error = flag("overwrite", overwrite), on_error
        self._folder = TrainingFolder(Path(folder), on, kind, keep, self._overwrite)
        captures = captures_of(attention, rnn_steps, rnn_gates, preactivation, layer_inputs, ops)
        of_gradients = (y is not None, sample_weight is not None, loss, objective, from_logits, norms_only)
        self._options, custom = callback_options(
            wrt,
            selection_of(None, layers, exclude, depth),
            run_options(batch_size, memory, training),
            ActivationArguments(captures, outputs, reduce),
            GradientArguments(*of_gradients),
            seed=seed,
            eager=eager,
            dtype=dtype,
            compression=compression,
            stats=stats,
            stats_only=stats_only,
        )
        self._traced = TracedModel(CallbackArrays(x, y, sample_weight, custom), self._options, self._note)
        self._noted: set[str] = set()
        self._made = self._missing = 0

    @property
    def folder(self) -> Path:
        """The folder of the dumps."""
        return self._folder.path

    @errors_name_arguments()
    def begin(self, initial_epoch: int) -> None:
        """Create the folder; raises DumpError for later dumps in it, or removes them with `overwrite`."""
        self._made, self._missing = 0, 0
        self._folder.begin(initial_epoch)

    @errors_name_arguments()
    def open(self) -> None:
        """Trace the model; raises TfdumpError, before the training, where the arguments do not fit it."""
        self._traced.forget()
        self._noted = set()
        with self._standing_still() as opened:
            planned = opened.plan().planned
            if self._picture is not None:
                self._picture.check(planned)

    @errors_name_arguments()
    def reach(self, moment: Moment) -> None:
        """Write a dump; where that fails, warn and continue, or raise."""
        path = self._folder.dump_path(moment.epoch if self._on == BY_EPOCH else moment.batch)
        try:
            self._dump(path, moment)
        except (TfdumpError, OSError, MemoryError) as error:
            if self._on_error == "raise":
                raise
            self._missing += 1
            self._warn(f"no dump {path.name}: {error or type(error).__name__}; the training continues")
            return
        self._made += 1
        for problem in self._folder.add([path, *self._drawn_beside(path)]):
            self._warn(problem)

    def close(self) -> None:
        """Release the traced model, and warn of the dumps that are missing."""
        self._traced.forget()
        if self._missing:
            self._warn(f"{self._missing} of {self._missing + self._made} dumps in {self.folder} could not be written")

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

    def _drawn_beside(self, dump: Path) -> list[Path]:
        """Return the file of the picture of a dump, where there is one."""
        if self._picture is None:
            return []
        try:
            path, notes = self._picture.draw(dump)
        except TfdumpError as error:
            if self._on_error == "raise":
                raise
            self._note(f"no picture of '{self._picture.subject}' beside {dump.name}: {error}")
            return []
        for note in notes:
            self._note(note)
        return [path]

    def _standing_still(self) -> AbstractContextManager[OpenedModel]:
        return self._traced.standing_still(self.watched, again=self.model.run_eagerly)

    def _note(self, text: str) -> None:
        """Warn once per training of what every dump would note again."""
        if text not in self._noted and not isinstance(text, Detail):
            self._noted.add(text)
            self._warn(text)

    @staticmethod
    def _warn(text: str) -> None:
        warnings.warn(in_words_of_python(text), TfdumpWarning, stacklevel=3)
