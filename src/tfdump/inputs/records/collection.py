"""Records as the arrays of a model: which feature is for which input."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from tfdump.dtypes import STRING
from tfdump.errors import InputError, near
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.file_lists import FileList
from tfdump.inputs.images.image_input import image_input
from tfdump.inputs.images.open_decoder import open_decoder
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import Reader
from tfdump.inputs.records.encoded_images import EncodedImages, is_encoded_image, undecodable_images
from tfdump.inputs.records.feature_plan import fits_shape, plan_of
from tfdump.inputs.records.feature_spec import FeatureSpec, read_spec
from tfdump.inputs.records.protocol_buffers import Feature
from tfdump.inputs.records.readers import feature_reader
from tfdump.inputs.records.record_set import RecordSet
from tfdump.tensors import InputSpec

_MOST_NAMES = 12
_IMAGE_RANKS = (3, 4)


class RecordCollection:
    """The records of some files, for the inputs of a model.

    A feature goes to the input of its name, or to the one that the spec of `--features` names. A model of one input
    takes the only feature there is, or the only one that has its shape. `member` is the name of the only feature that
    is used, or None.
    """

    kind = "TFRecord files"

    def __init__(self, files: FileList, member: str | None, options: DataOptions) -> None:
        self.label = files.label if member is None else f"{files.label}::{member}"
        self._member = member
        self._options = options
        self._spec: Mapping[str, FeatureSpec] = read_spec(options.features) if options.features else {}
        self._records = RecordSet(files, options.skip_damaged)
        self._first = self._records.read(0, 1)[0]
        self._decoded: set[str] = set()
        if member is not None and member not in self._first and member not in self._spec:
            raise self._no_feature(member)

    def targets(self) -> list[InputArray]:
        """Return nothing: no feature is known to hold targets."""
        return []

    def arrays(self, specs: Sequence[InputSpec]) -> list[InputArray]:
        """Return the arrays for these inputs; raises InputError where no feature is known for one that is required."""
        if not specs:
            raise InputError(f"the model has no input for {self.label} besides those that have an array (leave it out)")
        required = [spec for spec in specs if not spec.optional] or list(specs[:1])
        if self._member is not None:
            taker = next((spec for spec in specs if spec.name == self._member), required[0])
            self._leave_out_undecodable({taker.name: self._member}, specs)
            return [self._array(self._member, taker, self._records.notes)]
        named = {spec.name: name for spec in specs if (name := self._feature_of(spec.name)) is not None}
        missing = [spec for spec in required if spec.name not in named]
        about = []
        if missing and len(required) == 1 and len(only := self._only(required[0])) == 1:
            named[missing[0].name] = only[0]
            if len(self._spec or self._first) > 1:
                why = f"the input '{missing[0].name}' takes the feature '{only[0]}' of {self._records.label}"
                about = [f"{why}, the only one of its shape"]
        elif missing:
            raise self._no_feature(missing[0].name)
        self._leave_out_undecodable(named, specs)
        notes = [*self._records.notes, *about]
        takers = [spec for spec in specs if spec.name in named]
        return [self._array(named[spec.name], spec, notes if spec is takers[0] else ()) for spec in takers]

    def _feature_of(self, name: str) -> str | None:
        """Return the feature that is for the input of a name, if one is."""
        told = [spec.name for spec in self._spec.values() if spec.input == name]
        if told:
            return told[0]
        if name in self._spec:
            return name if self._spec[name].input is None else None
        return name if not self._spec and name in self._first else None

    def _only(self, taker: InputSpec) -> list[str]:
        """Return the features that may be for the only input of a model: the only one, or those of its shape."""
        known = list(self._spec or self._first)
        if len(known) == 1:
            return known
        return [name for name in known if name in self._first and self._fits(self._first[name], taker)]

    def _fits(self, feature: Feature, taker: InputSpec) -> bool:
        """Tell whether a feature may be for an input by its shape; an image fits wherever images do."""
        if taker.dtype != STRING and is_encoded_image(feature):
            return taker.shape is not None and len(taker.shape) in _IMAGE_RANKS
        return fits_shape(feature, taker)

    def _array(self, name: str, taker: InputSpec, notes: Sequence[str]) -> InputArray:
        return InputArray(taker.name, partial(self._reader, name, taker, notes), f"{self._records.label}::{name}")

    def _reader(self, name: str, taker: InputSpec, notes: Sequence[str]) -> Reader:
        """Return the reader of a feature for an input; one of several has the notes about the files."""
        spec = self._spec.get(name, FeatureSpec(name))
        row, feature = self._sample(name)
        if self._is_decoded(name, taker, feature):
            return self._images(spec, taker, notes)
        plan = plan_of(spec, feature, taker, self._records.place(row))
        return feature_reader(self._records, plan, notes)

    def _is_decoded(self, name: str, taker: InputSpec, feature: Feature) -> bool:
        """Tell whether a feature is an image that is decoded for an input."""
        decode = self._spec[name].decode if name in self._spec else None
        return decode == "image" or (decode is None and taker.dtype != STRING and is_encoded_image(feature))

    def _leave_out_undecodable(self, named: Mapping[str, str], specs: Sequence[InputSpec]) -> None:
        """Leave out the records whose images cannot be decoded, where damaged ones are left out.

        These are the images that the inputs take, and those of `--features`, so that targets which are read apart miss
        the same records.
        """
        if not self._options.skip_damaged:
            return
        names = {name for name, spec in self._spec.items() if spec.decode == "image"}
        for spec in specs:
            if (name := named.get(spec.name)) and self._is_decoded(name, spec, self._sample(name)[1]):
                names.add(name)
        names -= self._decoded
        if names:
            self._decoded |= names
            damaged = undecodable_images(self._records, sorted(names), open_decoder(self._options))
            self._records.leave_out(damaged)
            self._first = self._records.read(0, 1)[0]

    def _images(self, spec: FeatureSpec, taker: InputSpec, notes: Sequence[str]) -> Reader:
        """Return the reader of a feature that is an encoded image; a shape in the spec stands for open sizes."""
        if spec.shape is not None and (taker.shape is None or None in taker.shape[1:]):
            taker = replace(taker, shape=(None, *spec.shape))
        image = image_input(taker)
        target = image.target(self._options, "--image-size 224,224")
        decoder = open_decoder(self._options)
        return EncodedImages(self._records, spec.name, image, target, decoder, self._options.exif, notes)

    def _sample(self, name: str) -> tuple[int, Feature]:
        """Return a feature as the first record has it that has values in it, or else the first record, with its row."""
        if name in self._first and self._first[name].kind:
            return 0, self._first[name]
        for start, examples in self._records.each_block():
            for row, example in enumerate(examples, start):
                if name in example and example[name].kind:
                    return row, example[name]
        raise InputError(f"no record of {self._records.label} has values in the feature '{name}' (its name is wrong?)")

    def _no_feature(self, name: str) -> InputError:
        known = self._spec or self._first
        shown = [f"'{feature}'" for feature in sorted(known)]
        more = [f"{len(shown) - _MOST_NAMES} more"] if len(shown) > _MOST_NAMES else []
        listed = ", ".join(shown[:_MOST_NAMES] + more) or "none"
        source = "--features" if self._spec else f"{self._records.label}"
        first = next(iter(sorted(known)), "NAME")
        return InputError(
            f"{source} has no feature '{name}'{near(name, known)} (its features: {listed}; name one: "
            f'{self._records.label}::{first}, or "input" in --features)'
        )
