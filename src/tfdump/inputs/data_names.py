"""Which files hold records or sound, by the endings of their names."""

import re

_RECORDS = re.compile(r"\.(tfrecords?|tfrec)(-\d+-of-\d+)?(\.gz)?$", re.IGNORECASE | re.ASCII)
_SOUND = (".wav", ".flac")


def is_record_name(name: str) -> bool:
    """Tell whether a file holds TFRecords, such as `train.tfrecord.gz` or `train.tfrecord-00000-of-00010`."""
    return _RECORDS.search(name) is not None


def is_sound_name(name: str) -> bool:
    """Tell whether a file holds sound."""
    return name.lower().endswith(_SOUND)
