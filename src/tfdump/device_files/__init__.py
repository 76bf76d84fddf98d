"""Files that a device printed, read into a dump beside the dump that tells what their numbers are."""
