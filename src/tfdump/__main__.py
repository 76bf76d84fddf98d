"""`python -m tfdump` is the same as `tfdump`."""

from tfdump.cli.entry import main

main()
