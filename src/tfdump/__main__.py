"""`python -m tfdump` is the same as `tfdump`."""

from tfdump.entry import main

main()
