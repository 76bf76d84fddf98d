"""Tables: columns of CSV, Parquet and Feather files as arrays. The only package of inputs that names pyarrow."""

from tfdump.errors import InputError

try:
    import pyarrow  # noqa: F401 - every module here imports it, and this says what is missing
except ImportError:
    raise InputError("tables need an extra: pip install 'tfdump[tables]'") from None
