"""The command line: parse, call one feature, render. Only this package knows click."""
