"""The Python API: what `import tfdump` offers beside the records of a dump."""
