"""`python -m tfdump` is the same as `tfdump`."""

from tfdump.cli.main import main

main()
