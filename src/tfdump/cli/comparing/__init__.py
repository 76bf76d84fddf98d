"""The command line of comparisons: their options, what they print, and the files that they write."""
