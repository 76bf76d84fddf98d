"""The options of an activation run."""

from dataclasses import dataclass, field, replace
from typing import Any

from tfdump.address import Selection
from tfdump.argument_kinds import flag, one_of
from tfdump.captures import NOTHING_MORE, Captures
from tfdump.dump.compression import COMPRESSIONS
from tfdump.errors import TfdumpError
from tfdump.inputs.source import ReadingOptions
from tfdump.run.options import DumpOptions, RunOptions, StoreOptions, seed_number, store_options


@dataclass(frozen=True, kw_only=True)
class ActivationOptions(DumpOptions):
    """Everything that decides which activations are computed, how, and what is stored of them.

    `outputs` stores the final outputs, or not; None stores them where no layer is selected. `until_nan` searches for
    the first example with NaN or infinity, and stores only that one; with `allow_inf`, only NaN counts.
    """

    outputs: bool | None = None
    dequantize: bool = False
    until_nan: bool = False
    allow_inf: bool = False
    store: StoreOptions = field(default_factory=StoreOptions)
    captures: Captures = field(default_factory=Captures)

    @property
    def with_outputs(self) -> bool:
        """Whether the final outputs are stored too."""
        return self.outputs if self.outputs is not None else not self.selection.selects_layers

    @property
    def stores_values(self) -> bool:
        """Whether values are stored, and not statistics alone."""
        return self.store.values


def activation_options(
    selection: Selection,
    run: RunOptions,
    *,
    captures: Captures = NOTHING_MORE,
    reading: ReadingOptions | None = None,
    outputs: Any = None,
    dequantize: Any = False,
    seed: Any = 0,
    eager: Any = False,
    reduce: Any = None,
    dtype: Any = None,
    compression: Any = "none",
    checksums: Any = False,
    stats: Any = False,
    stats_only: Any = False,
    save_inputs: Any = False,
    until_nan: Any = False,
    allow_inf: Any = False,
) -> ActivationOptions:
    """Return the options of an activation run; raises TfdumpError for an argument that is not valid.

    The arguments are those of the command line and of `tfdump.activations`. A search with `until_nan` stores the inputs
    too.
    """
    searches, allows_inf = flag("until_nan", until_nan), flag("allow_inf", allow_inf)
    if allows_inf and not searches:
        raise TfdumpError("--allow-inf is for a search (add --until-nan, or leave --allow-inf out)")
    store = store_options(reduce, dtype, stats, stats_only, save_inputs)
    if searches and not store.values:
        raise TfdumpError(
            "--until-nan stores the values of one example, and --stats-only stores none (leave one of the options out)"
        )
    store = replace(store, save_inputs=store.save_inputs or searches)
    compression = one_of("compression", compression, COMPRESSIONS) or "none"
    store.check(compression)
    return ActivationOptions(
        selection=selection,
        outputs=None if outputs is None else flag("outputs", outputs),
        seed=seed_number(seed),
        eager=flag("eager", eager),
        dequantize=flag("dequantize", dequantize),
        until_nan=searches,
        allow_inf=allows_inf,
        compression=compression,
        checksums=flag("checksums", checksums),
        reading=reading or ReadingOptions(),
        run=run,
        store=store,
        captures=captures,
    )
